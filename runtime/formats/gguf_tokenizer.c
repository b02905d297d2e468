/* A tokenizer's files as GGUF metadata: see gguf_tokenizer.h. */
#include "formats/gguf_tokenizer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/json.h"
#include "base/log.h"
#include "formats/gguf_pieces.h"
#include "formats/gguf_pretokenizer.h"
#include "text/vocabulary.h"

/* The tables that are written, by id. */
typedef struct tables {
    const char *where;
    tv_arena *arena;
    uint64_t count;
    const char **tokens;
    int32_t *types;
    float *scores;
    const char **merges;
    uint64_t merge_count;
    bool fallback; /* byte fallback: "llama" */
} tables;

static tv_status out_of_memory(const tables *t) {
    return tv_fail(TV_E_MEMORY, "%s: out of host memory for the tokenizer", t->where);
}

/* "<0x0A>" */
static bool is_byte(const char *token) {
    return strlen(token) == 6 && strncmp(token, "<0x", 3) == 0 && isxdigit((unsigned char)token[3]) &&
           isxdigit((unsigned char)token[4]) && token[5] == '>';
}

static tv_status put_token(tables *t, const cJSON *id, const char *text, int32_t type) {
    /* The tokenizer was read from this text, so that ids are whole numbers. */
    double number = cJSON_IsNumber(id) ? id->valuedouble : -1;
    if (!(number >= 0 && number < (double)t->count))
        return tv_fail(
            TV_E_DATA,
            "%s: token \"%.60s\" has the id %.0f, but the model has a row for each of %llu tokens; they "
            "belong to different models",
            t->where, text, number, (unsigned long long)t->count);
    t->tokens[(uint64_t)number] = text;
    t->types[(uint64_t)number] = type;
    return TV_OK;
}

/* llama.cpp looks for these in the text as it was given, where spaces are not yet U+2581. */
static const char *with_spaces(tables *t, const char *text) {
    static const char mark[] = "\xe2\x96\x81";
    char *copy = tv_arena_copy(t->arena, text, strlen(text)), *to = copy;
    for (const char *from = copy; copy && *from; to++)
        if (strncmp(from, mark, 3) == 0) {
            *to = ' ';
            from += 3;
        } else {
            *to = *from++;
        }
    if (copy)
        *to = '\0';
    return copy;
}

static tv_status fill_tokens(tables *t, const cJSON *model, const cJSON *added) {
    const char *unknown = cJSON_GetStringValue(tv_json_get(model, "unk_token"));
    const cJSON *item;
    t->tokens = tv_arena_alloc(t->arena, t->count, sizeof *t->tokens);
    t->types = tv_arena_alloc(t->arena, t->count, sizeof *t->types);
    if (!t->tokens || !t->types)
        return out_of_memory(t);
    cJSON_ArrayForEach(item, tv_json_get(model, "vocab")) {
        bool byte = t->fallback && is_byte(item->string);
        TV_RETURN_IF_FAILED(put_token(t, item, item->string, byte ? TV_GGUF_BYTE : TV_GGUF_NORMAL));
    }
    cJSON_ArrayForEach(item, added) {
        const char *text = cJSON_GetStringValue(tv_json_get(item, "content"));
        bool special = cJSON_IsTrue(tv_json_get(item, "special"));
        if (text && t->fallback && !special)
            text = with_spaces(t, text);
        if (!text)
            return out_of_memory(t);
        int32_t type = t->fallback && unknown && strcmp(text, unknown) == 0 ? TV_GGUF_UNKNOWN
                       : special                                            ? TV_GGUF_CONTROL
                                                                            : TV_GGUF_USER_DEFINED;
        TV_RETURN_IF_FAILED(put_token(t, tv_json_get(item, "id"), text, type));
    }
    for (uint64_t i = 0; i < t->count; i++) {
        if (t->tokens[i])
            continue;
        t->tokens[i] = tv_arena_format(t->arena, "[PAD%llu]", (unsigned long long)i);
        t->types[i] = TV_GGUF_UNUSED;
        if (!t->tokens[i])
            return out_of_memory(t);
    }
    return TV_OK;
}

static tv_status fill_merges(tables *t, const cJSON *merges) {
    uint64_t count = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, merges) {
        count++;
    }
    t->merges = tv_arena_alloc(t->arena, count, sizeof *t->merges);
    if (!t->merges)
        return out_of_memory(t);
    cJSON_ArrayForEach(item, merges) {
        const char *merge =
            cJSON_IsString(item)
                ? item->valuestring
                : tv_arena_format(t->arena, "%s %s", cJSON_GetStringValue(cJSON_GetArrayItem(item, 0)),
                                  cJSON_GetStringValue(cJSON_GetArrayItem(item, 1)));
        if (!merge)
            return out_of_memory(t);
        t->merges[t->merge_count++] = merge;
    }
    return TV_OK;
}

/* SentencePiece joins any two neighbours whose whole is a token, the best score first; the merges are its
 * order where each token's stand side by side. */
static tv_status fill_scores(tables *t, const tv_tokenizer *tokenizer) {
    const tv_merge *merges = tv_tokenizer_merges(tokenizer);
    uint64_t count = tv_tokenizer_merge_count(tokenizer), apart = 0;
    t->scores = tv_arena_alloc(t->arena, t->count, sizeof *t->scores);
    uint8_t *seen = tv_arena_alloc(t->arena, t->count, 1);
    if (!t->scores || !seen)
        return out_of_memory(t);
    for (uint64_t i = 0; i < t->count; i++)
        t->scores[i] = t->types[i] == TV_GGUF_NORMAL ? -(float)count : 0;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t whole = merges[i].merged;
        if (whole >= t->count)
            continue;
        if (seen[whole])
            apart += merges[i - 1].merged != whole;
        else
            t->scores[whole] = -(float)i;
        seen[whole] = 1;
    }
    tv_gguf_cuts cuts = {0};
    tv_status status = tv_gguf_find_cuts(t->tokens, t->types, t->count, &cuts);
    free(cuts.items);
    TV_RETURN_IF_FAILED(status);
    if (cuts.count > count)
        tv_warn("%s: llama.cpp joins any two tokens whose whole is one, also %llu pairs that are none of its "
                "%llu merges; "
                "it will split some words otherwise",
                t->where, (unsigned long long)(cuts.count - count), (unsigned long long)count);
    else if (apart)
        tv_warn(
            "%s: %llu of its %llu merges stand apart from others of the same token, which scores cannot say; "
            "llama.cpp may split rare words otherwise",
            t->where, (unsigned long long)apart, (unsigned long long)count);
    return TV_OK;
}

static bool has_step(const cJSON *step, const char *list, const char *type) {
    const cJSON *part;
    const char *own = cJSON_GetStringValue(tv_json_get(step, "type"));
    if (own && strcmp(own, type) == 0)
        return true;
    cJSON_ArrayForEach(part, tv_json_get(step, list)) {
        if (has_step(part, list, type))
            return true;
    }
    return false;
}

/* Whether a text gets a space in front: Prepend, or Metaspace unless it says never. */
static bool prepends(const cJSON *root) {
    const cJSON *metaspace = tv_json_get(root, "pre_tokenizer");
    const char *scheme = cJSON_GetStringValue(tv_json_get(metaspace, "prepend_scheme"));
    return has_step(tv_json_get(root, "normalizer"), "normalizers", "Prepend") ||
           (has_step(metaspace, "pretokenizers", "Metaspace") && !(scheme && strcmp(scheme, "never") == 0) &&
            !cJSON_IsFalse(tv_json_get(metaspace, "add_prefix_space")));
}

static tv_status set_byte_level(tv_gguf_writer *writer, const tables *t, const cJSON *root) {
    bool ignore = cJSON_IsTrue(tv_json_get(tv_json_get(root, "model"), "ignore_merges"));
    const tv_gguf_pretokenizer *pre = tv_gguf_pretokenizer_of(tv_json_get(root, "pre_tokenizer"), ignore);
    if (!pre)
        return tv_fail(
            TV_E_DATA,
            "%s: its pre-tokenizer has no name in GGUF, so that llama.cpp would split texts otherwise; "
            "expected that of GPT-2, Llama 3, Qwen 2, SmolLM, DeepSeek, GPT-4o or Tekken",
            t->where);
    if (pre->ignore_merges != ignore)
        tv_warn("%s: \"ignore_merges\" is %s, but llama.cpp has it %s under the name \"%s\"; ids of rare "
                "words may "
                "differ there",
                t->where, ignore ? "true" : "false", pre->ignore_merges ? "true" : "false", pre->name);
    tv_gguf_set_text(writer, "tokenizer.ggml.model", "gpt2");
    tv_gguf_set_text(writer, "tokenizer.ggml.pre", pre->name);
    tv_gguf_set_texts(writer, "tokenizer.ggml.tokens", t->tokens, t->count);
    tv_gguf_set_array(writer, "tokenizer.ggml.token_type", TV_GGUF_INT32, t->types, t->count);
    tv_gguf_set_texts(writer, "tokenizer.ggml.merges", t->merges, t->merge_count);
    return TV_OK;
}

static void set_fallback(tv_gguf_writer *writer, const tables *t, const cJSON *root) {
    tv_gguf_set_text(writer, "tokenizer.ggml.model", "llama");
    tv_gguf_set_text(writer, "tokenizer.ggml.pre", "default");
    tv_gguf_set_texts(writer, "tokenizer.ggml.tokens", t->tokens, t->count);
    tv_gguf_set_array(writer, "tokenizer.ggml.scores", TV_GGUF_FLOAT32, t->scores, t->count);
    tv_gguf_set_array(writer, "tokenizer.ggml.token_type", TV_GGUF_INT32, t->types, t->count);
    tv_gguf_set_bool(writer, "tokenizer.ggml.add_space_prefix", prepends(root));
}

static void set_id(tv_gguf_writer *writer, const char *key, int64_t id) {
    if (id >= 0)
        tv_gguf_set_uint32(writer, key, (uint64_t)id);
}

/* The model's config says what ends its answers, the tokenizer what texts begin with. */
static void set_special(tv_gguf_writer *writer, const tables *t, const tv_tokenizer *tokenizer,
                        const tv_model_config *config) {
    const tv_tokenizer_info *info = tv_tokenizer_info_of(tokenizer);
    bool begins = info->begin_count > 0;
    if (info->begin_count > 1)
        tv_warn("%s: texts begin with %u tokens, of which llama.cpp puts only the first", t->where,
                info->begin_count);
    set_id(writer, "tokenizer.ggml.bos_token_id", begins ? (int64_t)info->begin[0] : config->bos_token_id);
    set_id(writer, "tokenizer.ggml.eos_token_id", config->eos_token_id);
    set_id(writer, "tokenizer.ggml.eot_token_id", config->more_eos_token_ids[0]);
    set_id(writer, "tokenizer.ggml.padding_token_id",
           config->pad_token_id >= 0        ? config->pad_token_id
           : info->pad < config->vocab_size ? (int64_t)info->pad
                                            : -1);
    for (uint64_t i = 0; i < t->count; i++)
        if (t->types[i] == TV_GGUF_UNKNOWN)
            tv_gguf_set_uint32(writer, "tokenizer.ggml.unknown_token_id", i);
    tv_gguf_set_bool(writer, "tokenizer.ggml.add_bos_token", begins);
    tv_gguf_set_bool(writer, "tokenizer.ggml.add_eos_token", false);
    if (info->chat_template)
        tv_gguf_set_text(writer, "tokenizer.chat_template", info->chat_template);
}

tv_status tv_gguf_set_tokenizer(tv_gguf_writer *writer, const tv_tokenizer *tokenizer,
                                const tv_model_config *config, const char *where) {
    const char *json = tv_tokenizer_info_of(tokenizer)->json;
    tables t = {.where = where, .count = config->vocab_size};
    cJSON *root = NULL;
    tv_status status;
    if (!json)
        return tv_fail(TV_E_DATA, "%s: expected a tokenizer that was read from a file", where);
    TV_TRY(tv_arena_create(&t.arena));
    TV_TRY(tv_json_parse(json, strlen(json), where, &root));
    const cJSON *model = tv_json_get(root, "model");
    t.fallback = cJSON_IsTrue(tv_json_get(model, "byte_fallback"));
    TV_TRY(fill_tokens(&t, model, tv_json_get(root, "added_tokens")));
    if (t.fallback) {
        TV_TRY(fill_scores(&t, tokenizer));
        set_fallback(writer, &t, root);
    } else {
        TV_TRY(fill_merges(&t, tv_json_get(model, "merges")));
        TV_TRY(set_byte_level(writer, &t, root));
    }
    set_special(writer, &t, tokenizer, config);
done:
    cJSON_Delete(root);
    tv_arena_destroy(&t.arena);
    return status;
}
