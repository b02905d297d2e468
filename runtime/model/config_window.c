/* Local layers in config.json: see config_keys.h. A token of a local layer sees sliding_window tokens, its
 * own included. */
#include <string.h>

#include "base/bytes.h"
#include "model/config_keys.h"

static const char *const type_names[] = {"full_attention", "sliding_attention"};

uint64_t tv_window_keys(const tv_family *family, const char *keys[TV_PART_KEYS]) {
    static const char *const all[] = {"sliding_window", "layer_types"};
    static const char *const switched[] = {"use_sliding_window", "max_window_layers"};
    static const char *const pattern[] = {"sliding_window_pattern", "_sliding_window_pattern"};
    uint64_t count = 0;
    for (int i = 0; i < 2 && family->window_style != TV_WINDOW_NONE; i++)
        keys[count++] = all[i];
    for (int i = 0; i < 2 && family->window_style == TV_WINDOW_SWITCHED; i++)
        keys[count++] = switched[i];
    for (int i = 0; i < 2 && family->window_style == TV_WINDOW_PATTERN; i++)
        keys[count++] = pattern[i];
    return count;
}

/* A text for each layer. */
static tv_status read_types(const cJSON *list, const char *where, tv_model_config *config) {
    memset(config->local_layers, 0, sizeof config->local_layers);
    uint64_t layer = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        const char *type = cJSON_IsString(item) ? item->valuestring : tv_json_kind(item);
        bool local = strcmp(type, type_names[1]) == 0;
        if (!local && strcmp(type, type_names[0]) != 0)
            return tv_fail(TV_E_CONFIG,
                           "%s: expected \"%s\" or \"%s\" for each layer in \"layer_types\", found %s", where,
                           type_names[0], type_names[1], type);
        if (local && layer < config->n_layer)
            tv_model_config_set_local(config, layer);
        layer++;
    }
    if (!cJSON_IsArray(list) || layer != config->n_layer)
        return tv_fail(
            TV_E_CONFIG,
            "%s: expected a list of %llu texts, one for each layer, for \"layer_types\", found %llu", where,
            (unsigned long long)config->n_layer, (unsigned long long)layer);
    return TV_OK;
}

/* Where no list says it. */
static tv_status derive_types(const cJSON *root, const char *where, const tv_family *family,
                              tv_model_config *config) {
    int64_t first = 28, pattern = 6;
    if (family->window_style == TV_WINDOW_SWITCHED)
        TV_RETURN_IF_FAILED(
            tv_as_config(tv_json_integer(root, "max_window_layers", where, 0, INT32_MAX, first, &first)));
    if (family->window_style == TV_WINDOW_PATTERN) {
        TV_RETURN_IF_FAILED(tv_as_config(
            tv_json_integer(root, "_sliding_window_pattern", where, 1, INT32_MAX, pattern, &pattern)));
        TV_RETURN_IF_FAILED(tv_as_config(
            tv_json_integer(root, "sliding_window_pattern", where, 1, INT32_MAX, pattern, &pattern)));
    }
    for (uint64_t l = 0; l < config->n_layer; l++)
        if (family->window_style == TV_WINDOW_ALL ||
            (family->window_style == TV_WINDOW_SWITCHED && l >= (uint64_t)first) ||
            (family->window_style == TV_WINDOW_PATTERN && (l + 1) % (uint64_t)pattern > 0))
            tv_model_config_set_local(config, l);
    return TV_OK;
}

static bool has_local(const tv_model_config *config) {
    uint64_t any = 0;
    for (uint64_t i = 0; i < TV_COUNT(config->local_layers); i++)
        any |= config->local_layers[i];
    return any > 0;
}

tv_status tv_window_read(const cJSON *root, const char *where, const tv_family *family,
                         tv_model_config *config) {
    if (family->window_style == TV_WINDOW_NONE)
        return TV_OK;
    const cJSON *window = tv_json_get(root, "sliding_window"), *types = tv_json_get(root, "layer_types");
    bool used = family->window_style != TV_WINDOW_SWITCHED;
    int64_t size = 0;
    TV_RETURN_IF_FAILED(tv_as_config(tv_json_integer(root, "sliding_window", where, 1, INT32_MAX, 0, &size)));
    if (!used)
        TV_RETURN_IF_FAILED(tv_as_config(tv_json_bool(root, "use_sliding_window", where, false, &used)));
    /* Null is none; only an absent key means the family's own. */
    if (!window)
        size = (int64_t)family->window_fallback;
    if (!used)
        size = 0;
    bool listed = types && !cJSON_IsNull(types);
    /* Mistral's own code passes layer_types over; a list that says what it does is fine. */
    bool ignored = family->window_style == TV_WINDOW_ALL;
    if (listed)
        TV_RETURN_IF_FAILED(read_types(types, where, config));
    else if (size > 0)
        TV_RETURN_IF_FAILED(derive_types(root, where, family, config));
    /* The pattern would still choose by what angles a layer turns. */
    if (!listed && size == 0 && family->window_style == TV_WINDOW_PATTERN)
        return tv_fail(TV_E_CONFIG,
                       "%s: \"sliding_window\" is null; a %s without windows says so by \"layer_types\" of "
                       "\"%s\" alone",
                       where, family->name, type_names[0]);
    bool all = true;
    for (uint64_t l = 0; l < config->n_layer; l++)
        all = all && (config->local_layers[l / 64] >> l % 64 & 1);
    if (listed && ignored && (size > 0 ? !all : has_local(config)))
        return tv_fail(TV_E_CONFIG,
                       "%s: \"layer_types\" of a %s: expected \"%s\" alone %s a \"sliding_window\", found "
                       "others",
                       where, family->name, type_names[size > 0], size > 0 ? "with" : "without");
    if (size == 0 && has_local(config))
        return tv_fail(TV_E_CONFIG,
                       "%s: \"layer_types\" names \"%s\" layers, but \"sliding_window\"%s gives no window",
                       where, type_names[1],
                       family->window_style == TV_WINDOW_SWITCHED ? " with \"use_sliding_window\"" : "");
    config->window = has_local(config) ? (uint64_t)size : 0;
    return TV_OK;
}

tv_status tv_window_check(const tv_model_config *config, const char *where) {
    if (config->window > INT32_MAX)
        return tv_fail(TV_E_CONFIG, "%s: expected \"sliding_window\" from 1 to %d, found %llu", where,
                       INT32_MAX, (unsigned long long)config->window);
    return TV_OK;
}

static bool write_types(cJSON *root, const tv_model_config *config) {
    cJSON *list = cJSON_AddArrayToObject(root, "layer_types");
    bool done = list != NULL;
    for (uint64_t l = 0; l < config->n_layer && done; l++)
        done =
            cJSON_AddItemToArray(list, cJSON_CreateString(type_names[tv_model_config_is_local(config, l)]));
    return done;
}

/* The layer from which on all are local; n_layer where the last is not. */
static uint64_t first_of_rest(const tv_model_config *config) {
    uint64_t first = config->n_layer;
    while (first > 0 && tv_model_config_is_local(config, first - 1))
        first--;
    return first;
}

/* The pattern that older versions of transformers ask for; 0: none gives these layers. */
static uint64_t pattern_of(const tv_model_config *config) {
    uint64_t pattern = 1;
    while (pattern <= config->n_layer && tv_model_config_is_local(config, pattern - 1))
        pattern++;
    for (uint64_t l = 0; l < config->n_layer; l++)
        if (tv_model_config_is_local(config, l) != ((l + 1) % pattern > 0))
            return 0;
    return pattern;
}

bool tv_window_write(cJSON *root, const tv_family *family, const tv_model_config *config) {
    bool used = config->window > 0;
    if (family->window_style == TV_WINDOW_NONE)
        return true;
    bool done = used ? tv_json_set_number(root, "sliding_window", (double)config->window)
                     : cJSON_AddNullToObject(root, "sliding_window") != NULL;
    if (family->window_style == TV_WINDOW_SWITCHED)
        done = done && tv_json_set_bool(root, "use_sliding_window", used) &&
               tv_json_set_number(root, "max_window_layers", (double)first_of_rest(config)) &&
               write_types(root, config);
    if (family->window_style == TV_WINDOW_PATTERN) {
        uint64_t pattern = pattern_of(config);
        done = done && write_types(root, config) &&
               (pattern == 0 || tv_json_set_number(root, "sliding_window_pattern", (double)pattern));
    }
    return done;
}
