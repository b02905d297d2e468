/* The table of keys, reading and writing by it: see settings.h. */
#include "run/settings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/choices.h"
#include "base/config.h"

const tv_setting tv_settings[] = {
#define TV_SETTING(section, key, member, type, minimum, maximum, choices, stages, defaults, help)            \
    {#section,                                                                                               \
     {#key, TV_CONFIG_##type, offsetof(tv_run_settings, member), minimum, maximum, choices},                 \
     stages,                                                                                                 \
     defaults,                                                                                               \
     help},
#include "run/settings.def"
};
const uint64_t tv_setting_count = TV_COUNT(tv_settings);

enum { MAX_SECTIONS = 16, MAX_FIELDS = TV_COUNT(tv_settings) };

static const char *const stage_names[TV_STAGE_KINDS] = {
    [TV_STAGE_PRETRAIN] = "pretrain", [TV_STAGE_SFT] = "sft", [TV_STAGE_REWARD] = "reward",
    [TV_STAGE_DPO] = "dpo",           [TV_STAGE_PPO] = "ppo", [TV_STAGE_GRPO] = "grpo",
};

const char *tv_stage_kind_name(tv_stage_kind stage) {
    return stage_names[stage];
}

const char *tv_setting_default(const tv_setting *setting, tv_stage_kind stage, char *text, size_t size) {
    return tv_choice_word(setting->defaults, (int)stage, text, size);
}

static bool uses(const tv_setting *setting, tv_stage_kind stage) {
    return setting->stages >> stage & 1u;
}

/* The fields of a section that the stage uses. */
static uint64_t fields_of(const char *section, tv_stage_kind stage, tv_config_field *fields) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < tv_setting_count; i++)
        if (uses(&tv_settings[i], stage) && strcmp(tv_settings[i].section, section) == 0)
            fields[count++] = tv_settings[i].field;
    return count;
}

/* The names of all sections, in the table's order; the settings of one stand together. */
static uint64_t all_sections(const char *names[MAX_SECTIONS]) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < tv_setting_count && count < MAX_SECTIONS; i++)
        if (count == 0 || strcmp(names[count - 1], tv_settings[i].section) != 0)
            names[count++] = tv_settings[i].section;
    return count;
}

/* ---- reading ---- */

static tv_status fill_defaults(tv_stage_kind stage, tv_run_settings *settings) {
    settings->defaults = cJSON_CreateArray();
    for (uint64_t i = 0; i < tv_setting_count; i++) {
        const tv_setting *setting = &tv_settings[i];
        char text[64];
        tv_setting_default(setting, stage, text, sizeof text);
        if (!uses(setting, stage) || strcmp(text, "none") == 0 || strcmp(text, "auto") == 0)
            continue;
        cJSON *object = cJSON_CreateObject(), *value = cJSON_Parse(text);
        bool built = object && value && cJSON_AddItemToObject(object, setting->field.key, value);
        if (!built || !cJSON_AddItemToArray(settings->defaults, object)) {
            cJSON_Delete(object);
            return tv_fail(TV_E_MEMORY, "out of host memory for the settings");
        }
        TV_RETURN_IF_FAILED(tv_config_read(object, "defaults", &setting->field, 1, settings));
    }
    return TV_OK;
}

/* A key that exists and that this stage does not read: ignoring it would break a promise in silence. */
static tv_status check_use(const cJSON *object, const char *where, const char *section, tv_stage_kind stage) {
    const cJSON *item;
    if (!cJSON_IsObject(object)) /* absent, or a list, which the reader refuses */
        return TV_OK;
    cJSON_ArrayForEach(item, object) {
        uint32_t stages = 0;
        for (uint64_t i = 0; i < tv_setting_count; i++)
            if (strcmp(tv_settings[i].section, section) == 0 &&
                strcmp(tv_settings[i].field.key, item->string) == 0)
                stages = tv_settings[i].stages | 1u << TV_STAGE_KINDS;
        if (!stages || stages >> stage & 1u)
            continue;
        char users[64] = "";
        for (int kind = 0; kind < TV_STAGE_KINDS; kind++)
            if (stages >> kind & 1u)
                snprintf(users + strlen(users), sizeof users - strlen(users), "%s%s", users[0] ? ", " : "",
                         stage_names[kind]);
        return tv_fail(
            TV_E_CONFIG,
            "%s.%s: not a setting of %s (only of %s); leave it out (`trivium settings %s` lists what "
            "is used)",
            where, item->string, stage_names[stage], users, stage_names[stage]);
    }
    return TV_OK;
}

static bool is_section(const char *name) {
    for (uint64_t i = 0; i < tv_setting_count; i++)
        if (strcmp(tv_settings[i].section, name) == 0)
            return true;
    return false;
}

/* tv_config_read of a section's tree, or with NULL of the top level. A key that belongs into another section,
 * such as "lr" at the top level, is named with it. */
static tv_status read_section(const cJSON *tree, const char *where, const char *section, tv_stage_kind stage,
                              const tv_config_field *fields, uint64_t count, void *out) {
    const cJSON *item;
    cJSON_ArrayForEach(item, tree) {
        bool known = !section && item->string && is_section(item->string);
        for (uint64_t i = 0; i < count && !known; i++)
            known = item->string && strcmp(fields[i].key, item->string) == 0;
        for (uint64_t i = 0; i < tv_setting_count && !known; i++)
            if (item->string && uses(&tv_settings[i], stage) &&
                strcmp(tv_settings[i].field.key, item->string) == 0)
                return tv_fail(TV_E_CONFIG, "%s: unknown key \"%s\"; it stands in its section, as %s.%s",
                               where, item->string, tv_settings[i].section, item->string);
    }
    return tv_fail_advice(tv_config_read(tree, where, fields, count, out), TV_E_CONFIG,
                          "see `trivium settings %s`", stage_names[stage]);
}

static tv_status read_sources(const cJSON *list, const char *where, const char *key, tv_data_source **out,
                              uint64_t *count) {
    const char *expected = "a list of \"shard.bin\" or {\"path\": \"shard.bin\", \"weight\": 1}";
    if (!list)
        return TV_OK;
    if (!cJSON_IsArray(list))
        return tv_fail(TV_E_CONFIG, "%s.%s: expected %s, found an object", where, key, expected);
    tv_data_source *sources = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *sources);
    if (!sources)
        return tv_fail(TV_E_MEMORY, "out of host memory for the list of data");
    *out = sources;
    const cJSON *item;
    const tv_config_field fields[] = {
        {"path", TV_CONFIG_STRING, offsetof(tv_data_source, path), 0, 0, NULL},
        {"weight", TV_CONFIG_NUMBER, offsetof(tv_data_source, weight), 1e-9, 1e9, NULL},
    };
    cJSON_ArrayForEach(item, list) {
        tv_data_source *source = &sources[*count];
        char place[320];
        snprintf(place, sizeof place, "%.200s.%s[%llu]", where, key, (unsigned long long)*count);
        source->weight = 1;
        if (cJSON_IsString(item))
            source->path = item->valuestring;
        else if (cJSON_IsObject(item))
            TV_RETURN_IF_FAILED(tv_config_read(item, place, fields, TV_COUNT(fields), source));
        if (!source->path || !source->path[0])
            return tv_fail(TV_E_CONFIG, "%s: expected a path, as one item of %s", place, expected);
        (*count)++;
    }
    return TV_OK;
}

static tv_status read_data(const char *where, tv_data_settings *data) {
    TV_RETURN_IF_FAILED(read_sources(data->train_list, where, "train", &data->train, &data->train_count));
    TV_RETURN_IF_FAILED(read_sources(data->val_list, where, "val", &data->val, &data->val_count));
    return read_sources(data->ptx_list, where, "ptx", &data->ptx, &data->ptx_count);
}

/* check_data and check_train: what one table row cannot say. */
static tv_status check_data(const char *where, const tv_data_settings *data) {
    if (data->val_fraction > 0 && data->val_count)
        return tv_fail(TV_E_CONFIG, "%s: expected val or val_fraction, found both; set the other to 0 or []",
                       where);
    return TV_OK;
}

static tv_status check_train(const char *where, tv_run_settings *settings) {
    tv_train_settings *train = &settings->train;
    bool steps_given = tv_setting_given(settings, "train", "steps") && train->steps;
    bool epochs_given = tv_setting_given(settings, "train", "epochs") && train->epochs > 0;
    if (steps_given && epochs_given)
        return tv_fail(TV_E_CONFIG, "%s: expected steps or epochs, found both; set the other to 0", where);
    /* A length that was named replaces the default one. */
    if (steps_given)
        train->epochs = 0;
    if (epochs_given)
        train->steps = 0;
    if (settings->stage < TV_STAGE_PPO && !train->steps && !(train->epochs > 0))
        return tv_fail(TV_E_CONFIG, "%s: expected steps or epochs above 0, found neither", where);
    int exponent;
    if (train->loss_scale > 0 && (train->loss_scale < 1 || frexp(train->loss_scale, &exponent) != 0.5))
        return tv_fail(TV_E_CONFIG,
                       "%s: expected a loss_scale that is a power of two, found %g; 1024, for one", where,
                       train->loss_scale);
    bool both = tv_setting_given(settings, "train", "lr") && tv_setting_given(settings, "train", "min_lr");
    if (both && train->schedule != TV_SCHEDULE_CONSTANT && train->min_lr > train->lr)
        return tv_fail(TV_E_CONFIG, "%s: expected min_lr at most lr (%g), found %g", where, train->lr,
                       train->min_lr);
    return TV_OK;
}

tv_status tv_run_settings_read(const char *path, const char *const *sets, uint64_t set_count,
                               tv_stage_kind stage, tv_run_settings *settings) {
    cJSON *root = NULL;
    *settings = (tv_run_settings){0};
    if (path)
        TV_RETURN_IF_FAILED(tv_json_read_file(path, &root));
    else if (!(root = cJSON_CreateObject()))
        return tv_fail(TV_E_MEMORY, "out of host memory for the settings");
    return tv_run_settings_from_tree(root, path ? path : "settings", sets, set_count, stage, settings);
}

static const char model_section[] = "model";

/* model.weights is ours and no key of a published config: it is taken out of the model's tree, and the tree
 * too where it held nothing else. *own is that setting alone. */
static tv_status take_own_keys(tv_run_settings *settings, const cJSON **own) {
    cJSON *model = cJSON_GetObjectItemCaseSensitive(settings->root, model_section);
    cJSON *weights = cJSON_IsObject(model) ? cJSON_DetachItemFromObjectCaseSensitive(model, "weights") : NULL;
    if (!weights)
        return TV_OK;
    if (!model->child)
        cJSON_DeleteItemFromObjectCaseSensitive(settings->root, model_section);
    cJSON *object = cJSON_CreateObject();
    if (!object || !cJSON_AddItemToArray(settings->defaults, object)) {
        cJSON_Delete(object);
        cJSON_Delete(weights);
        return tv_fail(TV_E_MEMORY, "out of host memory for the settings");
    }
    *own = object;
    return cJSON_AddItemToObject(object, "weights", weights)
               ? TV_OK
               : tv_fail(TV_E_MEMORY, "out of host memory for the settings");
}

/* The top level: one tree for each section; of the model's, what is no config is a section of its own. */
static tv_status read_root(tv_run_settings *settings, const char *where, const char *const *sections,
                           uint64_t section_count, const cJSON **trees) {
    tv_config_field fields[MAX_SECTIONS];
    const cJSON *own = NULL;
    TV_RETURN_IF_FAILED(take_own_keys(settings, &own));
    for (uint64_t i = 0; i < section_count; i++)
        fields[i] = (tv_config_field){sections[i], TV_CONFIG_TREE, i * sizeof *trees, 0, 0, NULL};
    TV_RETURN_IF_FAILED(
        read_section(settings->root, where, NULL, settings->stage, fields, section_count, trees));
    for (uint64_t i = 0; i < section_count; i++)
        if (strcmp(sections[i], model_section) == 0) {
            settings->model = trees[i];
            trees[i] = own;
        }
    if (settings->model && !cJSON_IsObject(settings->model))
        return tv_fail(TV_E_CONFIG, "%s.model: expected an object, found a list", where);
    return TV_OK;
}

/* Every value of the tree; what several of them must agree on is checked apart. */
static tv_status read_tree(const char *where, tv_run_settings *settings) {
    char place[512];
    const char *sections[MAX_SECTIONS];
    const cJSON *trees[MAX_SECTIONS + 1] = {0};
    tv_config_field fields[MAX_FIELDS];
    uint64_t section_count = all_sections(sections);
    TV_RETURN_IF_FAILED(fill_defaults(settings->stage, settings));
    TV_RETURN_IF_FAILED(read_root(settings, where, sections, section_count, trees));
    for (uint64_t i = 0; i < section_count; i++) {
        snprintf(place, sizeof place, "%.480s: %s", where, sections[i]);
        TV_RETURN_IF_FAILED(check_use(trees[i], place, sections[i], settings->stage));
        uint64_t count = fields_of(sections[i], settings->stage, fields);
        TV_RETURN_IF_FAILED(
            read_section(trees[i], place, sections[i], settings->stage, fields, count, settings));
    }
    snprintf(place, sizeof place, "%.480s: data", where);
    return read_data(place, &settings->data);
}

/* `set` in the tree, once a tree of its own shows that it can be read: a mistake is the option's, not the
 * file's. */
static tv_status apply_set(cJSON *root, const char *set, tv_stage_kind stage) {
    static const char option[] = "--set";
    tv_run_settings alone = {.stage = stage, .root = cJSON_CreateObject()};
    tv_status status = alone.root ? tv_config_set(alone.root, set)
                                  : tv_fail(TV_E_MEMORY, "out of host memory for a setting");
    status = tv_fail_context(status, option);
    if (status == TV_OK)
        status = read_tree(option, &alone);
    tv_run_settings_free(&alone);
    if (status != TV_OK)
        return status;
    return tv_fail_context(tv_config_set(root, set), option);
}

tv_status tv_run_settings_from_tree(cJSON *root, const char *where, const char *const *sets,
                                    uint64_t set_count, tv_stage_kind stage, tv_run_settings *settings) {
    tv_status status;
    char place[512];
    *settings = (tv_run_settings){.stage = stage, .root = root};
    for (uint64_t i = 0; i < set_count; i++)
        TV_TRY_OR_FAIL(apply_set(root, sets[i], stage));
    TV_TRY_OR_FAIL(read_tree(where, settings));
    snprintf(place, sizeof place, "%.480s: data", where);
    TV_TRY_OR_FAIL(check_data(place, &settings->data));
    snprintf(place, sizeof place, "%.480s: train", where);
    TV_TRY_OR_FAIL(check_train(place, settings));
    return TV_OK;
fail:
    tv_run_settings_free(settings);
    return status;
}

void tv_run_settings_free(tv_run_settings *settings) {
    free(settings->data.train);
    free(settings->data.val);
    free(settings->data.ptx);
    cJSON_Delete(settings->root);
    cJSON_Delete(settings->defaults);
    *settings = (tv_run_settings){0};
}

bool tv_setting_given(const tv_run_settings *settings, const char *section, const char *key) {
    return tv_json_get(tv_json_get(settings->root, section), key) != NULL;
}

const char **tv_data_paths(const tv_data_source *sources, uint64_t count) {
    const char **paths = calloc(count + 1, sizeof *paths);
    for (uint64_t i = 0; paths && i < count; i++)
        paths[i] = sources[i].path;
    return paths;
}

void tv_free_paths(const char ***paths) {
    free((void *)*paths);
    *paths = NULL;
}

/* ---- writing ---- */

tv_status tv_run_settings_resolve(const tv_run_settings *settings, cJSON **out) {
    tv_status status = TV_OK;
    bool built = true;
    const char *sections[MAX_SECTIONS];
    uint64_t section_count = all_sections(sections);
    cJSON *root = cJSON_CreateObject();
    *out = NULL;
    /* First in every file: one that is read back writes itself again. */
    cJSON *model = settings->model ? cJSON_Duplicate(settings->model, true) : cJSON_CreateObject();
    built = root && model && cJSON_AddItemToObject(root, model_section, model);
    for (uint64_t i = 0; i < section_count && built && status == TV_OK; i++) {
        tv_config_field fields[MAX_FIELDS];
        uint64_t count = fields_of(sections[i], settings->stage, fields);
        if (count == 0)
            continue;
        cJSON *object = cJSON_GetObjectItemCaseSensitive(root, sections[i]); /* the model's is there */
        if (!object)
            object = cJSON_AddObjectToObject(root, sections[i]);
        built = object != NULL;
        if (built)
            status = tv_config_write(object, fields, count, settings);
        /* Both would be refused when it is read again. */
        if (built && strcmp(sections[i], "train") == 0)
            cJSON_DeleteItemFromObjectCaseSensitive(object, settings->train.steps ? "epochs" : "steps");
    }
    if (!built)
        status = tv_fail(TV_E_MEMORY, "out of host memory for the settings");
    if (status != TV_OK)
        cJSON_Delete(root);
    else
        *out = root;
    return status;
}

tv_status tv_run_settings_whole(const tv_run_settings *settings, cJSON **root) {
    TV_RETURN_IF_FAILED(tv_run_settings_resolve(settings, root));
    cJSON *model = cJSON_DetachItemFromObjectCaseSensitive(*root, model_section);
    cJSON *weights = cJSON_DetachItemFromObjectCaseSensitive(model, "weights");
    cJSON *own = cJSON_AddObjectToObject(*root, model_section);
    cJSON_Delete(model);
    if (own && weights && cJSON_AddItemToObject(own, "weights", weights))
        return TV_OK;
    cJSON_Delete(weights);
    cJSON_Delete(*root);
    *root = NULL;
    return tv_fail(TV_E_MEMORY, "out of host memory for the settings");
}
