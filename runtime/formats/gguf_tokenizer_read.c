/* GGUF metadata as a tokenizer's files: see gguf_tokenizer.h. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "formats/gguf_pieces.h"
#include "formats/gguf_pretokenizer.h"
#include "formats/gguf_tokenizer.h"
#include "text/tokenizer_json.h"

static const char mark[] = "\xe2\x96\x81"; /* U+2581, a space in "llama" */

typedef struct reading {
    const char *where;
    const tv_gguf *file;
    const tv_gguf_value *tokens, *types, *scores, *merges;
    bool fallback; /* "llama" */
    bool prefix;   /* a text gets a space in front */
} reading;

static tv_status out_of_memory(const reading *r) {
    return tv_fail(TV_E_MEMORY, "%s: out of host memory for the tokenizer", r->where);
}

static int type_of(const reading *r, uint64_t id) {
    return r->types ? (int)tv_gguf_element(r->types, id) : TV_GGUF_NORMAL;
}

static bool is_control(const reading *r, uint64_t id) {
    int type = type_of(r, id);
    return type == TV_GGUF_CONTROL || type == TV_GGUF_UNKNOWN;
}

static tv_status find_lists(reading *r) {
    TV_RETURN_IF_FAILED(tv_gguf_array(r->file, "tokenizer.ggml.tokens", TV_GGUF_STRING, &r->tokens));
    TV_RETURN_IF_FAILED(tv_gguf_array(r->file, "tokenizer.ggml.token_type", TV_GGUF_INT32, &r->types));
    TV_RETURN_IF_FAILED(tv_gguf_array(r->file, "tokenizer.ggml.scores", TV_GGUF_FLOAT32, &r->scores));
    TV_RETURN_IF_FAILED(tv_gguf_array(r->file, "tokenizer.ggml.merges", TV_GGUF_STRING, &r->merges));
    if (!r->tokens || r->tokens->count == 0)
        return tv_fail(TV_E_DATA,
                       "%s: expected a list of tokens for key \"tokenizer.ggml.tokens\", found none",
                       r->where);
    if ((r->types && r->types->count != r->tokens->count) ||
        (r->scores && r->scores->count != r->tokens->count))
        return tv_fail(
            TV_E_DATA, "%s: expected as many types and scores as tokens, %llu, found %llu and %llu", r->where,
            (unsigned long long)r->tokens->count, (unsigned long long)(r->types ? r->types->count : 0),
            (unsigned long long)(r->scores ? r->scores->count : 0));
    if (r->fallback && !r->scores)
        return tv_fail(TV_E_DATA,
                       "%s: expected a list of scores for key \"tokenizer.ggml.scores\", found none",
                       r->where);
    if (!r->fallback && !r->merges)
        return tv_fail(TV_E_DATA,
                       "%s: expected a list of merges for key \"tokenizer.ggml.merges\", found none",
                       r->where);
    return TV_OK;
}

/* ---- tokens ---- */

static bool add_token(cJSON *list, uint64_t id, const char *text, bool special) {
    cJSON *token = cJSON_CreateObject();
    if (!token || !cJSON_AddItemToArray(list, token)) {
        cJSON_Delete(token);
        return false;
    }
    return tv_json_set_number(token, "id", (double)id) && tv_json_set_string(token, "content", text) &&
           tv_json_set_bool(token, "single_word", false) && tv_json_set_bool(token, "lstrip", false) &&
           tv_json_set_bool(token, "rstrip", false) && tv_json_set_bool(token, "normalized", false) &&
           tv_json_set_bool(token, "special", special);
}

/* The end of a cJSON list is found by walking it; these are appended behind the last one. */
typedef struct appended {
    cJSON *object, *last;
} appended;

/* Takes over the name, which is NULL in an array. */
static bool append(appended *to, char *name, cJSON *item) {
    if (!item) {
        free(name);
        return false;
    }
    item->string = name;
    if (to->last) {
        to->last->next = item;
        item->prev = to->last;
        to->object->child->prev = item;
    } else {
        to->object->child = item;
        item->prev = item;
    }
    to->last = item;
    return true;
}

static tv_status add_tokens(const reading *r, cJSON *added, cJSON *vocab) {
    appended words = {.object = vocab};
    for (uint64_t id = 0; id < r->tokens->count; id++) {
        const char *text = r->tokens->texts[id];
        int type = type_of(r, id);
        bool special = is_control(r, id);
        /* Rows without a token are filled up with such. */
        if (!text[0] || (type == TV_GGUF_UNUSED && strncmp(text, "[PAD", 4) == 0))
            continue;
        /* Added ones stand in the vocabulary too, or other programs would give them new ids. */
        char *name = strdup(text);
        bool done = name && append(&words, name, cJSON_CreateNumber((double)id));
        if (done && (special || type == TV_GGUF_USER_DEFINED || (type == TV_GGUF_UNUSED && !r->fallback)))
            done = add_token(added, id, text, special);
        if (!done)
            return out_of_memory(r);
    }
    return TV_OK;
}

/* ---- merges of "llama": every way to cut a piece into two, by the whole's score ---- */

typedef struct scored_cut {
    double score;
    tv_gguf_cut cut;
} scored_cut;

static int compare_cuts(const void *a, const void *b) {
    const scored_cut *one = a, *other = b;
    if (one->score > other->score || one->score < other->score)
        return one->score > other->score ? -1 : 1;
    return memcmp(&one->cut, &other->cut, sizeof one->cut) == 0 ? 0
           : one->cut.whole != other->cut.whole                 ? (one->cut.whole < other->cut.whole ? -1 : 1)
           : one->cut.left != other->cut.left                   ? (one->cut.left < other->cut.left ? -1 : 1)
                                              : (one->cut.right < other->cut.right ? -1 : 1);
}

static tv_status add_cuts(const reading *r, cJSON *merges) {
    appended list = {.object = merges};
    tv_gguf_cuts cuts = {0};
    scored_cut *scored = NULL;
    tv_status status;
    TV_TRY(tv_gguf_find_cuts(r->tokens->texts, r->types ? r->types->bytes : NULL, r->tokens->count, &cuts));
    if (!(scored = malloc((cuts.count + 1) * sizeof *scored))) {
        status = out_of_memory(r);
        goto done;
    }
    for (uint64_t i = 0; i < cuts.count; i++)
        scored[i] = (scored_cut){tv_gguf_element(r->scores, cuts.items[i].whole), cuts.items[i]};
    qsort(scored, cuts.count, sizeof *scored, compare_cuts);
    for (uint64_t i = 0; i < cuts.count; i++) {
        cJSON *pair = cJSON_CreateArray();
        if (!append(&list, NULL, pair) ||
            !cJSON_AddItemToArray(pair, cJSON_CreateString(r->tokens->texts[scored[i].cut.left])) ||
            !cJSON_AddItemToArray(pair, cJSON_CreateString(r->tokens->texts[scored[i].cut.right]))) {
            status = out_of_memory(r);
            goto done;
        }
    }
done:
    free(scored);
    free(cuts.items);
    return status;
}

static tv_status add_merges(const reading *r, cJSON *merges) {
    appended list = {.object = merges};
    for (uint64_t i = 0; i < r->merges->count; i++)
        if (!append(&list, NULL, cJSON_CreateString(r->merges->texts[i])))
            return out_of_memory(r);
    return TV_OK;
}

/* ---- the steps around ---- */

static cJSON *step(const char *type) {
    cJSON *object = cJSON_CreateObject();
    if (object && !tv_json_set_string(object, "type", type)) {
        cJSON_Delete(object);
        object = NULL;
    }
    return object;
}

/* A Sequence with its list under `list`. */
static cJSON *sequence(cJSON *root, const char *key, const char *list, cJSON **steps) {
    cJSON *object = step("Sequence");
    *steps = object ? cJSON_AddArrayToObject(object, list) : NULL;
    if (!*steps || !cJSON_AddItemToObject(root, key, object)) {
        cJSON_Delete(object);
        *steps = NULL;
    }
    return *steps;
}

static cJSON *replace(const char *from, const char *to) {
    cJSON *object = step("Replace"), *pattern = object ? cJSON_AddObjectToObject(object, "pattern") : NULL;
    if (object && !(pattern && tv_json_set_string(pattern, "String", from) &&
                    tv_json_set_string(object, "content", to))) {
        cJSON_Delete(object);
        object = NULL;
    }
    return object;
}

/* Takes over the step, which may be NULL. */
static bool add_step(cJSON *steps, cJSON *made) {
    if (made && steps && cJSON_AddItemToArray(steps, made))
        return true;
    cJSON_Delete(made);
    return false;
}

static bool add_fallback_steps(const reading *r, cJSON *root) {
    cJSON *normalizers, *decoders, *prepend = r->prefix ? step("Prepend") : NULL;
    cJSON *strip = r->prefix ? step("Strip") : NULL;
    bool done = sequence(root, "normalizer", "normalizers", &normalizers) &&
                sequence(root, "decoder", "decoders", &decoders);
    if (r->prefix) {
        done = done && prepend && tv_json_set_string(prepend, "prepend", mark) && strip &&
               tv_json_set_string(strip, "content", " ") && tv_json_set_number(strip, "start", 1) &&
               tv_json_set_number(strip, "stop", 0);
        done = add_step(done ? normalizers : NULL, prepend) && done;
    }
    done = done && add_step(normalizers, replace(" ", mark)) &&
           cJSON_AddNullToObject(root, "pre_tokenizer") && add_step(decoders, replace(mark, " ")) &&
           add_step(decoders, step("ByteFallback")) && add_step(decoders, step("Fuse"));
    if (r->prefix)
        done = add_step(done ? decoders : NULL, strip) && done;
    return done;
}

static bool set_byte_level(cJSON *object) {
    return object && tv_json_set_bool(object, "add_prefix_space", false) &&
           tv_json_set_bool(object, "trim_offsets", true) && tv_json_set_bool(object, "use_regex", false);
}

static bool add_byte_level_steps(cJSON *root, const tv_gguf_pretokenizer *pre) {
    cJSON *steps, *level = step("ByteLevel"), *decoder = step("ByteLevel"),
                  *form = pre->normal_form_c ? step("NFC") : NULL;
    bool done = set_byte_level(level) && set_byte_level(decoder) &&
                sequence(root, "pre_tokenizer", "pretokenizers", &steps) && (form || !pre->normal_form_c);
    for (int i = 0; done && pre->patterns[i]; i++) {
        cJSON *split = step("Split"), *pattern = split ? cJSON_AddObjectToObject(split, "pattern") : NULL;
        done = pattern && tv_json_set_string(pattern, "Regex", pre->patterns[i]) &&
               tv_json_set_string(split, "behavior", "Isolated") && tv_json_set_bool(split, "invert", false);
        done = add_step(done ? steps : NULL, split) && done;
    }
    done = add_step(done ? steps : NULL, level) && done;
    if (!done || !cJSON_AddItemToObject(root, "decoder", decoder)) {
        cJSON_Delete(decoder);
        cJSON_Delete(form);
        return false;
    }
    if (!form)
        return cJSON_AddNullToObject(root, "normalizer") != NULL;
    if (cJSON_AddItemToObject(root, "normalizer", form))
        return true;
    cJSON_Delete(form);
    return false;
}

static tv_status find_pretokenizer(const reading *r, const tv_gguf_pretokenizer **pre) {
    const char *name = NULL;
    TV_RETURN_IF_FAILED(tv_gguf_text(r->file, "tokenizer.ggml.pre", &name));
    *pre = name ? tv_gguf_pretokenizer_named(name) : NULL;
    return *pre ? TV_OK
                : tv_fail(TV_E_DATA,
                          "%s: expected a pre-tokenizer that is known here (gpt-2, llama-bpe, qwen2, smollm, "
                          "deepseek-coder, "
                          "deepseek-v3, gpt-4o, tekken) for key \"tokenizer.ggml.pre\", found %.40s",
                          r->where, name ? name : "none");
}

static const char *unknown_token(const reading *r) {
    for (uint64_t id = 0; id < r->tokens->count; id++)
        if (type_of(r, id) == TV_GGUF_UNKNOWN)
            return r->tokens->texts[id];
    return NULL;
}

/* The text of a tokenizer.json; the caller frees it. */
static tv_status make_json(reading *r, char **json) {
    const tv_gguf_pretokenizer *pre = NULL;
    const char *unknown = NULL;
    tv_status status;
    cJSON *root = cJSON_CreateObject(), *model = NULL, *vocab = NULL, *merges = NULL, *added;
    if (!r->fallback)
        TV_TRY(find_pretokenizer(r, &pre));
    else
        unknown = unknown_token(r);
    bool done =
        root && tv_json_set_string(root, "version", "1.0") && cJSON_AddNullToObject(root, "truncation") &&
        cJSON_AddNullToObject(root, "padding") && (added = cJSON_AddArrayToObject(root, "added_tokens")) &&
        cJSON_AddNullToObject(root, "post_processor") && (model = cJSON_AddObjectToObject(root, "model")) &&
        tv_json_set_string(model, "type", "BPE") && cJSON_AddNullToObject(model, "dropout") &&
        (unknown ? tv_json_set_string(model, "unk_token", unknown)
                 : cJSON_AddNullToObject(model, "unk_token") != NULL) &&
        cJSON_AddNullToObject(model, "continuing_subword_prefix") &&
        cJSON_AddNullToObject(model, "end_of_word_suffix") &&
        tv_json_set_bool(model, "fuse_unk", r->fallback) &&
        tv_json_set_bool(model, "byte_fallback", r->fallback) &&
        tv_json_set_bool(model, "ignore_merges", pre && pre->ignore_merges) &&
        (vocab = cJSON_AddObjectToObject(model, "vocab")) &&
        (merges = cJSON_AddArrayToObject(model, "merges")) &&
        (pre ? add_byte_level_steps(root, pre) : add_fallback_steps(r, root));
    if (!done) {
        status = out_of_memory(r);
        goto done;
    }
    TV_TRY(add_tokens(r, added, vocab));
    TV_TRY(r->fallback ? add_cuts(r, merges) : add_merges(r, merges));
    TV_TRY(tv_json_print_file(root, json));
done:
    cJSON_Delete(root);
    return status;
}

/* A token that a key names by its id, into the tokenizer's configuration. */
static tv_status set_named(const reading *r, cJSON *root, const char *key, const char *name) {
    uint64_t id = UINT64_MAX;
    TV_RETURN_IF_FAILED(tv_gguf_uint(r->file, key, UINT32_MAX, &id));
    if (id >= r->tokens->count)
        return TV_OK;
    return tv_json_set_string(root, name, r->tokens->texts[id]) ? TV_OK : out_of_memory(r);
}

static tv_status make_config(const reading *r, char **json) {
    const char *template = NULL, *pre = "";
    tv_status status;
    cJSON *root = cJSON_CreateObject();
    TV_TRY(tv_gguf_text(r->file, "tokenizer.ggml.pre", &pre));
    const tv_gguf_pretokenizer *known = tv_gguf_pretokenizer_named(pre);
    /* What llama.cpp does where nothing says it. */
    bool begins = r->fallback || (known && known->ignore_merges);
    TV_TRY(tv_gguf_bool(r->file, "tokenizer.ggml.add_bos_token", &begins));
    TV_TRY(tv_gguf_text(r->file, "tokenizer.chat_template", &template));
    if (!root ||
        !tv_json_set_bool(root, "add_bos_token",
                          begins && tv_gguf_find(r->file, "tokenizer.ggml.bos_token_id")) ||
        !tv_json_set_bool(root, "add_eos_token", false) ||
        !tv_json_set_bool(root, "clean_up_tokenization_spaces", false) ||
        !tv_json_set_string(root, "tokenizer_class", "PreTrainedTokenizerFast") ||
        (template && !tv_json_set_string(root, "chat_template", template))) {
        status = out_of_memory(r);
        goto done;
    }
    TV_TRY(set_named(r, root, "tokenizer.ggml.bos_token_id", "bos_token"));
    TV_TRY(set_named(r, root, "tokenizer.ggml.eos_token_id", "eos_token"));
    TV_TRY(set_named(r, root, "tokenizer.ggml.padding_token_id", "pad_token"));
    TV_TRY(set_named(r, root, "tokenizer.ggml.unknown_token_id", "unk_token"));
    TV_TRY(tv_json_print_file(root, json));
done:
    cJSON_Delete(root);
    return status;
}

bool tv_gguf_has_tokenizer(const tv_gguf *file) {
    return tv_gguf_find(file, "tokenizer.ggml.tokens") != NULL;
}

tv_status tv_gguf_get_tokenizer(const tv_gguf *file, tv_tokenizer **tokenizer) {
    reading r = {.where = tv_gguf_where(file), .file = file, .prefix = true};
    const char *model = "none";
    char *json = NULL, *config = NULL;
    tv_status status;
    *tokenizer = NULL;
    TV_RETURN_IF_FAILED(tv_gguf_text(file, "tokenizer.ggml.model", &model));
    r.fallback = strcmp(model, "llama") == 0;
    if (!r.fallback && strcmp(model, "gpt2") != 0)
        return tv_fail(TV_E_DATA,
                       "%s: expected a tokenizer of the kind \"gpt2\" or \"llama\", found \"%.40s\"", r.where,
                       model);
    TV_TRY(find_lists(&r));
    TV_TRY(tv_gguf_bool(file, "tokenizer.ggml.add_space_prefix", &r.prefix));
    TV_TRY(make_json(&r, &json));
    TV_TRY(make_config(&r, &config));
    TV_TRY(tv_tokenizer_parse(json, strlen(json), r.where, tokenizer));
    TV_TRY(tv_tokenizer_parse_config(*tokenizer, config, strlen(config), r.where));
done:
    if (status != TV_OK)
        tv_tokenizer_destroy(tokenizer);
    free(json);
    free(config);
    return status;
}
