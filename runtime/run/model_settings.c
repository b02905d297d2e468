/* The settings' model over the weights' own: see model_settings.h. */
#include "run/model_settings.h"

#include <string.h>

#include "base/bytes.h"

/* What differs without contradicting the weights. */
static bool is_free(const char *key) {
    static const char *const names[] = {"architectures", "initializer_range", "torch_dtype",
                                        "attn_pdrop",    "embd_pdrop",        "resid_pdrop"};
    for (size_t i = 0; i < TV_COUNT(names); i++)
        if (strcmp(key, names[i]) == 0)
            return true;
    return strstr(key, "_token_id") != NULL;
}

static tv_status contradiction(const char *key, const cJSON *given, const cJSON *found, const char *where) {
    char *is = cJSON_PrintUnformatted(given), *was = found ? cJSON_PrintUnformatted(found) : NULL;
    tv_status status =
        tv_fail(TV_E_CONFIG,
                "model.%s is %s, and the weights in %s are of a model where it is %s; leave the "
                "model out of the settings, or draw a new one",
                key, is ? is : "another", where, was ? was : "absent");
    cJSON_free(is);
    cJSON_free(was);
    return status;
}

/* `given` laid over the tree of the weights' config. */
static tv_status lay_over(cJSON *tree, const cJSON *given, const char *where) {
    const cJSON *item;
    cJSON_ArrayForEach(item, given) {
        const cJSON *found = tv_json_get(tree, item->string);
        if (strcmp(item->string, "architectures") == 0)
            continue;
        if (strcmp(item->string, "model_type") == 0 && !cJSON_Compare(item, found, true))
            return contradiction(item->string, item, found, where);
        cJSON *copy = cJSON_Duplicate(item, true);
        cJSON_DeleteItemFromObjectCaseSensitive(tree, item->string);
        if (!copy || !cJSON_AddItemToObject(tree, item->string, copy)) {
            cJSON_Delete(copy);
            return tv_fail(TV_E_MEMORY, "out of host memory for a model's configuration");
        }
    }
    return TV_OK;
}

tv_status tv_model_settings_check(const cJSON *given, const tv_model_config *weights, const char *where) {
    cJSON *own = NULL, *both = NULL, *wanted = NULL;
    tv_model_config config;
    tv_status status;
    TV_TRY(tv_model_config_tree(weights, &own));
    TV_TRY(tv_model_config_tree(weights, &both));
    TV_TRY(lay_over(both, given, where));
    TV_TRY(tv_model_config_read(both, "settings: model", true, &config));
    TV_TRY(tv_model_config_tree(&config, &wanted));
    const cJSON *item;
    cJSON_ArrayForEach(item, wanted) {
        const cJSON *found = tv_json_get(own, item->string);
        if (!is_free(item->string) && !cJSON_Compare(item, found, true)) {
            status = contradiction(item->string, item, found, where);
            goto done;
        }
    }
done:
    cJSON_Delete(own);
    cJSON_Delete(both);
    cJSON_Delete(wanted);
    return status;
}
