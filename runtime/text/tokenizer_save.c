/* Writing tokenizer.json, tokenizer_config.json and chat_template.jinja: see tokenizer_json.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "text/chat_builtin.h"
#include "text/tokenizer_json.h"

static tv_status out_of_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory while writing a tokenizer");
}

tv_status tv_token_spell(const tv_token *token, tv_text *out) {
    if (token->added || token->spelled)
        return tv_text_append(out, token->spelling, token->spelling_length);
    for (uint32_t i = 0; i < token->spelling_length; i++) {
        uint8_t utf8[4];
        uint32_t size = tv_utf8_encode(tv_byte_to_character(token->spelling[i]), utf8);
        TV_RETURN_IF_FAILED(tv_text_append(out, utf8, size));
    }
    return TV_OK;
}

static tv_status add_flags(cJSON *object, const tv_token *token) {
    tv_text name = {0};
    tv_status status;
    TV_TRY(tv_token_spell(token, &name));
    TV_TRY(tv_text_append(&name, "", 1));
    if (!tv_json_set_string(object, "content", (const char *)name.data) ||
        !tv_json_set_bool(object, "single_word", false) ||
        !tv_json_set_bool(object, "lstrip", token->lstrip) ||
        !tv_json_set_bool(object, "rstrip", token->rstrip) ||
        !tv_json_set_bool(object, "normalized", false) ||
        !tv_json_set_bool(object, "special", token->special))
        status = out_of_memory();
done:
    tv_text_free(&name);
    return status;
}

static tv_status write_added(const tv_tokenizer *tokenizer, cJSON *list, cJSON *decoder) {
    for (uint32_t id = 0; id < tv_tokenizer_vocab_size(tokenizer); id++) {
        const tv_token *token = tv_tokenizer_token(tokenizer, id);
        if (!token || !token->added)
            continue;
        cJSON *object = cJSON_CreateObject();
        char key[16];
        if (!object ||
            !(list ? cJSON_AddItemToArray(list, object)
                   : (snprintf(key, sizeof key, "%u", id), cJSON_AddItemToObject(decoder, key, object)))) {
            cJSON_Delete(object);
            return out_of_memory();
        }
        if (list && !tv_json_set_number(object, "id", id))
            return out_of_memory();
        TV_RETURN_IF_FAILED(add_flags(object, token));
    }
    return TV_OK;
}

static bool add_byte_level(cJSON *root, const char *key) {
    cJSON *object = cJSON_AddObjectToObject(root, key);
    return object && tv_json_set_string(object, "type", "ByteLevel") &&
           tv_json_set_bool(object, "add_prefix_space", false) &&
           tv_json_set_bool(object, "trim_offsets", true) && tv_json_set_bool(object, "use_regex", true);
}

static tv_status write_model(const tv_tokenizer *tokenizer, cJSON *model) {
    tv_text text = {0};
    tv_status status;
    cJSON *vocab, *merges;
    if (!tv_json_set_string(model, "type", "BPE") || !cJSON_AddNullToObject(model, "dropout") ||
        !cJSON_AddNullToObject(model, "unk_token") ||
        !cJSON_AddNullToObject(model, "continuing_subword_prefix") ||
        !cJSON_AddNullToObject(model, "end_of_word_suffix") || !tv_json_set_bool(model, "fuse_unk", false) ||
        !tv_json_set_bool(model, "byte_fallback", false) ||
        !tv_json_set_bool(model, "ignore_merges", false) ||
        !(vocab = cJSON_AddObjectToObject(model, "vocab")) ||
        !(merges = cJSON_AddArrayToObject(model, "merges"))) {
        status = out_of_memory();
        goto done;
    }
    for (uint32_t id = 0; id < tv_tokenizer_vocab_size(tokenizer); id++) {
        const tv_token *token = tv_tokenizer_token(tokenizer, id);
        text.size = 0;
        if (!token)
            continue;
        TV_TRY(tv_token_spell(token, &text));
        TV_TRY(tv_text_append(&text, "", 1));
        if (!cJSON_AddNumberToObject(vocab, (const char *)text.data, id)) {
            status = out_of_memory();
            goto done;
        }
    }
    for (uint64_t i = 0; i < tv_tokenizer_merge_count(tokenizer); i++) {
        const tv_merge *merge = &tv_tokenizer_merges(tokenizer)[i];
        text.size = 0;
        TV_TRY(tv_token_spell(tv_tokenizer_token(tokenizer, merge->left), &text));
        TV_TRY(tv_text_append(&text, " ", 1));
        TV_TRY(tv_token_spell(tv_tokenizer_token(tokenizer, merge->right), &text));
        TV_TRY(tv_text_append(&text, "", 1));
        cJSON *item = cJSON_CreateString((const char *)text.data);
        if (!item || !cJSON_AddItemToArray(merges, item)) {
            cJSON_Delete(item);
            status = out_of_memory();
            goto done;
        }
    }
    status = TV_OK;
done:
    tv_text_free(&text);
    return status;
}

static tv_status write_tokenizer(const tv_tokenizer *tokenizer, const char *path) {
    tv_status status;
    cJSON *root = cJSON_CreateObject(), *added, *model;
    if (!root || !tv_json_set_string(root, "version", "1.0") || !cJSON_AddNullToObject(root, "truncation") ||
        !cJSON_AddNullToObject(root, "padding") || !(added = cJSON_AddArrayToObject(root, "added_tokens")) ||
        !cJSON_AddNullToObject(root, "normalizer") || !add_byte_level(root, "pre_tokenizer") ||
        !cJSON_AddNullToObject(root, "post_processor") || !add_byte_level(root, "decoder") ||
        !(model = cJSON_AddObjectToObject(root, "model"))) {
        status = out_of_memory();
        goto done;
    }
    TV_TRY(write_added(tokenizer, added, NULL));
    TV_TRY(write_model(tokenizer, model));
    TV_TRY(tv_json_write_file(path, root));
done:
    cJSON_Delete(root);
    return status;
}

static tv_status write_config(const tv_tokenizer *tokenizer, const char *path) {
    tv_status status;
    tv_text eos = {0}, jinja = {0};
    const char *name;
    const tv_token *end = tv_tokenizer_token(tokenizer, tv_tokenizer_info_of(tokenizer)->eos);
    TV_RETURN_IF_FAILED(end ? tv_token_spell(end, &eos)
                            : tv_text_append(&eos, TV_TOKEN_END_OF_TEXT, sizeof TV_TOKEN_END_OF_TEXT - 1));
    cJSON *root = cJSON_CreateObject(), *decoder;
    TV_TRY(tv_chat_builtin(tokenizer, &jinja, &name));
    if (tv_text_append(&eos, "", 1) != TV_OK || !root || !tv_json_set_bool(root, "add_prefix_space", false) ||
        !(decoder = cJSON_AddObjectToObject(root, "added_tokens_decoder")) ||
        !tv_json_set_string(root, "bos_token", TV_TOKEN_END_OF_TEXT) ||
        !tv_json_set_string(root, "chat_template", (const char *)jinja.data) ||
        !tv_json_set_bool(root, "clean_up_tokenization_spaces", false) ||
        !tv_json_set_string(root, "eos_token", (const char *)eos.data) ||
        !tv_json_set_string(root, "pad_token", TV_TOKEN_PAD) ||
        !tv_json_set_string(root, "tokenizer_class", "PreTrainedTokenizerFast")) {
        status = out_of_memory();
        goto done;
    }
    TV_TRY(write_added(tokenizer, NULL, decoder));
    TV_TRY(tv_json_write_file(path, root));
done:
    tv_text_free(&eos);
    tv_text_free(&jinja);
    cJSON_Delete(root);
    return status;
}

/* Describes the tokenizer by `info`, in whose configuration `key` becomes the text `value`. One trained here
 * has no file yet. */
static tv_status describe_with(tv_tokenizer *tokenizer, tv_tokenizer_info *info, const char *key,
                               const char *value) {
    cJSON *root = NULL;
    char *config = NULL;
    tv_status status;
    if (info->json) {
        const char *before = info->config ? info->config : "{}";
        TV_TRY(tv_json_parse(before, strlen(before), "tokenizer_config.json", &root));
        cJSON *text = cJSON_CreateString(value);
        bool there = tv_json_get(root, key) != NULL;
        if (!text || !(there ? cJSON_ReplaceItemInObjectCaseSensitive(root, key, text)
                             : cJSON_AddItemToObject(root, key, text))) {
            cJSON_Delete(text);
            status = out_of_memory();
            goto done;
        }
        TV_TRY(tv_json_print_file(root, &config));
        info->config = config;
    }
    TV_TRY(tv_tokenizer_describe(tokenizer, info));
done:
    free(config);
    cJSON_Delete(root);
    return status;
}

tv_status tv_tokenizer_set_eos(tv_tokenizer *tokenizer, uint32_t id) {
    const tv_token *token = tv_tokenizer_token(tokenizer, id);
    tv_tokenizer_info info = *tv_tokenizer_info_of(tokenizer);
    tv_text name = {0};
    tv_status status;
    if (!token)
        return tv_fail(TV_E_DATA,
                       "expected a token of the vocabulary as the one that ends answers, found id %u", id);
    if (info.eos == id)
        return TV_OK;
    info.eos = id;
    TV_TRY(tv_token_spell(token, &name));
    TV_TRY(tv_text_append(&name, "", 1));
    TV_TRY(describe_with(tokenizer, &info, "eos_token", (const char *)name.data));
done:
    tv_text_free(&name);
    return status;
}

tv_status tv_tokenizer_set_builtin_template(tv_tokenizer *tokenizer) {
    tv_tokenizer_info info = *tv_tokenizer_info_of(tokenizer);
    tv_text jinja = {0};
    const char *name;
    tv_status status;
    if (info.chat_template)
        return TV_OK;
    TV_TRY(tv_chat_builtin(tokenizer, &jinja, &name));
    info.chat_template = (const char *)jinja.data;
    TV_TRY(describe_with(tokenizer, &info, "chat_template", info.chat_template));
done:
    tv_text_free(&jinja);
    return status;
}

tv_status tv_tokenizer_save(const tv_tokenizer *tokenizer, const char *directory) {
    const tv_tokenizer_info *info = tv_tokenizer_info_of(tokenizer);
    tv_status status;
    char *path = tv_format("%s/tokenizer.json", directory);
    char *config = tv_format("%s/tokenizer_config.json", directory);
    char *jinja = tv_format("%s/chat_template.jinja", directory);
    if (!path || !config || !jinja) {
        status = out_of_memory();
        goto done;
    }
    TV_TRY(tv_make_dirs(directory));
    if (info->json)
        TV_TRY(tv_write_file(path, info->json, strlen(info->json)));
    else
        TV_TRY(write_tokenizer(tokenizer, path));
    if (info->config)
        TV_TRY(tv_write_file(config, info->config, strlen(info->config)));
    else if (!info->json)
        TV_TRY(write_config(tokenizer, config));
    if (info->jinja)
        TV_TRY(tv_write_file(jinja, info->jinja, strlen(info->jinja)));
done:
    free(path);
    free(config);
    free(jinja);
    return status;
}
