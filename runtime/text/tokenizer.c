/* The tokenizer's tables, added tokens and decoding: see tokenizer.h. The merging itself is in bpe_encode.c.
 */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "text/bpe_encode.h"
#include "text/vocabulary.h"

struct tv_tokenizer {
    tv_arena *arena;        /* tables and the tokens' bytes */
    tv_token *tokens;       /* by id; length 0: none */
    tv_token_index index;   /* of bytes to ids */
    tv_merge *merges;       /* by priority */
    const tv_token **added; /* by first byte, longest first */
    uint32_t first[257];    /* where each first byte begins in `added` */
    uint64_t merge_count, added_count;
    uint32_t size;
    tv_normal_form normal_forms[TV_MAX_NORMAL_FORMS];
    uint32_t normal_form_count;
    bool reversible;
    tv_pretokenizer *pretokenizer;
    tv_bpe *bpe;
    tv_text normal[2]; /* scratch of normalization */
    tv_tokenizer_info info;
};

void tv_tokenizer_destroy(tv_tokenizer **tokenizer) {
    if (!tokenizer || !*tokenizer)
        return;
    tv_text_free(&(*tokenizer)->normal[0]);
    tv_text_free(&(*tokenizer)->normal[1]);
    tv_bpe_destroy(&(*tokenizer)->bpe);
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

static tv_status add_tokens(tv_tokenizer *tokenizer, const tv_tokenizer_parts *parts, const char *where) {
    for (uint64_t i = 0; i < parts->token_count; i++) {
        if (parts->tokens[i].id > TV_MAX_TOKEN_ID)
            return tv_fail(TV_E_DATA, "%s: expected token ids up to %d, found %u", where, TV_MAX_TOKEN_ID,
                           parts->tokens[i].id);
        if (parts->tokens[i].length == 0)
            return tv_fail(TV_E_DATA, "%s: expected a text for token id %u, found an empty one", where,
                           parts->tokens[i].id);
        if (parts->tokens[i].id >= tokenizer->size)
            tokenizer->size = parts->tokens[i].id + 1;
        tokenizer->added_count += parts->tokens[i].added;
    }
    TV_RETURN_IF_FAILED(tv_token_index_create(tokenizer->arena, parts->token_count, &tokenizer->index));
    tokenizer->tokens = tv_arena_alloc(tokenizer->arena, tokenizer->size + 1ull, sizeof(tv_token));
    tokenizer->added = tv_arena_alloc(tokenizer->arena, tokenizer->added_count + 1, sizeof(tv_token *));
    if (!tokenizer->tokens || !tokenizer->added)
        return out_of_memory();
    uint64_t added = 0;
    for (uint64_t i = 0; i < parts->token_count; i++) {
        const tv_token *part = &parts->tokens[i];
        tv_token *token = &tokenizer->tokens[part->id];
        if (token->length)
            return tv_fail(TV_E_DATA,
                           "%s: expected each token id once, found %u for \"%.*s\" and for \"%.*s\"", where,
                           part->id, (int)tv_min_u64(token->length, 60), (const char *)token->bytes,
                           (int)tv_min_u64(part->length, 60), (const char *)part->bytes);
        uint32_t *slot = tv_token_index_slot(&tokenizer->index, tokenizer->tokens, part->bytes, part->length);
        if (*slot)
            return tv_fail(TV_E_DATA, "%s: expected each token once, found \"%.*s\" with ids %u and %u",
                           where, (int)tv_min_u64(part->length, 60), (const char *)part->bytes, *slot - 1,
                           part->id);
        *token = *part;
        token->bytes = (uint8_t *)tv_arena_copy(tokenizer->arena, (const char *)part->bytes, part->length);
        if (!token->bytes)
            return out_of_memory();
        *slot = part->id + 1;
        if (part->added)
            tokenizer->added[added++] = token;
    }
    return TV_OK;
}

static int by_first_byte_then_longest(const void *a, const void *b) {
    const tv_token *left = *(const tv_token *const *)a, *right = *(const tv_token *const *)b;
    if (left->bytes[0] != right->bytes[0])
        return left->bytes[0] < right->bytes[0] ? -1 : 1;
    if (left->length != right->length)
        return left->length > right->length ? -1 : 1;
    return left->id < right->id ? -1 : 1;
}

static void index_added(tv_tokenizer *tokenizer) {
    if (tokenizer->added_count)
        qsort(tokenizer->added, tokenizer->added_count, sizeof *tokenizer->added, by_first_byte_then_longest);
    uint32_t next = 0;
    for (uint32_t byte = 0; byte < 257; byte++) {
        while (next < tokenizer->added_count && tokenizer->added[next]->bytes[0] < byte)
            next++;
        tokenizer->first[byte] = next;
    }
}

tv_status tv_tokenizer_create(const tv_tokenizer_parts *parts, const char *where, tv_tokenizer **out) {
    *out = NULL;
    tv_status status;
    tv_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (!tokenizer)
        return out_of_memory();
    TV_TRY_OR_FAIL(tv_arena_create(&tokenizer->arena));
    TV_TRY_OR_FAIL(add_tokens(tokenizer, parts, where));
    index_added(tokenizer);
    uint32_t byte_ids[256];
    for (uint32_t i = 0; i < 256; i++) {
        uint8_t byte = (uint8_t)i;
        byte_ids[i] = tv_tokenizer_find(tokenizer, &byte, 1);
        if (byte_ids[i] == TV_NO_TOKEN) {
            status = tv_fail(TV_E_DATA,
                             "%s: expected a byte-level vocabulary with a token for each of the 256 bytes, "
                             "found none for byte 0x%02x",
                             where, i);
            goto fail;
        }
    }
    tokenizer->merge_count = parts->merge_count;
    tokenizer->merges = tv_arena_alloc(tokenizer->arena, parts->merge_count + 1, sizeof *parts->merges);
    if (!tokenizer->merges) {
        status = out_of_memory();
        goto fail;
    }
    if (parts->merge_count)
        memcpy(tokenizer->merges, parts->merges, parts->merge_count * sizeof *parts->merges);
    TV_TRY_OR_FAIL(tv_bpe_create(tokenizer->merges, parts->merge_count, byte_ids,
                                 parts->ignore_merges ? &tokenizer->index : NULL, tokenizer->tokens,
                                 &tokenizer->bpe));
    memcpy(tokenizer->normal_forms, parts->normal_forms, sizeof tokenizer->normal_forms);
    tokenizer->normal_form_count = parts->normal_form_count;
    tokenizer->reversible = parts->normal_form_count == 0 && !parts->add_prefix_space;
    for (uint64_t i = 0; i < parts->token_count; i++)
        tokenizer->reversible &= !parts->tokens[i].lstrip && !parts->tokens[i].rstrip;
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

typedef struct encode_run {
    tv_tokenizer *tokenizer;
    tv_ids *ids;
} encode_run;

static tv_status encode_piece(void *context, const uint8_t *bytes, uint64_t length) {
    encode_run *run = context;
    return tv_bpe_encode(run->tokenizer->bpe, bytes, length, run->ids);
}

/* Text between added tokens. */
static tv_status encode_plain(tv_tokenizer *tokenizer, const uint8_t *text, uint64_t length, tv_ids *ids) {
    for (uint32_t i = 0; i < tokenizer->normal_form_count; i++) {
        tv_text *normal = &tokenizer->normal[i % 2];
        normal->size = 0;
        TV_RETURN_IF_FAILED(tv_utf8_normalize(text, length, tokenizer->normal_forms[i], normal));
        text = normal->data;
        length = normal->size;
    }
    encode_run run = {tokenizer, ids};
    return tv_pretokenizer_split(tokenizer->pretokenizer, text, length, encode_piece, &run);
}

static const tv_token *added_token_at(const tv_tokenizer *tokenizer, const uint8_t *text, uint64_t available,
                                      bool special) {
    for (uint32_t i = tokenizer->first[text[0]]; i < tokenizer->first[text[0] + 1]; i++) {
        const tv_token *token = tokenizer->added[i];
        if ((special || !token->special) && token->length <= available &&
            memcmp(token->bytes, text, token->length) == 0)
            return token;
    }
    return NULL;
}

/* Where the white space that ends at `end` begins, not before `floor`. */
static uint64_t space_before(const uint8_t *text, uint64_t floor, uint64_t end) {
    while (end > floor) {
        uint64_t start = end - 1;
        while (start > floor && (text[start] & 0xc0) == 0x80 && end - start < 4)
            start--;
        uint32_t length, c = tv_utf8_decode(text + start, end - start, &length);
        if (length != end - start || !tv_utf8_is_space(c))
            break;
        end = start;
    }
    return end;
}

static uint64_t space_after(const uint8_t *text, uint64_t start, uint64_t length) {
    while (start < length) {
        uint32_t used, c = tv_utf8_decode(text + start, length - start, &used);
        if (!tv_utf8_is_space(c))
            break;
        start += used;
    }
    return start;
}

tv_status tv_tokenizer_encode(tv_tokenizer *tokenizer, const void *bytes, uint64_t length, bool special,
                              tv_ids *ids) {
    const uint8_t *text = bytes;
    uint64_t done = 0, i = 0;
    while (tokenizer->added_count && i < length) {
        const tv_token *token = added_token_at(tokenizer, text + i, length - i, special);
        if (!token) {
            i++;
            continue;
        }
        uint64_t end = token->lstrip ? space_before(text, done, i) : i;
        if (end > done)
            TV_RETURN_IF_FAILED(encode_plain(tokenizer, text + done, end - done, ids));
        TV_RETURN_IF_FAILED(tv_ids_append(ids, &token->id, 1));
        i += token->length;
        done = i = token->rstrip ? space_after(text, i, length) : i;
    }
    return done < length ? encode_plain(tokenizer, text + done, length - done, ids) : TV_OK;
}

tv_status tv_tokenizer_decode(const tv_tokenizer *tokenizer, const uint32_t *ids, uint64_t count,
                              bool skip_special, tv_text *text) {
    for (uint64_t i = 0; i < count; i++) {
        const tv_token *token = tv_tokenizer_token(tokenizer, ids[i]);
        if (!token)
            return tv_fail(TV_E_DATA,
                           "expected token ids of the vocabulary (below %u), found %u at position %llu",
                           tokenizer->size, ids[i], (unsigned long long)i);
        if (!(skip_special && token->special))
            TV_RETURN_IF_FAILED(tv_text_append(text, token->bytes, token->length));
    }
    return TV_OK;
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

uint32_t tv_tokenizer_vocab_size(const tv_tokenizer *tokenizer) {
    return tokenizer->size;
}

bool tv_tokenizer_is_reversible(const tv_tokenizer *tokenizer) {
    return tokenizer->reversible;
}

const tv_token *tv_tokenizer_token(const tv_tokenizer *tokenizer, uint32_t id) {
    return id < tokenizer->size && tokenizer->tokens[id].length ? &tokenizer->tokens[id] : NULL;
}

uint64_t tv_tokenizer_merge_count(const tv_tokenizer *tokenizer) {
    return tokenizer->merge_count;
}

const tv_merge *tv_tokenizer_merges(const tv_tokenizer *tokenizer) {
    return tokenizer->merges;
}
