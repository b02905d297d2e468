/* Reading what is put before a text: see post_processor.h. */
#include "text/post_processor.h"

#include <math.h>
#include <string.h>

#include "base/log.h"
#include "text/tokenizer_reading.h"

typedef struct reading {
    const tv_tokenizer *tokenizer;
    const char *where;
    tv_tokenizer_info *info;
} reading;

static tv_status add_id(const reading *r, const cJSON *value, const char *key) {
    double id = cJSON_IsNumber(value) ? value->valuedouble : -1;
    if (!(id >= 0 && id <= TV_MAX_TOKEN_ID) || floor(id) < id ||
        !tv_tokenizer_token(r->tokenizer, (uint32_t)id))
        return tv_fail(TV_E_DATA, "%s: expected the id of a token of the vocabulary in %s, found %s",
                       r->where, key, cJSON_IsNumber(value) ? "another number" : "no number");
    if (r->info->begin_count == TV_MAX_BEGIN)
        return tv_fail(TV_E_DATA, "%s: expected at most %d tokens before a text in post_processor", r->where,
                       TV_MAX_BEGIN);
    r->info->begin[r->info->begin_count++] = (uint32_t)id;
    return TV_OK;
}

/* {"single": [{"SpecialToken": {"id": name}}, {"Sequence": {"id": "A"}}], "special_tokens": {name: {"ids"}}}
 */
static tv_status read_template(const reading *r, const cJSON *item) {
    static const char key[] = "post_processor.special_tokens";
    const cJSON *tokens = tv_json_get(item, "special_tokens"), *part, *id;
    cJSON_ArrayForEach(part, tv_json_get(item, "single")) {
        const cJSON *special = tv_json_get(part, "SpecialToken");
        if (!special)
            break; /* the text; what follows stands behind it */
        const cJSON *name = tv_json_get(special, "id");
        const cJSON *ids =
            cJSON_IsString(name) ? tv_json_get(tv_json_get(tokens, name->valuestring), "ids") : NULL;
        if (!cJSON_IsArray(ids))
            return tv_fail(TV_E_DATA, "%s: expected the ids of \"%.60s\" in %s, found none", r->where,
                           cJSON_IsString(name) ? name->valuestring : "(not a text)", key);
        cJSON_ArrayForEach(id, ids) {
            TV_RETURN_IF_FAILED(add_id(r, id, key));
        }
    }
    return TV_OK;
}

static tv_status read_step(void *context, const cJSON *item, const char *type) {
    const reading *r = context;
    if (strcmp(type, "ByteLevel") == 0)
        return TV_OK;
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(r, item);
    if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
        return add_id(r, cJSON_GetArrayItem(tv_json_get(item, "cls"), 1), "post_processor.cls");
    return tv_fail(
        TV_E_DATA,
        "%s: expected ByteLevel, TemplateProcessing, BertProcessing, RobertaProcessing or a Sequence "
        "of these as \"post_processor\", found %.60s, which is not supported",
        r->where, type);
}

tv_status tv_post_processor_read(const tv_tokenizer *tokenizer, const cJSON *item, const char *where,
                                 tv_tokenizer_info *info) {
    reading r = {tokenizer, where, info};
    info->begin_count = 0;
    info->begins_by = "post_processor of tokenizer.json";
    return tv_read_steps(&(tv_steps){where, "post_processor", "processors", read_step, &r}, item);
}

uint32_t tv_tokenizer_named_token(const tv_tokenizer *tokenizer, const cJSON *config, const char *key) {
    const cJSON *item = tv_json_get(config, key);
    const cJSON *content = cJSON_IsObject(item) ? tv_json_get(item, "content") : item;
    const char *name = cJSON_IsString(content) ? content->valuestring : "";
    return tv_tokenizer_find(tokenizer, name, strlen(name));
}

tv_status tv_post_processor_read_config(const tv_tokenizer *tokenizer, const cJSON *config, const char *where,
                                        tv_tokenizer_info *info) {
    const cJSON *add = tv_json_get(config, "add_bos_token");
    if (!add || cJSON_IsNull(add))
        return TV_OK;
    if (!cJSON_IsBool(add))
        return tv_fail(TV_E_DATA, "%s: expected true or false for \"add_bos_token\", found something else",
                       where);
    uint32_t bos = tv_tokenizer_named_token(tokenizer, config, "bos_token");
    if (cJSON_IsTrue(add) && bos == TV_NO_TOKEN)
        tv_warn(
            "%s: \"add_bos_token\" is true and \"bos_token\" names no token of the vocabulary: nothing is "
            "put before texts",
            where);
    info->begin_count = cJSON_IsTrue(add) && bos != TV_NO_TOKEN;
    info->begin[0] = bos;
    info->begins_by = "add_bos_token of tokenizer_config.json";
    return TV_OK;
}
