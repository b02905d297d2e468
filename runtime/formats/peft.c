/* PEFT's directories: see peft.h. */
#include "formats/peft.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "formats/peft_modules.h"
#include "formats/safetensors.h"

enum { MOST_RANK = 1 << 16, NAME_BYTES = 512 };
static const char tensor_prefix[] = "base_model.model.";
static const char score_name[] = "base_model.model.score.weight";

struct tv_peft {
    char *path, *weights_path;
    char *base_values; /* the text of adapter_base.json; NULL: there is none */
    cJSON *config;
    tv_safetensors *file;
    tv_adapter adapter;            /* without targets */
    const tv_safetensor **tensors; /* of each parameter of the matched list; NULL: the base's */
    tv_parameter_list *matched;    /* the list's own copy of what is asked of it here: shapes and names */
};

static tv_status no_memory(const char *path) {
    return tv_fail(TV_E_MEMORY, "out of host memory for the adapter in %s", path);
}

static bool has_file(const char *path, const char *name) {
    char *file = tv_format("%s/%s", path, name);
    bool there = file && tv_path_exists(file);
    free(file);
    return there;
}

bool tv_peft_is(const char *path) {
    return has_file(path, TV_PEFT_CONFIG_NAME);
}

/* ---- config ---- */

/* null, false, 0, "", [] and {}: the field is there and asks for nothing. */
static bool says_nothing(const cJSON *item) {
    const char *text = cJSON_GetStringValue(item);
    return !item || cJSON_IsNull(item) || cJSON_IsFalse(item) || (text && !text[0]) ||
           (cJSON_IsNumber(item) && item->valuedouble == 0) ||
           ((cJSON_IsArray(item) || cJSON_IsObject(item)) && !item->child);
}

static bool is_text(const cJSON *item, const char *text) {
    const char *found = cJSON_GetStringValue(item);
    return found && strcmp(found, text) == 0;
}

/* Fields that are read, or say how the adapter was made or where it came from. */
static bool is_harmless(const char *key) {
    static const char *const keys[] = {"alpha_pattern",
                                       "auto_mapping",
                                       "base_model_name_or_path",
                                       "fan_in_fan_out",
                                       "inference_mode",
                                       "lora_alpha",
                                       "lora_dropout",
                                       "megatron_core",
                                       "modules_to_save",
                                       "peft_type",
                                       "peft_version",
                                       "qalora_group_size",
                                       "r",
                                       "rank_pattern",
                                       "revision",
                                       "target_modules",
                                       "task_type",
                                       "use_rslora",
                                       "bias",
                                       "init_lora_weights",
                                       "layers_pattern",
                                       "eva_config",
                                       "ensure_weight_tying"};
    for (size_t i = 0; i < TV_COUNT(keys); i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

static tv_status unsupported(const char *where, const cJSON *item) {
    char *value = NULL;
    TV_RETURN_IF_FAILED(tv_json_print_line(item, &value));
    tv_status status = tv_fail(TV_E_CONFIG,
                               "%s: \"%s\" is %.120s, which changes what the adapter computes and is not "
                               "supported; LoRA with one rank and scale for all its matrices is",
                               where, item->string, value);
    free(value);
    return status;
}

/* PEFT names both heads of a classifier, whichever the model has. */
static bool is_score_module(const char *name) {
    return name && (strcmp(name, "score") == 0 || strcmp(name, "classifier") == 0);
}

static tv_status check_field(const char *where, const cJSON *item) {
    const char *key = item->string, *text = cJSON_GetStringValue(item);
    const cJSON *module;
    if (says_nothing(item))
        return TV_OK;
    if (strcmp(key, "peft_type") == 0 && !is_text(item, "LORA"))
        return tv_fail(TV_E_CONFIG, "%s: expected \"peft_type\": \"LORA\", found \"%.40s\"; no other is read",
                       where, text ? text : "(not a text)");
    if (strcmp(key, "bias") == 0 && !is_text(item, "none"))
        return unsupported(where, item);
    if (strcmp(key, "rank_pattern") == 0 || strcmp(key, "alpha_pattern") == 0)
        return unsupported(where, item);
    /* Some ways to begin change the base too. */
    if (strcmp(key, "init_lora_weights") == 0 && text && !is_text(item, "gaussian") &&
        !is_text(item, "eva") && !is_text(item, "orthogonal"))
        return unsupported(where, item);
    if (strcmp(key, "modules_to_save") == 0)
        cJSON_ArrayForEach(module, item) {
            if (!is_score_module(cJSON_GetStringValue(module)))
                return unsupported(where, item);
        }
    if (!is_harmless(key))
        return unsupported(where, item);
    return TV_OK;
}

static tv_status read_config(tv_peft *peft, const char *where) {
    const cJSON *item;
    int64_t rank;
    double dropout;
    TV_RETURN_IF_FAILED(tv_json_read_file(where, &peft->config));
    if (!cJSON_IsObject(peft->config))
        return tv_fail(TV_E_DATA, "%s: expected an object, found %s", where, tv_json_kind(peft->config));
    cJSON_ArrayForEach(item, peft->config) {
        TV_RETURN_IF_FAILED(check_field(where, item));
    }
    TV_RETURN_IF_FAILED(tv_json_integer(peft->config, "r", where, 1, MOST_RANK, 0, &rank));
    TV_RETURN_IF_FAILED(tv_json_number(peft->config, "lora_alpha", where, 0, &peft->adapter.alpha));
    TV_RETURN_IF_FAILED(tv_json_bool(peft->config, "use_rslora", where, false, &peft->adapter.rslora));
    TV_RETURN_IF_FAILED(tv_json_number(peft->config, "lora_dropout", where, 0, &dropout));
    if (rank == 0 || !isfinite(peft->adapter.alpha) || !(peft->adapter.alpha > 0))
        return tv_fail(TV_E_DATA, "%s: expected \"r\" from 1 to %d and \"lora_alpha\" above 0, found less",
                       where, MOST_RANK);
    if (dropout > 0)
        tv_info("%s: lora_dropout %g is not applied", where, dropout);
    peft->adapter.rank = (uint64_t)rank;
    const char *base;
    TV_RETURN_IF_FAILED(tv_json_string(peft->config, "base_model_name_or_path", where, NULL, &base));
    peft->adapter.base = base && base[0] ? base : NULL;
    return TV_OK;
}

static tv_status read_base_values(tv_peft *peft) {
    char *path = tv_format("%s/%s", peft->path, TV_ADAPTER_BASE_NAME);
    if (!path)
        return no_memory(peft->path);
    tv_status status = tv_path_exists(path) ? tv_read_file(path, &peft->base_values, NULL) : TV_OK;
    peft->adapter.base_values = peft->base_values;
    free(path);
    return status;
}

tv_status tv_peft_open(const char *path, tv_peft **out) {
    tv_status status;
    char *config_path = NULL;
    *out = NULL;
    tv_peft *peft = calloc(1, sizeof *peft);
    if (!peft)
        return no_memory(path);
    peft->path = tv_format("%s", path);
    peft->weights_path = tv_format("%s/%s", path, TV_PEFT_WEIGHTS_NAME);
    config_path = tv_format("%s/%s", path, TV_PEFT_CONFIG_NAME);
    if (!peft->path || !peft->weights_path || !config_path) {
        status = no_memory(path);
        goto fail;
    }
    if (!tv_path_exists(config_path)) {
        status = tv_fail(TV_E_DATA, "%s: expected an adapter with %s and %s, found no %s", path,
                         TV_PEFT_CONFIG_NAME, TV_PEFT_WEIGHTS_NAME, TV_PEFT_CONFIG_NAME);
        goto fail;
    }
    TV_TRY_OR_FAIL(read_config(peft, config_path));
    TV_TRY_OR_FAIL(read_base_values(peft));
    if (!tv_path_exists(peft->weights_path)) {
        status = tv_fail(TV_E_DATA, "%s: expected the adapter's weights in %s, found none%s", path,
                         TV_PEFT_WEIGHTS_NAME,
                         has_file(path, "adapter_model.bin")
                             ? " but adapter_model.bin, a pickle, which can hold programs and is not read"
                             : "");
        goto fail;
    }
    TV_TRY_OR_FAIL(tv_safetensors_open(peft->weights_path, &peft->file));
    free(config_path);
    *out = peft;
    return TV_OK;
fail:
    free(config_path);
    tv_peft_close(&peft);
    return status;
}

void tv_peft_close(tv_peft **handle) {
    tv_peft *peft = *handle;
    if (peft) {
        tv_safetensors_close(&peft->file);
        tv_parameter_list_destroy(&peft->matched);
        cJSON_Delete(peft->config);
        free((void *)peft->tensors);
        free(peft->base_values);
        free(peft->weights_path);
        free(peft->path);
        free(peft);
    }
    *handle = NULL;
}

const char *tv_peft_base(const tv_peft *peft) {
    return peft->adapter.base;
}

/* Whether it has a score head of its own. */
static bool has_score(const tv_peft *peft) {
    return tv_safetensors_find(peft->file, score_name) != NULL;
}

/* ---- tensors ---- */

static void print_name(char name[NAME_BYTES], const char *module, bool b) {
    snprintf(name, NAME_BYTES, "%s%s.lora_%c.weight", tensor_prefix, module, b ? 'B' : 'A');
}

/* The modules of layer 0 that have an A become the targets. */
static tv_status find_targets(const tv_peft *peft, const tv_peft_modules *modules, tv_adapter *adapter) {
    char name[NAME_BYTES];
    adapter->target_count = 0;
    for (uint32_t m = 0; m < modules->count; m++) {
        print_name(name, tv_peft_module_name(modules, m, 0), false);
        if (tv_safetensors_find(peft->file, name))
            adapter->targets[adapter->target_count++] = modules->targets[m];
    }
    if (adapter->target_count)
        return TV_OK;
    print_name(name, tv_peft_module_name(modules, 0, 0), false);
    return tv_fail(
        TV_E_DATA,
        "%s: expected tensors of the base's matrices, such as \"%s\", found none of layer 0; it is "
        "an adapter for another model, or of some layers only",
        peft->weights_path, name);
}

static tv_status take_tensor(tv_peft *peft, uint32_t index, const char *name) {
    const tv_parameter *p = &peft->matched->items[index];
    const tv_safetensor *tensor = tv_safetensors_find(peft->file, name);
    if (!tensor)
        return tv_fail(TV_E_DATA,
                       "%s: tensor \"%s\" is missing: the same matrices are adapted in every layer, and the "
                       "base has %llu layers",
                       peft->weights_path, name, (unsigned long long)peft->matched->config.n_layer);
    if (tensor->rank != 2 || tensor->shape[0] != p->shape[0] || tensor->shape[1] != p->shape[1])
        return tv_fail(TV_E_DATA,
                       "%s: tensor \"%s\": expected (%llu, %llu) from the base's sizes and the rank in %s, "
                       "found (%llu, %llu)%s; it is an adapter for another model",
                       peft->weights_path, name, (unsigned long long)p->shape[0],
                       (unsigned long long)p->shape[1], TV_PEFT_CONFIG_NAME,
                       (unsigned long long)tensor->shape[0],
                       (unsigned long long)(tensor->rank > 1 ? tensor->shape[1] : 0),
                       tensor->rank == 2 ? "" : " of another rank");
    peft->tensors[index] = tensor;
    /* Reading no rows checks the type alone. */
    return tv_safetensors_read(peft->file, tensor, 0, 0, false, NULL);
}

static tv_status take_tensors(tv_peft *peft, const tv_peft_modules *modules) {
    const tv_parameter_list *list = peft->matched;
    char name[NAME_BYTES];
    uint64_t taken = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        bool score = p->role == TV_PARAMETER_SCORE_WEIGHT && has_score(peft);
        if (!tv_parameter_is_of_adapter(p) && !score)
            continue;
        if (!score)
            print_name(name,
                       tv_peft_module_name(
                           modules, tv_peft_module_of(modules, &list->adapter.targets[p->target]), p->layer),
                       p->role == TV_PARAMETER_ADAPTER_B);
        TV_RETURN_IF_FAILED(take_tensor(peft, i, score ? score_name : name));
        taken++;
    }
    for (uint64_t t = 0; taken < tv_safetensors_count(peft->file) && t < tv_safetensors_count(peft->file);
         t++) {
        const tv_safetensor *tensor = tv_safetensors_at(peft->file, t);
        bool known = false;
        for (uint32_t i = 0; !known && i < list->count; i++)
            known = peft->tensors[i] == tensor;
        if (!known)
            return tv_fail(TV_E_DATA,
                           "%s: tensor \"%s\" has no place in the base; it is an adapter for another model, "
                           "or of a kind that is not supported",
                           peft->weights_path, tensor->name);
    }
    return TV_OK;
}

tv_status tv_peft_match(tv_peft *peft, const tv_model_config *config, const char *base,
                        tv_parameter_list **out) {
    tv_peft_modules *modules = NULL;
    tv_model_config of_model = *config;
    tv_adapter adapter = peft->adapter;
    tv_status status;
    *out = NULL;
    adapter.base = base;
    if (has_score(peft))
        of_model.head = TV_MODEL_HEAD_SCORE;
    const tv_parameter_choice choice = {.adapter = &adapter, .score = has_score(peft)};
    TV_TRY(tv_peft_modules_create(&of_model, &modules));
    TV_TRY(find_targets(peft, modules, &adapter));
    tv_parameter_list_destroy(&peft->matched);
    TV_TRY(tv_parameter_list_create_chosen(&of_model, &choice, &peft->matched));
    free((void *)peft->tensors);
    peft->tensors = (const tv_safetensor **)calloc(peft->matched->count, sizeof *peft->tensors);
    if (!peft->tensors) {
        status = no_memory(peft->path);
        goto done;
    }
    TV_TRY(take_tensors(peft, modules));
    TV_TRY(tv_parameter_list_create_chosen(&of_model, &choice, out));
done:
    tv_peft_modules_destroy(&modules);
    return status;
}

bool tv_peft_has(const tv_peft *peft, uint32_t index) {
    return peft->tensors[index] != NULL;
}

tv_status tv_peft_read_rows(const tv_peft *peft, uint32_t index, uint64_t first_row, uint64_t rows,
                            tv_dtype dtype, void *out) {
    const tv_safetensor *tensor = peft->tensors[index];
    TV_RETURN_IF_FAILED(tv_parameter_expect_floats(dtype));
    TV_RETURN_IF_FAILED(tv_safetensors_read(peft->file, tensor, first_row, rows, false, out));
    for (uint64_t i = 0; i < rows * tensor->shape[1]; i++)
        if (!isfinite(((const float *)out)[i]))
            return tv_fail(TV_E_DATA,
                           "%s: tensor %s holds %g, which is no weight; the training that wrote it diverged, "
                           "or the file is damaged: take an earlier checkpoint or another copy",
                           peft->weights_path, tensor->name, (double)((const float *)out)[i]);
    return TV_OK;
}

/* ---- writing ---- */

static tv_status write_config(const char *path, const tv_parameter_list *list,
                              const tv_peft_modules *modules) {
    const tv_adapter *adapter = &list->adapter;
    bool score = list->config.head == TV_MODEL_HEAD_SCORE;
    char *file = tv_format("%s/%s", path, TV_PEFT_CONFIG_NAME);
    cJSON *root = cJSON_CreateObject(), *targets = NULL, *saved = NULL;
    bool built =
        file && root && cJSON_AddObjectToObject(root, "alpha_pattern") &&
        cJSON_AddNullToObject(root, "auto_mapping") &&
        (adapter->base ? tv_json_set_string(root, "base_model_name_or_path", adapter->base)
                       : cJSON_AddNullToObject(root, "base_model_name_or_path") != NULL) &&
        tv_json_set_string(root, "bias", "none") &&
        tv_json_set_bool(root, "fan_in_fan_out", tv_peft_modules_fan_in_fan_out(modules)) &&
        tv_json_set_bool(root, "inference_mode", true) && tv_json_set_bool(root, "init_lora_weights", true) &&
        cJSON_AddNullToObject(root, "layers_pattern") && cJSON_AddNullToObject(root, "layers_to_transform") &&
        tv_json_set_number(root, "lora_alpha", adapter->alpha) &&
        tv_json_set_number(root, "lora_dropout", 0) &&
        (score ? (saved = cJSON_AddArrayToObject(root, "modules_to_save")) != NULL &&
                     cJSON_AddItemToArray(saved, cJSON_CreateString("score"))
               : cJSON_AddNullToObject(root, "modules_to_save") != NULL) &&
        tv_json_set_string(root, "peft_type", "LORA") &&
        tv_json_set_number(root, "r", (double)adapter->rank) &&
        cJSON_AddObjectToObject(root, "rank_pattern") && cJSON_AddNullToObject(root, "revision") &&
        (targets = cJSON_AddArrayToObject(root, "target_modules")) != NULL &&
        tv_peft_modules_add_names(modules, adapter, targets) &&
        tv_json_set_string(root, "task_type", score ? "SEQ_CLS" : "CAUSAL_LM") &&
        tv_json_set_bool(root, "use_dora", false) && tv_json_set_bool(root, "use_rslora", adapter->rslora);
    tv_status status = built ? tv_json_write_file(file, root) : no_memory(path);
    cJSON_Delete(root);
    free(file);
    return status;
}

static tv_status write_base_values(const char *path, const tv_adapter *adapter) {
    cJSON *root = NULL;
    tv_status status = TV_OK;
    if (!adapter->base_values)
        return TV_OK;
    char *file = tv_format("%s/%s", path, TV_ADAPTER_BASE_NAME);
    if (!file)
        return no_memory(path);
    TV_TRY(tv_json_parse(adapter->base_values, strlen(adapter->base_values), TV_ADAPTER_BASE_NAME, &root));
    TV_TRY(tv_json_write_file(file, root));
done:
    cJSON_Delete(root);
    free(file);
    return status;
}

/* The score head is the adapter's own. */
static bool is_written(const tv_parameter *p) {
    return tv_parameter_is_of_adapter(p) || p->role == TV_PARAMETER_SCORE_WEIGHT;
}

static tv_status describe_tensors(const tv_parameter_list *list, const tv_peft_modules *modules,
                                  tv_arena *arena, tv_safetensor *tensors) {
    uint64_t count = 0;
    char name[NAME_BYTES];
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        if (!is_written(p))
            continue;
        if (tv_parameter_is_of_adapter(p))
            print_name(name,
                       tv_peft_module_name(
                           modules, tv_peft_module_of(modules, &list->adapter.targets[p->target]), p->layer),
                       p->role == TV_PARAMETER_ADAPTER_B);
        else
            snprintf(name, sizeof name, "%s", score_name);
        tensors[count] = (tv_safetensor){.name = tv_arena_format(arena, "%s", name),
                                         .dtype = "F32",
                                         .rank = p->rank,
                                         .shape = {p->shape[0], p->shape[1]}};
        if (!tensors[count++].name)
            return TV_E_MEMORY;
    }
    return TV_OK;
}

static tv_status write_values(tv_safetensors_writer *writer, const tv_parameter_list *list,
                              tv_parameter_source source, void *context, float *values) {
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        uint64_t piece = tv_parameter_piece_rows(p);
        for (uint64_t first = 0; is_written(p) && first < p->shape[0]; first += piece) {
            uint64_t rows = piece < p->shape[0] - first ? piece : p->shape[0] - first;
            TV_RETURN_IF_FAILED(source(context, i, first, rows, TV_F32, values));
            TV_RETURN_IF_FAILED(tv_safetensors_write(writer, values, rows * p->shape[1] * sizeof *values));
        }
    }
    return TV_OK;
}

tv_status tv_peft_write(const char *path, const tv_parameter_list *list, tv_parameter_source source,
                        void *context) {
    tv_peft_modules *modules = NULL;
    tv_arena *arena = NULL;
    tv_safetensors_writer *writer = NULL;
    tv_status status;
    uint64_t count = 0;
    for (uint32_t i = 0; i < list->count; i++)
        count += is_written(&list->items[i]);
    char *file = tv_format("%s/%s", path, TV_PEFT_WEIGHTS_NAME);
    tv_safetensor *tensors = calloc(count ? count : 1, sizeof *tensors);
    float *values = calloc(tv_parameter_piece_elements(list), sizeof *values);
    if (!file || !tensors || !values) {
        status = no_memory(path);
        goto done;
    }
    TV_TRY(tv_arena_create(&arena));
    TV_TRY(tv_peft_modules_create(&list->config, &modules));
    TV_TRY(write_config(path, list, modules));
    TV_TRY(write_base_values(path, &list->adapter));
    TV_TRY(describe_tensors(list, modules, arena, tensors));
    TV_TRY(tv_safetensors_writer_open(file, tensors, count, &writer));
    TV_TRY(write_values(writer, list, source, context, values));
    TV_TRY(tv_safetensors_writer_commit(&writer));
done:
    tv_safetensors_writer_abort(&writer);
    tv_peft_modules_destroy(&modules);
    tv_arena_destroy(&arena);
    free(values);
    free(tensors);
    free(file);
    return status;
}
