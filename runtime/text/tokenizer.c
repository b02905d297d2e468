/* The tokenizer's tables, added tokens and decoding: see tokenizer.h. The merging itself is in bpe_encode.c.
 */
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/os.h"
#include "text/added_tokens.h"
#include "text/bpe_encode.h"
#include "text/vocabulary.h"

struct tv_tokenizer {
    tv_arena *arena;      /* tables and the tokens' bytes */
    tv_token *tokens;     /* by id; length 0: none */
    tv_token_index index; /* of spellings to ids */
    tv_merge *merges;     /* by priority */
    uint64_t merge_count;
    tv_added_tokens added, normalized; /* found in the text; in the normalized text */
    uint32_t size;
    bool reversible;
    tv_normalizer *normalizer; /* or NULL */
    tv_pretokenizer *pretokenizer;
    tv_bpe *bpe;
    tv_token_decoder decoder;
    tv_tokenizer_info info;
    int64_t date;
};

void tv_tokenizer_destroy(tv_tokenizer **tokenizer) {
    if (!tokenizer || !*tokenizer)
        return;
    tv_bpe_destroy(&(*tokenizer)->bpe);
    tv_normalizer_destroy(&(*tokenizer)->normalizer);
    tv_pretokenizer_destroy(&(*tokenizer)->pretokenizer);
    tv_arena_destroy(&(*tokenizer)->arena);
    free(*tokenizer);
    *tokenizer = NULL;
}

uint32_t tv_tokenizer_find(const tv_tokenizer *tokenizer, const void *bytes, uint64_t length) {
    return tv_token_index_find(&tokenizer->index, tokenizer->tokens, bytes, length);
}

static tv_status out_of_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory for a tokenizer");
}

/* Gives a token the text that its spelling stands for. */
static tv_status give_text(tv_tokenizer *tokenizer, tv_token *token, const uint8_t *spelling,
                           uint64_t length) {
    tv_text text = {0};
    tv_status status;
    TV_TRY(tv_token_decoder_text(&tokenizer->decoder, spelling, length, &text));
    token->bytes = token->spelling;
    token->length = (uint32_t)text.size;
    bool same = text.size == token->spelling_length && memcmp(text.data, token->spelling, text.size) == 0;
    if (!same)
        token->bytes =
            (uint8_t *)tv_arena_copy(tokenizer->arena, text.size ? (const char *)text.data : "", text.size);
    if (!token->bytes)
        status = out_of_memory();
done:
    tv_text_free(&text);
    return status;
}

static tv_status add_token(tv_tokenizer *tokenizer, const tv_token *part, const char *where) {
    tv_token *token = &tokenizer->tokens[part->id];
    const uint8_t *spelling = part->spelling ? part->spelling : part->bytes;
    uint32_t length = part->spelling ? part->spelling_length : part->length;
    if (token->spelling_length)
        return tv_fail(TV_E_DATA, "%s: expected each token id once, found %u for \"%.*s\" and for \"%.*s\"",
                       where, part->id, (int)tv_min_u64(token->spelling_length, 60),
                       (const char *)token->spelling, (int)tv_min_u64(length, 60), (const char *)spelling);
    uint32_t *slot = tv_token_index_slot(&tokenizer->index, tokenizer->tokens, spelling, length);
    if (*slot)
        return tv_fail(TV_E_DATA, "%s: expected each token once, found \"%.*s\" with ids %u and %u", where,
                       (int)tv_min_u64(length, 60), (const char *)spelling, *slot - 1, part->id);
    *token = *part;
    token->spelling = (uint8_t *)tv_arena_copy(tokenizer->arena, (const char *)spelling, length);
    token->spelling_length = length;
    if (!token->spelling)
        return out_of_memory();
    *slot = part->id + 1;
    return give_text(tokenizer, token, token->spelling, length);
}

static tv_status add_tokens(tv_tokenizer *tokenizer, const tv_tokenizer_parts *parts, const char *where) {
    for (uint64_t i = 0; i < parts->token_count; i++) {
        const tv_token *part = &parts->tokens[i];
        if (part->id > TV_MAX_TOKEN_ID)
            return tv_fail(TV_E_DATA, "%s: expected token ids up to %d, found %u", where, TV_MAX_TOKEN_ID,
                           part->id);
        if ((part->spelling ? part->spelling_length : part->length) == 0)
            return tv_fail(TV_E_DATA, "%s: expected a text for token id %u, found an empty one", where,
                           part->id);
        if (part->id >= tokenizer->size)
            tokenizer->size = part->id + 1;
    }
    TV_RETURN_IF_FAILED(tv_token_index_create(tokenizer->arena, parts->token_count, &tokenizer->index));
    tokenizer->tokens = tv_arena_alloc(tokenizer->arena, tokenizer->size + 1ull, sizeof(tv_token));
    if (!tokenizer->tokens)
        return out_of_memory();
    for (uint64_t i = 0; i < parts->token_count; i++)
        TV_RETURN_IF_FAILED(add_token(tokenizer, &parts->tokens[i], where));
    return TV_OK;
}

/* Under the texts by which they are found: as they are written, or as the normalizer makes them; then that is
 * what they are decoded as, too. */
static tv_status index_added(tv_tokenizer *tokenizer) {
    uint64_t count = 0;
    for (uint32_t id = 0; id < tokenizer->size; id++)
        count += tokenizer->tokens[id].added;
    tokenizer->added.items = tv_arena_alloc(tokenizer->arena, count + 1, sizeof(tv_added_token));
    tokenizer->normalized.items = tv_arena_alloc(tokenizer->arena, count + 1, sizeof(tv_added_token));
    if (!tokenizer->added.items || !tokenizer->normalized.items)
        return out_of_memory();
    for (uint32_t id = 0; id < tokenizer->size; id++) {
        tv_token *token = &tokenizer->tokens[id];
        if (!token->added)
            continue;
        tv_added_token item = {token->spelling, token->spelling_length, token};
        if (token->normalized && tokenizer->normalizer) {
            const uint8_t *text;
            uint64_t length;
            TV_RETURN_IF_FAILED(tv_normalizer_run(tokenizer->normalizer, token->spelling,
                                                  token->spelling_length, &text, &length));
            if (length == 0)
                continue;
            item.length = (uint32_t)length;
            item.text = (uint8_t *)tv_arena_copy(tokenizer->arena, (const char *)text, length);
            if (!item.text)
                return out_of_memory();
            TV_RETURN_IF_FAILED(give_text(tokenizer, token, item.text, length));
        }
        tv_added_tokens *set = token->normalized ? &tokenizer->normalized : &tokenizer->added;
        set->items[set->count++] = item;
    }
    tv_added_tokens_index(&tokenizer->added);
    tv_added_tokens_index(&tokenizer->normalized);
    return TV_OK;
}

static tv_status find_byte_tokens(const tv_tokenizer *tokenizer, const tv_tokenizer_parts *parts,
                                  const char *where, uint32_t ids[256]) {
    for (uint32_t i = 0; i < 256; i++) {
        char spelled[8];
        uint8_t byte = (uint8_t)i;
        snprintf(spelled, sizeof spelled, "<0x%02X>", i);
        ids[i] = !parts->characters     ? tv_tokenizer_find(tokenizer, &byte, 1)
                 : parts->byte_fallback ? tv_tokenizer_find(tokenizer, spelled, 6)
                                        : TV_NO_TOKEN;
        if (ids[i] != TV_NO_TOKEN || (parts->characters && !parts->byte_fallback))
            continue;
        return tv_fail(TV_E_DATA,
                       "%s: expected a %s vocabulary with a token for each of the 256 bytes, "
                       "found none for byte 0x%02x",
                       where, parts->characters ? "byte_fallback" : "byte-level", i);
    }
    return TV_OK;
}

static tv_status make_merging(tv_tokenizer *tokenizer, const tv_tokenizer_parts *parts, const char *where) {
    tv_bpe_parts bpe = {.merge_count = parts->merge_count,
                        .tokens = tokenizer->tokens,
                        .index = &tokenizer->index,
                        .ignore_merges = parts->ignore_merges,
                        .characters = parts->characters,
                        .fuse_unknown = parts->fuse_unknown,
                        .unknown = TV_NO_TOKEN};
    TV_RETURN_IF_FAILED(find_byte_tokens(tokenizer, parts, where, bpe.byte_ids));
    if (parts->characters && parts->unknown) {
        bpe.unknown = tv_tokenizer_find(tokenizer, parts->unknown, strlen(parts->unknown));
        if (bpe.unknown == TV_NO_TOKEN)
            return tv_fail(TV_E_DATA, "%s: expected \"%.60s\" among the tokens, as the unknown one", where,
                           parts->unknown);
    }
    tokenizer->merge_count = parts->merge_count;
    tokenizer->merges = tv_arena_alloc(tokenizer->arena, parts->merge_count + 1, sizeof *parts->merges);
    if (!tokenizer->merges)
        return out_of_memory();
    if (parts->merge_count)
        memcpy(tokenizer->merges, parts->merges, parts->merge_count * sizeof *parts->merges);
    bpe.merges = tokenizer->merges;
    return tv_bpe_create(&bpe, &tokenizer->bpe);
}

static bool loses_nothing(const tv_tokenizer *tokenizer, const tv_tokenizer_parts *parts) {
    const tv_token_decoder *decoder = &parts->decoder;
    bool nothing = !tokenizer->normalizer && !parts->add_prefix_space && decoder->replace_count == 0 &&
                   !decoder->sign[0] && !decoder->strip[0] && (!parts->characters || parts->byte_fallback);
    for (uint64_t i = 0; i < parts->token_count; i++)
        nothing &= !parts->tokens[i].lstrip && !parts->tokens[i].rstrip;
    return nothing;
}

tv_status tv_tokenizer_create(const tv_tokenizer_parts *parts, const char *where, tv_tokenizer **out) {
    *out = NULL;
    tv_status status;
    tv_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (!tokenizer)
        return out_of_memory();
    tokenizer->decoder = parts->decoder;
    tokenizer->date = tv_date_seconds();
    TV_TRY_OR_FAIL(tv_arena_create(&tokenizer->arena));
    TV_TRY_OR_FAIL(add_tokens(tokenizer, parts, where));
    TV_TRY_OR_FAIL(make_merging(tokenizer, parts, where));
    if (parts->normalizer && *parts->normalizer && !tv_normalizer_is_identity(*parts->normalizer)) {
        tokenizer->normalizer = *parts->normalizer;
        *parts->normalizer = NULL;
    }
    TV_TRY_OR_FAIL(index_added(tokenizer));
    tokenizer->reversible = loses_nothing(tokenizer, parts);
    tokenizer->pretokenizer = *parts->pretokenizer;
    *parts->pretokenizer = NULL;
    TV_TRY_OR_FAIL(tv_tokenizer_describe(
        tokenizer, &(tv_tokenizer_info){.end_of_text = TV_NO_TOKEN, .eos = TV_NO_TOKEN, .pad = TV_NO_TOKEN}));
    *out = tokenizer;
    return TV_OK;
fail:
    tv_tokenizer_destroy(&tokenizer);
    return status;
}

/* ---- encoding ---- */

typedef struct encode_run {
    tv_tokenizer *tokenizer;
    tv_ids *ids;
    bool special;
} encode_run;

static tv_status encode_piece(void *context, const uint8_t *bytes, uint64_t length) {
    encode_run *run = context;
    return tv_bpe_encode(run->tokenizer->bpe, bytes, length, run->ids);
}

/* Text without added tokens; `first`: it begins what is encoded. */
static tv_status encode_plain(encode_run *run, const uint8_t *text, uint64_t length, bool first) {
    return length
               ? tv_pretokenizer_split(run->tokenizer->pretokenizer, text, length, first, encode_piece, run)
               : TV_OK;
}

static tv_status encode_part(encode_run *run, const uint8_t *text, uint64_t length, bool first,
                             const uint8_t *literal) {
    const tv_tokenizer *tokenizer = run->tokenizer;
    const uint8_t *normal = text;
    uint64_t size = length, done = 0;
    bool special = run->special;
    if (tokenizer->normalizer) {
        TV_RETURN_IF_FAILED(tv_normalizer_run(tokenizer->normalizer, text, length, &normal, &size));
        if (size == 0)
            return TV_OK;
        /* What the marks stand for has moved. */
        special &= !(literal && memchr(literal, 1, length));
        literal = NULL;
    }
    for (tv_added_match match;
         tv_added_tokens_next(&tokenizer->normalized, normal, size, done, special, literal, &match);) {
        TV_RETURN_IF_FAILED(encode_plain(run, normal + done, match.start - done, first && done == 0));
        TV_RETURN_IF_FAILED(tv_ids_append(run->ids, &match.token->id, 1));
        done = match.end;
    }
    return encode_plain(run, normal + done, size - done, first && done == 0);
}

/* Text between those added tokens that are found before normalization. Where it is normalized, marks of 2 do
 * not survive: the text is parted behind them, within what they bar. */
static tv_status encode_section(encode_run *run, const uint8_t *text, uint64_t length, bool first,
                                const uint8_t *literal) {
    const uint8_t *barred;
    while (run->tokenizer->normalizer && literal && (barred = memchr(literal, 2, length))) {
        uint64_t part = (uint64_t)(barred - literal) + 1;
        TV_RETURN_IF_FAILED(encode_part(run, text, part, first, literal));
        text += part;
        literal += part;
        length -= part;
        first = false;
    }
    return encode_part(run, text, length, first, literal);
}

static tv_status encode(encode_run *run, const uint8_t *text, uint64_t length, const uint8_t *literal) {
    uint64_t done = 0;
    for (tv_added_match match;
         tv_added_tokens_next(&run->tokenizer->added, text, length, done, run->special, literal, &match);) {
        if (match.start > done)
            TV_RETURN_IF_FAILED(encode_section(run, text + done, match.start - done, done == 0,
                                               literal ? literal + done : NULL));
        TV_RETURN_IF_FAILED(tv_ids_append(run->ids, &match.token->id, 1));
        done = match.end;
    }
    return done < length
               ? encode_section(run, text + done, length - done, done == 0, literal ? literal + done : NULL)
               : TV_OK;
}

tv_status tv_tokenizer_encode(tv_tokenizer *tokenizer, const void *text, uint64_t length, bool special,
                              tv_ids *ids) {
    encode_run run = {tokenizer, ids, special};
    return encode(&run, text, length, NULL);
}

tv_status tv_tokenizer_encode_marked(tv_tokenizer *tokenizer, const void *text, uint64_t length,
                                     const uint8_t *literal, tv_ids *ids) {
    encode_run run = {tokenizer, ids, true};
    return encode(&run, text, length, literal);
}

/* ---- decoding ---- */

static tv_status decode(const tv_tokenizer *tokenizer, const uint32_t *ids, uint64_t count, bool skip_special,
                        bool first, tv_text *text) {
    for (uint64_t i = 0; i < count; i++) {
        const tv_token *token = tv_tokenizer_token(tokenizer, ids[i]);
        if (!token)
            return tv_fail(TV_E_DATA,
                           "expected token ids of the vocabulary (below %u), found %u at position %llu",
                           tokenizer->size, ids[i], (unsigned long long)i);
        if (skip_special && token->special)
            continue;
        TV_RETURN_IF_FAILED(first ? tv_token_decoder_first(&tokenizer->decoder, token, text)
                                  : tv_text_append(text, token->bytes, token->length));
        first = false;
    }
    return TV_OK;
}

tv_status tv_tokenizer_decode(const tv_tokenizer *tokenizer, const uint32_t *ids, uint64_t count,
                              bool skip_special, tv_text *text) {
    uint64_t start = text->size;
    TV_RETURN_IF_FAILED(decode(tokenizer, ids, count, skip_special, true, text));
    tv_token_decoder_finish(&tokenizer->decoder, start, text);
    return TV_OK;
}

tv_status tv_tokenizer_decode_next(const tv_tokenizer *tokenizer, const uint32_t *ids, uint64_t count,
                                   bool skip_special, tv_text *text) {
    return decode(tokenizer, ids, count, skip_special, false, text);
}

tv_status tv_tokenizer_describe(tv_tokenizer *tokenizer, const tv_tokenizer_info *info) {
    static const char *const ends[] = {TV_TOKEN_END_OF_TEXT, "<|end_of_text|>", "</s>"};
    tokenizer->info = *info;
    uint32_t end = TV_NO_TOKEN;
    for (size_t i = 0; i < TV_COUNT(ends) && end == TV_NO_TOKEN; i++)
        end = tv_tokenizer_find(tokenizer, ends[i], strlen(ends[i]));
    /* Where none is known by its name, it is what eos was at first (tv_tokenizer_set_eos). */
    tokenizer->info.end_of_text = end != TV_NO_TOKEN                 ? end
                                  : info->end_of_text != TV_NO_TOKEN ? info->end_of_text
                                                                     : info->eos;
    if (info->eos == TV_NO_TOKEN)
        tokenizer->info.eos = end;
    if (info->pad == TV_NO_TOKEN)
        tokenizer->info.pad = tv_tokenizer_find(tokenizer, TV_TOKEN_PAD, strlen(TV_TOKEN_PAD));
    const char **texts[] = {&tokenizer->info.chat_template, &tokenizer->info.json, &tokenizer->info.config,
                            &tokenizer->info.jinja};
    for (size_t i = 0; i < TV_COUNT(texts); i++) {
        bool wanted = *texts[i] != NULL;
        if (wanted && !(*texts[i] = tv_arena_copy(tokenizer->arena, *texts[i], strlen(*texts[i]))))
            return out_of_memory();
    }
    return TV_OK;
}

tv_status tv_tokenizer_begin_text(const tv_tokenizer *tokenizer, tv_ids *ids) {
    return tv_ids_append(ids, tokenizer->info.begin, tokenizer->info.begin_count);
}

tv_status tv_tokenizer_begin_document(const tv_tokenizer *tokenizer, tv_ids *ids) {
    const tv_tokenizer_info *info = &tokenizer->info;
    bool there = info->begin_count == 1 && info->begin[0] == info->end_of_text;
    return there ? TV_OK : tv_tokenizer_begin_text(tokenizer, ids);
}

const tv_tokenizer_info *tv_tokenizer_info_of(const tv_tokenizer *tokenizer) {
    return &tokenizer->info;
}

int64_t tv_tokenizer_date(const tv_tokenizer *tokenizer) {
    return tokenizer->date;
}

void tv_tokenizer_set_date(tv_tokenizer *tokenizer, int64_t date) {
    tokenizer->date = date;
}

uint32_t tv_tokenizer_vocab_size(const tv_tokenizer *tokenizer) {
    return tokenizer->size;
}

tv_status tv_tokenizer_expect_vocab(const tv_tokenizer *tokenizer, uint64_t vocab_size, const char *where) {
    const tv_token *behind = NULL;
    for (uint64_t id = vocab_size; id < tokenizer->size; id++) {
        const tv_token *token = tv_tokenizer_token(tokenizer, (uint32_t)id);
        if (token && (!token->added || token->merges))
            return tv_fail(
                TV_E_DATA,
                "%s: the tokenizer has ids up to %u and the model's vocab_size is %llu; they belong "
                "to different models",
                where, tokenizer->size - 1, (unsigned long long)vocab_size);
        behind = token && !behind ? token : behind;
    }
    if (behind)
        tv_warn("%s: the model's vocabulary ends before the token %.*s; a text with it is refused", where,
                (int)tv_min_u64(behind->length, 60), (const char *)behind->bytes);
    return TV_OK;
}

bool tv_tokenizer_is_reversible(const tv_tokenizer *tokenizer) {
    return tokenizer->reversible;
}

const tv_token *tv_tokenizer_token(const tv_tokenizer *tokenizer, uint32_t id) {
    return id < tokenizer->size && tokenizer->tokens[id].spelling_length ? &tokenizer->tokens[id] : NULL;
}

uint64_t tv_tokenizer_merge_count(const tv_tokenizer *tokenizer) {
    return tokenizer->merge_count;
}

const tv_merge *tv_tokenizer_merges(const tv_tokenizer *tokenizer) {
    return tokenizer->merges;
}
