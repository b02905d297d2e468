/* Reading tokenizer.json and tokenizer_config.json: see tokenizer_json.h. Writing is in tokenizer_save.c. */
#include "text/tokenizer_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "text/post_processor.h"
#include "text/vocabulary.h"

/* A file being read. */
typedef struct reading {
    const char *where;
    tv_arena *arena;
    tv_token *tokens; /* added tokens first, then the model's */
    uint64_t token_count;
    tv_merge *merges;
    uint64_t merge_count;
    tv_token_index index;
    uint32_t *added_place; /* by id: place in `tokens` + 1 */
    tv_pretokenizer *pretokenizer;
    bool byte_level; /* the ByteLevel step was seen */
    tv_tokenizer_parts parts;
} reading;

static tv_status out_of_memory(const reading *read) {
    return tv_fail(TV_E_MEMORY, "%s: out of host memory for the tokenizer", read->where);
}

static tv_status unsupported(const reading *read, const char *key, const char *expected, const char *found) {
    return tv_fail(TV_E_DATA, "%s: expected %s for \"%s\", found %.60s; only byte-level BPE is supported",
                   read->where, expected, key, found);
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
    bool single_word;
    char *where = tv_format("%s: added_tokens[%llu]", read->where, (unsigned long long)number);
    if (!where)
        return out_of_memory(read);
    tv_status status;
    TV_TRY(tv_json_string(item, "content", where, NULL, &content));
    TV_TRY(tv_json_bool(item, "special", where, false, &token->special));
    TV_TRY(tv_json_bool(item, "lstrip", where, false, &token->lstrip));
    TV_TRY(tv_json_bool(item, "rstrip", where, false, &token->rstrip));
    TV_TRY(tv_json_bool(item, "single_word", where, false, &single_word));
    if (!content || !content[0] || single_word) {
        status = tv_fail(TV_E_DATA, "%s: expected %s", where,
                         single_word ? "single_word false, found true, which is not supported"
                                     : "a text for \"content\", found none");
        goto done;
    }
    TV_TRY(read_id(read, tv_json_get(item, "id"), content, &token->id));
    token->bytes = (const uint8_t *)content;
    token->length = (uint32_t)tv_min_u64(strlen(content), UINT32_MAX);
    token->added = true;
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

static tv_status read_vocabulary_entry(reading *read, const cJSON *item) {
    const char *name = item->string ? item->string : "";
    uint32_t id;
    TV_RETURN_IF_FAILED(read_id(read, item, name, &id));
    if (read->added_place[id]) {
        const tv_token *added = &read->tokens[read->added_place[id] - 1];
        if (strcmp((const char *)added->bytes, name) == 0)
            return TV_OK;
        return tv_fail(TV_E_DATA, "%s: expected each token id once, found %u for \"%.60s\" and for \"%.60s\"",
                       read->where, id, (const char *)added->bytes, name);
    }
    uint64_t size = strlen(name);
    uint8_t *bytes = tv_arena_alloc(read->arena, size + 1, 1);
    if (!bytes)
        return out_of_memory(read);
    tv_token *token = &read->tokens[read->token_count++];
    *token = (tv_token){.bytes = bytes, .id = id};
    if (size > INT32_MAX || !bytes_of(name, bytes, &token->length))
        return tv_fail(TV_E_DATA,
                       "%s: expected the byte-level alphabet of GPT-2 in model.vocab, found token \"%.60s\"; "
                       "only byte-level BPE is supported",
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
        uint32_t *slot =
            tv_token_index_slot(&read->index, read->tokens, read->tokens[i].bytes, read->tokens[i].length);
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
        if (!bytes_of(left, joined, &left_length) || !bytes_of(right, joined + left_length, &right_length))
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

static tv_status read_model(reading *read, const cJSON *root) {
    const cJSON *model = tv_json_get(root, "model"), *added = tv_json_get(root, "added_tokens");
    const char *type, *prefix, *suffix;
    bool byte_fallback;
    double dropout;
    if (!cJSON_IsObject(model))
        return tv_fail(TV_E_DATA, "%s: expected an object for \"model\", found none", read->where);
    TV_RETURN_IF_FAILED(tv_json_string(model, "type", read->where, "BPE", &type));
    TV_RETURN_IF_FAILED(tv_json_string(model, "continuing_subword_prefix", read->where, "", &prefix));
    TV_RETURN_IF_FAILED(tv_json_string(model, "end_of_word_suffix", read->where, "", &suffix));
    TV_RETURN_IF_FAILED(tv_json_bool(model, "byte_fallback", read->where, false, &byte_fallback));
    TV_RETURN_IF_FAILED(tv_json_number(model, "dropout", read->where, 0, &dropout));
    TV_RETURN_IF_FAILED(tv_json_bool(model, "ignore_merges", read->where, false, &read->parts.ignore_merges));
    if (strcmp(type, "BPE") != 0)
        return unsupported(read, "model.type", "\"BPE\"", type);
    if (prefix[0])
        return unsupported(read, "model.continuing_subword_prefix", "nothing", prefix);
    if (suffix[0])
        return unsupported(read, "model.end_of_word_suffix", "nothing", suffix);
    if (byte_fallback)
        return unsupported(read, "model.byte_fallback", "false", "true");
    if (dropout > 0)
        return unsupported(read, "model.dropout", "null", "a probability");
    if (!cJSON_IsObject(tv_json_get(model, "vocab")))
        return tv_fail(TV_E_DATA, "%s: expected an object for \"model.vocab\"", read->where);
    if (!cJSON_IsArray(tv_json_get(model, "merges")))
        return tv_fail(TV_E_DATA, "%s: expected an array for \"model.merges\"", read->where);
    if (added && !cJSON_IsArray(added) && !cJSON_IsNull(added))
        return tv_fail(TV_E_DATA, "%s: expected an array for \"added_tokens\"", read->where);
    TV_RETURN_IF_FAILED(read_tokens(read, added, tv_json_get(model, "vocab")));
    return read_merges(read, tv_json_get(model, "merges"));
}

static tv_status read_normalizer(reading *read, const cJSON *item) {
    static const char *const names[] = {"NFC", "NFD", "NFKC", "NFKD"};
    const char *type;
    if (!item || cJSON_IsNull(item))
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_json_string(item, "type", read->where, "", &type));
    if (strcmp(type, "Sequence") == 0) {
        const cJSON *part;
        cJSON_ArrayForEach(part, tv_json_get(item, "normalizers")) {
            TV_RETURN_IF_FAILED(read_normalizer(read, part));
        }
        return TV_OK;
    }
    for (int form = 0; form < 4; form++) {
        if (strcmp(type, names[form]) != 0)
            continue;
        if (read->parts.normal_form_count == TV_MAX_NORMAL_FORMS)
            return tv_fail(TV_E_DATA, "%s: expected at most %d normalizers", read->where,
                           TV_MAX_NORMAL_FORMS);
        read->parts.normal_forms[read->parts.normal_form_count++] = (tv_normal_form)form;
        return TV_OK;
    }
    return unsupported(read, "normalizer", "null, NFC, NFD, NFKC, NFKD or a Sequence of these", type);
}

/* {"Regex": r} as it is, {"String": s} with every sign quoted. */
static tv_status read_pattern(const reading *read, const cJSON *pattern, tv_text *regex) {
    const char *text, *literal;
    TV_RETURN_IF_FAILED(tv_json_string(pattern, "Regex", read->where, NULL, &text));
    TV_RETURN_IF_FAILED(tv_json_string(pattern, "String", read->where, NULL, &literal));
    if (!text && !literal)
        return tv_fail(TV_E_DATA,
                       "%s: expected {\"Regex\": ...} or {\"String\": ...} as the pattern of Split",
                       read->where);
    if (text)
        return tv_text_append(regex, text, strlen(text) + 1);
    for (; *literal; literal++) {
        bool plain = (*literal & 0x80) || (*literal >= '0' && *literal <= '9') ||
                     (*literal >= 'A' && *literal <= 'Z') || (*literal >= 'a' && *literal <= 'z');
        if (!plain)
            TV_RETURN_IF_FAILED(tv_text_append(regex, "\\", 1));
        TV_RETURN_IF_FAILED(tv_text_append(regex, literal, 1));
    }
    return tv_text_append(regex, "", 1);
}

static tv_status read_split(reading *read, const cJSON *item) {
    const char *behavior;
    bool invert;
    TV_RETURN_IF_FAILED(tv_json_string(item, "behavior", read->where, "Isolated", &behavior));
    TV_RETURN_IF_FAILED(tv_json_bool(item, "invert", read->where, false, &invert));
    /* "Removed" with "invert" keeps the matches; published patterns match every character, so nothing is lost
     * there, and here the rest would stay as pieces of its own. */
    if (strcmp(behavior, "Isolated") != 0 && !(strcmp(behavior, "Removed") == 0 && invert))
        return unsupported(read, "pre_tokenizer.behavior", "\"Isolated\", or \"Removed\" with invert",
                           behavior);
    tv_text regex = {0};
    tv_status status;
    TV_TRY(read_pattern(read, tv_json_get(item, "pattern"), &regex));
    TV_TRY(tv_pretokenizer_add_split(read->pretokenizer, (const char *)regex.data, read->where));
done:
    tv_text_free(&regex);
    return status;
}

static tv_status read_byte_level(reading *read, const cJSON *item) {
    bool use_regex, prefix;
    TV_RETURN_IF_FAILED(tv_json_bool(item, "use_regex", read->where, true, &use_regex));
    TV_RETURN_IF_FAILED(tv_json_bool(item, "add_prefix_space", read->where, true, &prefix));
    read->byte_level = true;
    if (prefix) {
        read->parts.add_prefix_space = true;
        TV_RETURN_IF_FAILED(tv_pretokenizer_add_prefix_space(read->pretokenizer));
    }
    return use_regex ? tv_pretokenizer_add_split(read->pretokenizer, TV_GPT2_PATTERN, read->where) : TV_OK;
}

static tv_status read_pre_tokenizer(reading *read, const cJSON *item) {
    const char *type;
    TV_RETURN_IF_FAILED(tv_json_string(item, "type", read->where, "nothing", &type));
    if (strcmp(type, "Sequence") == 0) {
        const cJSON *part;
        cJSON_ArrayForEach(part, tv_json_get(item, "pretokenizers")) {
            TV_RETURN_IF_FAILED(read_pre_tokenizer(read, part));
        }
        return TV_OK;
    }
    if (read->byte_level)
        return unsupported(read, "pre_tokenizer", "ByteLevel as the last of a sequence", type);
    if (strcmp(type, "ByteLevel") == 0)
        return read_byte_level(read, item);
    if (strcmp(type, "Split") == 0)
        return read_split(read, item);
    if (strcmp(type, "Digits") == 0) {
        bool individual;
        TV_RETURN_IF_FAILED(tv_json_bool(item, "individual_digits", read->where, false, &individual));
        return tv_pretokenizer_add_split(read->pretokenizer, individual ? "\\p{N}" : "\\p{N}+", read->where);
    }
    return unsupported(read, "pre_tokenizer", "Split, Digits, ByteLevel or a Sequence of these", type);
}

static tv_status read_decoder(const reading *read, const cJSON *item) {
    const char *type;
    if (!item || cJSON_IsNull(item))
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_json_string(item, "type", read->where, "nothing", &type));
    if (strcmp(type, "Sequence") == 0) {
        const cJSON *part;
        cJSON_ArrayForEach(part, tv_json_get(item, "decoders")) {
            TV_RETURN_IF_FAILED(read_decoder(read, part));
        }
        return TV_OK;
    }
    return strcmp(type, "ByteLevel") == 0 ? TV_OK : unsupported(read, "decoder", "ByteLevel", type);
}

tv_status tv_tokenizer_parse(const char *json, uint64_t size, const char *where, tv_tokenizer **tokenizer) {
    *tokenizer = NULL;
    tv_status status;
    cJSON *root = NULL;
    reading read = {.where = where};
    TV_TRY(tv_json_parse(json, size, where, &root));
    TV_TRY(tv_arena_create(&read.arena));
    TV_TRY(tv_pretokenizer_create(&read.pretokenizer));
    if (!cJSON_IsObject(root)) {
        status = tv_fail(TV_E_DATA, "%s: expected a JSON object", where);
        goto done;
    }
    TV_TRY(read_normalizer(&read, tv_json_get(root, "normalizer")));
    TV_TRY(read_pre_tokenizer(&read, tv_json_get(root, "pre_tokenizer")));
    if (!read.byte_level) {
        status = unsupported(&read, "pre_tokenizer", "a ByteLevel step", "none");
        goto done;
    }
    TV_TRY(read_decoder(&read, tv_json_get(root, "decoder")));
    TV_TRY(read_model(&read, root));
    read.parts.tokens = read.tokens;
    read.parts.token_count = read.token_count;
    read.parts.merges = read.merges;
    read.parts.merge_count = read.merge_count;
    read.parts.pretokenizer = &read.pretokenizer;
    TV_TRY(tv_tokenizer_create(&read.parts, where, tokenizer));
    tv_tokenizer_info info = {.end_of_text = TV_NO_TOKEN,
                              .eos = TV_NO_TOKEN,
                              .pad = TV_NO_TOKEN,
                              .json = tv_arena_copy(read.arena, json, size)};
    TV_TRY(tv_post_processor_read(*tokenizer, tv_json_get(root, "post_processor"), where, &info));
    status = info.json ? tv_tokenizer_describe(*tokenizer, &info) : out_of_memory(&read);
done:
    if (status != TV_OK)
        tv_tokenizer_destroy(tokenizer);
    free(read.added_place);
    tv_pretokenizer_destroy(&read.pretokenizer);
    tv_arena_destroy(&read.arena);
    cJSON_Delete(root);
    return status;
}

/* "chat_template": one text, or a list of {"name", "template"} with one named "default". */
static const char *chat_template(const cJSON *config) {
    const cJSON *item = tv_json_get(config, "chat_template"), *named;
    if (cJSON_IsString(item))
        return item->valuestring;
    if (!cJSON_IsArray(item))
        return NULL;
    cJSON_ArrayForEach(named, item) {
        const cJSON *name = tv_json_get(named, "name"), *text = tv_json_get(named, "template");
        if (cJSON_IsString(name) && cJSON_IsString(text) && strcmp(name->valuestring, "default") == 0)
            return text->valuestring;
    }
    return NULL;
}

static tv_status read_config(tv_tokenizer *tokenizer, const char *path) {
    char *text = NULL;
    uint64_t size = 0;
    cJSON *config = NULL;
    tv_status status;
    TV_TRY(tv_read_file(path, &text, &size));
    TV_TRY(tv_json_parse(text, size, path, &config));
    tv_tokenizer_info info = *tv_tokenizer_info_of(tokenizer);
    info.eos = tv_tokenizer_named_token(tokenizer, config, "eos_token");
    info.pad = tv_tokenizer_named_token(tokenizer, config, "pad_token");
    info.chat_template = chat_template(config);
    info.config = text;
    TV_TRY(tv_post_processor_read_config(tokenizer, config, path, &info));
    TV_TRY(tv_tokenizer_describe(tokenizer, &info));
done:
    cJSON_Delete(config);
    free(text);
    return status;
}

/* As transformers does since 4.50: the file beside the configuration is the template. */
static tv_status read_jinja(tv_tokenizer *tokenizer, const char *path) {
    char *text = NULL;
    uint64_t size = 0;
    tv_status status;
    TV_TRY(tv_read_file(path, &text, &size));
    if (memchr(text, '\0', size)) {
        status = tv_fail(TV_E_DATA, "%s: expected a template as text, found a byte 0", path);
        goto done;
    }
    tv_tokenizer_info info = *tv_tokenizer_info_of(tokenizer);
    info.chat_template = info.jinja = text;
    TV_TRY(tv_tokenizer_describe(tokenizer, &info));
done:
    free(text);
    return status;
}

static tv_status say_begin(const tv_tokenizer *tokenizer, const char *directory) {
    const tv_tokenizer_info *info = tv_tokenizer_info_of(tokenizer);
    tv_text names = {0};
    if (info->begin_count == 0)
        return TV_OK;
    tv_status status = tv_tokenizer_decode(tokenizer, info->begin, info->begin_count, false, &names);
    if (status == TV_OK)
        tv_info("%s: texts begin with %.*s (%s)", directory, (int)tv_min_u64(names.size, 120),
                (const char *)names.data, info->begins_by);
    tv_text_free(&names);
    return status;
}

tv_status tv_tokenizer_load(const char *directory, tv_tokenizer **tokenizer) {
    *tokenizer = NULL;
    tv_status status;
    char *text = NULL;
    uint64_t size = 0;
    char *path = tv_format("%s/tokenizer.json", directory);
    char *config = tv_format("%s/tokenizer_config.json", directory);
    char *jinja = tv_format("%s/chat_template.jinja", directory);
    if (!path || !config || !jinja) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
        goto done;
    }
    if (!tv_path_exists(path)) {
        status = tv_fail(TV_E_DATA,
                         "%s: expected a tokenizer, found no such file; train one with `trivium tokenizer "
                         "train`, or name a directory that has one",
                         path);
        goto done;
    }
    TV_TRY(tv_read_file(path, &text, &size));
    TV_TRY(tv_tokenizer_parse(text, size, path, tokenizer));
    if (tv_path_exists(config))
        TV_TRY(read_config(*tokenizer, config));
    if (tv_path_exists(jinja))
        TV_TRY(read_jinja(*tokenizer, jinja));
    TV_TRY(say_begin(*tokenizer, directory));
done:
    if (status != TV_OK)
        tv_tokenizer_destroy(tokenizer);
    free(path);
    free(config);
    free(jinja);
    free(text);
    return status;
}
