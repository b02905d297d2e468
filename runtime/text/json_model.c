/* Reading "model" and "added_tokens": see tokenizer_reading.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "text/tokenizer_reading.h"
#include "text/vocabulary.h"

typedef struct reading {
    const char *where;
    tv_arena *arena;
    bool byte_level;  /* the vocabulary is spelled in the byte alphabet */
    tv_token *tokens; /* added tokens first, then the model's */
    uint64_t token_count;
    tv_merge *merges;
    uint64_t merge_count;
    tv_token_index index;
    uint32_t *added_place; /* by id: place in `tokens` + 1 */
} reading;

static tv_status out_of_memory(const reading *read) {
    return tv_fail(TV_E_MEMORY, "%s: out of host memory for the tokenizer", read->where);
}

static tv_status unsupported(const reading *read, const char *key, const char *expected, const char *found) {
    return tv_fail(TV_E_DATA, "%s: expected %s for \"%s\", found %.60s, which is not supported", read->where,
                   expected, key, found);
}

static tv_status read_id(const reading *read, const cJSON *value, const char *name, uint32_t *id) {
    double number = cJSON_IsNumber(value) ? value->valuedouble : -1;
    if (!(number >= 0 && number <= TV_MAX_TOKEN_ID) || floor(number) < number)
        return tv_fail(TV_E_DATA, "%s: expected a whole number from 0 to %d as the id of token \"%.60s\"",
                       read->where, TV_MAX_TOKEN_ID, name);
    *id = (uint32_t)number;
    return TV_OK;
}

static tv_status read_added_token(reading *read, const cJSON *item, uint64_t number) {
    tv_token *token = &read->tokens[read->token_count];
    const char *content;
    char *where = tv_format("%s: added_tokens[%llu]", read->where, (unsigned long long)number);
    if (!where)
        return out_of_memory(read);
    tv_status status;
    TV_TRY(tv_json_string(item, "content", where, NULL, &content));
    TV_TRY(tv_json_bool(item, "special", where, false, &token->special));
    TV_TRY(tv_json_bool(item, "lstrip", where, false, &token->lstrip));
    TV_TRY(tv_json_bool(item, "rstrip", where, false, &token->rstrip));
    TV_TRY(tv_json_bool(item, "single_word", where, false, &token->single_word));
    TV_TRY(tv_json_bool(item, "normalized", where, !token->special, &token->normalized));
    if (!content || !content[0]) {
        status = tv_fail(TV_E_DATA, "%s: expected a text for \"content\", found none", where);
        goto done;
    }
    TV_TRY(read_id(read, tv_json_get(item, "id"), content, &token->id));
    token->spelling = (const uint8_t *)content;
    token->spelling_length = (uint32_t)tv_min_u64(strlen(content), UINT32_MAX);
    token->added = token->spelled = true;
    read->added_place[token->id] = (uint32_t)++read->token_count;
done:
    free(where);
    return status;
}

/* A vocabulary entry's text in GPT-2's byte alphabet as bytes; false when it is written otherwise. */
static bool bytes_of(const char *text, uint8_t *out, uint32_t *length) {
    uint64_t size = strlen(text), at = 0;
    *length = 0;
    while (at < size) {
        uint32_t used, c = tv_utf8_decode((const uint8_t *)text + at, size - at, &used);
        int byte = tv_character_to_byte(c);
        if (byte < 0)
            return false;
        out[(*length)++] = (uint8_t)byte;
        at += used;
    }
    return true;
}

/* What vocabulary and merges are compared by: bytes, or the text as it is. */
static bool spelling_of(const reading *read, const char *text, uint8_t *out, uint32_t *length) {
    if (read->byte_level)
        return bytes_of(text, out, length);
    *length = (uint32_t)strlen(text);
    memcpy(out, text, *length);
    return true;
}

static tv_status read_vocabulary_entry(reading *read, const cJSON *item) {
    const char *name = item->string ? item->string : "";
    uint32_t id;
    TV_RETURN_IF_FAILED(read_id(read, item, name, &id));
    if (read->added_place[id]) {
        tv_token *added = &read->tokens[read->added_place[id] - 1];
        added->merges = strcmp((const char *)added->spelling, name) == 0;
        if (added->merges)
            return TV_OK;
        return tv_fail(TV_E_DATA, "%s: expected each token id once, found %u for \"%.60s\" and for \"%.60s\"",
                       read->where, id, (const char *)added->spelling, name);
    }
    uint64_t size = strlen(name);
    uint8_t *spelling = tv_arena_alloc(read->arena, size + 1, 1);
    if (!spelling)
        return out_of_memory(read);
    tv_token *token = &read->tokens[read->token_count++];
    *token = (tv_token){.spelling = spelling, .id = id, .spelled = !read->byte_level};
    if (size > INT32_MAX || !spelling_of(read, name, spelling, &token->spelling_length))
        return tv_fail(TV_E_DATA,
                       "%s: expected the byte-level alphabet of GPT-2 in model.vocab, found token \"%.60s\"",
                       read->where, name);
    return TV_OK;
}

static tv_status read_tokens(reading *read, const cJSON *added, const cJSON *vocab) {
    uint64_t capacity = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, added) {
        capacity++;
    }
    cJSON_ArrayForEach(item, vocab) {
        capacity++;
    }
    read->tokens = tv_arena_alloc(read->arena, capacity + 1, sizeof *read->tokens);
    read->added_place = calloc(TV_MAX_TOKEN_ID + 1, sizeof *read->added_place);
    if (!read->tokens || !read->added_place)
        return out_of_memory(read);
    TV_RETURN_IF_FAILED(tv_token_index_create(read->arena, capacity, &read->index));
    uint64_t number = 0;
    cJSON_ArrayForEach(item, added) {
        TV_RETURN_IF_FAILED(read_added_token(read, item, number));
        number++;
    }
    cJSON_ArrayForEach(item, vocab) {
        TV_RETURN_IF_FAILED(read_vocabulary_entry(read, item));
    }
    for (uint64_t i = 0; i < read->token_count; i++) {
        uint32_t *slot = tv_token_index_slot(&read->index, read->tokens, read->tokens[i].spelling,
                                             read->tokens[i].spelling_length);
        if (*slot == 0)
            *slot = (uint32_t)i + 1;
    }
    return TV_OK;
}

/* The two texts of a merge; they point into `scratch` or into the tree. */
static bool merge_texts(const cJSON *item, char *scratch, const char **left, const char **right) {
    if (cJSON_IsString(item)) {
        strcpy(scratch, item->valuestring);
        char *space = strchr(scratch, ' ');
        if (!space || strchr(space + 1, ' '))
            return false;
        *space = '\0';
        *left = scratch;
        *right = space + 1;
    } else {
        const cJSON *first = cJSON_IsArray(item) ? item->child : NULL, *second = first ? first->next : NULL;
        if (!cJSON_IsString(first) || !second || !cJSON_IsString(second) || second->next)
            return false;
        *left = first->valuestring;
        *right = second->valuestring;
    }
    return **left && **right;
}

static uint64_t merge_size(const cJSON *item) {
    uint64_t size = cJSON_IsString(item) ? strlen(item->valuestring) : 0;
    const cJSON *part;
    if (cJSON_IsArray(item)) {
        cJSON_ArrayForEach(part, item) {
            size += cJSON_IsString(part) ? strlen(part->valuestring) : 0;
        }
    }
    return size;
}

static uint32_t find_id(const reading *read, const uint8_t *bytes, uint32_t length) {
    uint32_t place = *tv_token_index_slot(&read->index, read->tokens, bytes, length);
    return place ? read->tokens[place - 1].id : TV_NO_TOKEN;
}

static tv_status read_merges(reading *read, const cJSON *merges) {
    uint64_t count = 0, longest = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, merges) {
        count++;
        longest = tv_max_u64(longest, merge_size(item));
    }
    if (count >= UINT32_MAX || longest > INT32_MAX)
        return tv_fail(TV_E_DATA, "%s: expected fewer than 2^32 merges of less than 2 GiB", read->where);
    read->merges = tv_arena_alloc(read->arena, count + 1, sizeof *read->merges);
    char *scratch = tv_arena_alloc(read->arena, longest + 1, 1);
    uint8_t *joined = tv_arena_alloc(read->arena, longest + 1, 1);
    if (!read->merges || !scratch || !joined)
        return out_of_memory(read);
    cJSON_ArrayForEach(item, merges) {
        unsigned long long number = read->merge_count;
        const char *left, *right;
        uint32_t left_length, right_length;
        if (!merge_texts(item, scratch, &left, &right))
            return tv_fail(TV_E_DATA, "%s: expected \"a b\" or [\"a\", \"b\"] in model.merges[%llu]",
                           read->where, number);
        if (!spelling_of(read, left, joined, &left_length) ||
            !spelling_of(read, right, joined + left_length, &right_length))
            return tv_fail(TV_E_DATA,
                           "%s: expected the byte-level alphabet of GPT-2 in model.merges[%llu], found "
                           "\"%.40s\" and \"%.40s\"",
                           read->where, number, left, right);
        tv_merge merge = {find_id(read, joined, left_length),
                          find_id(read, joined + left_length, right_length),
                          find_id(read, joined, left_length + right_length)};
        if (merge.left == TV_NO_TOKEN || merge.right == TV_NO_TOKEN || merge.merged == TV_NO_TOKEN)
            return tv_fail(TV_E_DATA,
                           "%s: model.merges[%llu] joins \"%.40s\" and \"%.40s\"; expected all three of the "
                           "parts and the whole in model.vocab, found no %s",
                           read->where, number, left, right,
                           merge.left == TV_NO_TOKEN    ? "left part"
                           : merge.right == TV_NO_TOKEN ? "right part"
                                                        : "whole");
        read->merges[read->merge_count++] = merge;
    }
    return TV_OK;
}

tv_status tv_read_model(const cJSON *root, const char *where, bool byte_level, tv_arena *arena,
                        tv_tokenizer_parts *parts) {
    reading read = {.where = where, .arena = arena, .byte_level = byte_level};
    const cJSON *model = tv_json_get(root, "model"), *added = tv_json_get(root, "added_tokens");
    const char *type, *prefix, *suffix;
    double dropout;
    tv_status status;
    if (!cJSON_IsObject(model))
        return tv_fail(TV_E_DATA, "%s: expected an object for \"model\", found none", where);
    TV_TRY(tv_json_string(model, "type", where, "BPE", &type));
    TV_TRY(tv_json_string(model, "continuing_subword_prefix", where, "", &prefix));
    TV_TRY(tv_json_string(model, "end_of_word_suffix", where, "", &suffix));
    TV_TRY(tv_json_string(model, "unk_token", where, NULL, &parts->unknown));
    TV_TRY(tv_json_bool(model, "fuse_unk", where, false, &parts->fuse_unknown));
    TV_TRY(tv_json_bool(model, "byte_fallback", where, false, &parts->byte_fallback));
    TV_TRY(tv_json_number(model, "dropout", where, 0, &dropout));
    TV_TRY(tv_json_bool(model, "ignore_merges", where, false, &parts->ignore_merges));
    if (strcmp(type, "BPE") != 0)
        status = unsupported(&read, "model.type", "\"BPE\"", type);
    else if (prefix[0])
        status = unsupported(&read, "model.continuing_subword_prefix", "nothing", prefix);
    else if (suffix[0])
        status = unsupported(&read, "model.end_of_word_suffix", "nothing", suffix);
    else if (parts->byte_fallback && byte_level)
        status = unsupported(&read, "model.byte_fallback", "false beside ByteLevel", "true");
    else if (dropout > 0)
        status = unsupported(&read, "model.dropout", "null", "a probability");
    else if (!cJSON_IsObject(tv_json_get(model, "vocab")))
        status = tv_fail(TV_E_DATA, "%s: expected an object for \"model.vocab\"", where);
    else if (!cJSON_IsArray(tv_json_get(model, "merges")))
        status = tv_fail(TV_E_DATA, "%s: expected an array for \"model.merges\"", where);
    else if (added && !cJSON_IsArray(added) && !cJSON_IsNull(added))
        status = tv_fail(TV_E_DATA, "%s: expected an array for \"added_tokens\"", where);
    TV_TRY(status);
    TV_TRY(read_tokens(&read, added, tv_json_get(model, "vocab")));
    TV_TRY(read_merges(&read, tv_json_get(model, "merges")));
    parts->characters = !byte_level;
    parts->tokens = read.tokens;
    parts->token_count = read.token_count;
    parts->merges = read.merges;
    parts->merge_count = read.merge_count;
done:
    free(read.added_place);
    return status;
}
