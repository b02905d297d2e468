/* Reading a directory's tokenizer.json, tokenizer_config.json and chat_template.jinja: see tokenizer_json.h.
 * The parts of tokenizer.json have readers of their own (tokenizer_reading.h); writing is in
 * tokenizer_save.c. */
#include "text/tokenizer_json.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "text/post_processor.h"
#include "text/tokenizer_reading.h"

static tv_status out_of_memory(const char *where) {
    return tv_fail(TV_E_MEMORY, "%s: out of host memory for the tokenizer", where);
}

tv_status tv_tokenizer_parse(const char *json, uint64_t size, const char *where, tv_tokenizer **tokenizer) {
    *tokenizer = NULL;
    tv_status status;
    cJSON *root = NULL;
    tv_arena *arena = NULL;
    tv_normalizer *normalizer = NULL;
    tv_pretokenizer *pretokenizer = NULL;
    tv_tokenizer_parts parts = {.normalizer = &normalizer, .pretokenizer = &pretokenizer};
    bool byte_level;
    TV_TRY(tv_json_parse(json, size, where, &root));
    TV_TRY(tv_arena_create(&arena));
    TV_TRY(tv_normalizer_create(&normalizer));
    TV_TRY(tv_pretokenizer_create(&pretokenizer));
    if (!cJSON_IsObject(root)) {
        status = tv_fail(TV_E_DATA, "%s: expected a JSON object", where);
        goto done;
    }
    TV_TRY(tv_read_normalizer(tv_json_get(root, "normalizer"), where, normalizer));
    TV_TRY(tv_read_pretokenizer(tv_json_get(root, "pre_tokenizer"), where, pretokenizer, &byte_level,
                                &parts.add_prefix_space));
    TV_TRY(tv_read_model(root, where, byte_level, arena, &parts));
    TV_TRY(tv_read_decoder(tv_json_get(root, "decoder"), where, byte_level, &parts.decoder));
    TV_TRY(tv_tokenizer_create(&parts, where, tokenizer));
    tv_tokenizer_info info = {.end_of_text = TV_NO_TOKEN,
                              .eos = TV_NO_TOKEN,
                              .pad = TV_NO_TOKEN,
                              .json = tv_arena_copy(arena, json, size)};
    TV_TRY(tv_post_processor_read(*tokenizer, tv_json_get(root, "post_processor"), where, &info));
    status = info.json ? tv_tokenizer_describe(*tokenizer, &info) : out_of_memory(where);
done:
    if (status != TV_OK)
        tv_tokenizer_destroy(tokenizer);
    tv_normalizer_destroy(&normalizer);
    tv_pretokenizer_destroy(&pretokenizer);
    tv_arena_destroy(&arena);
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

tv_status tv_tokenizer_parse_config(tv_tokenizer *tokenizer, const char *json, uint64_t size,
                                    const char *where) {
    cJSON *config = NULL;
    tv_status status;
    TV_TRY(tv_json_parse(json, size, where, &config));
    tv_tokenizer_info info = *tv_tokenizer_info_of(tokenizer);
    info.eos = tv_tokenizer_named_token(tokenizer, config, "eos_token");
    info.pad = tv_tokenizer_named_token(tokenizer, config, "pad_token");
    info.chat_template = chat_template(config);
    info.config = json;
    TV_TRY(tv_post_processor_read_config(tokenizer, config, where, &info));
    TV_TRY(tv_tokenizer_describe(tokenizer, &info));
done:
    cJSON_Delete(config);
    return status;
}

static tv_status read_config(tv_tokenizer *tokenizer, const char *path) {
    char *text = NULL;
    uint64_t size = 0;
    tv_status status;
    TV_TRY(tv_read_file(path, &text, &size));
    TV_TRY(tv_tokenizer_parse_config(tokenizer, text, size, path));
done:
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
        status = tv_fail(TV_E_DATA, "%s: expected a tokenizer, found no such file", path);
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
