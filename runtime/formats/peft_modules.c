/* Names of matrices: see peft_modules.h. */
#include "formats/peft_modules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/peft.h"

static bool is_matrix(tv_parameter_role role) {
    return role == TV_PARAMETER_QKV_WEIGHT || role == TV_PARAMETER_ATTN_OUT_WEIGHT ||
           role == TV_PARAMETER_MLP_IN_WEIGHT || role == TV_PARAMETER_MLP_OUT_WEIGHT;
}

/* "model.layers.0.mlp.up_proj.weight" without its last word. */
static char *module_of_tensor(const char *tensor) {
    const char *dot = strrchr(tensor, '.');
    return tv_format("%.*s", dot ? (int)(dot - tensor) : (int)strlen(tensor), tensor);
}

static tv_status collect(tv_peft_modules *modules) {
    const tv_parameter_list *list = modules->list;
    modules->names = (const char **)calloc(list->config.n_layer * TV_ADAPTER_TARGETS, sizeof *modules->names);
    if (!modules->names)
        return tv_fail(TV_E_MEMORY, "out of host memory for the names of a model's matrices");
    uint32_t of_layer = 0;
    for (uint64_t i = 0, layer = 0; i < modules->layout->count; i++) {
        const tv_layout_entry *entry = &modules->layout->entries[i];
        const tv_parameter *p = &list->items[entry->parameter];
        if (!is_matrix(p->role))
            continue;
        if (p->layer != layer) {
            layer = p->layer;
            of_layer = 0;
        }
        if (of_layer == TV_ADAPTER_TARGETS)
            return tv_fail(TV_E_USAGE, "a layer has more matrices than %d", TV_ADAPTER_TARGETS);
        if (layer == 0)
            modules->targets[modules->count++] = (tv_adapter_target){p->role, entry->first_row, entry->rows};
        char *name = module_of_tensor(entry->name);
        modules->names[layer * TV_ADAPTER_TARGETS + of_layer++] = name;
        if (!name)
            return tv_fail(TV_E_MEMORY, "out of host memory for the names of a model's matrices");
    }
    return TV_OK;
}

tv_status tv_peft_modules_create(const tv_model_config *config, tv_peft_modules **out) {
    tv_status status;
    *out = NULL;
    tv_peft_modules *modules = calloc(1, sizeof *modules);
    if (!modules)
        return tv_fail(TV_E_MEMORY, "out of host memory for the names of a model's matrices");
    TV_TRY_OR_FAIL(tv_parameter_list_create(config, &modules->list));
    TV_TRY_OR_FAIL(tv_layout_create(modules->list, &modules->layout));
    TV_TRY_OR_FAIL(collect(modules));
    *out = modules;
    return TV_OK;
fail:
    tv_peft_modules_destroy(&modules);
    return status;
}

void tv_peft_modules_destroy(tv_peft_modules **handle) {
    tv_peft_modules *modules = *handle;
    if (modules) {
        for (uint64_t i = 0; modules->names && i < modules->list->config.n_layer * TV_ADAPTER_TARGETS; i++)
            free((void *)(uintptr_t)modules->names[i]);
        free((void *)modules->names);
        tv_layout_destroy(&modules->layout);
        tv_parameter_list_destroy(&modules->list);
        free(modules);
    }
    *handle = NULL;
}

const char *tv_peft_module_name(const tv_peft_modules *modules, uint32_t module, uint32_t layer) {
    return modules->names[(uint64_t)layer * TV_ADAPTER_TARGETS + module];
}

uint32_t tv_peft_module_of(const tv_peft_modules *modules, const tv_adapter_target *target) {
    uint32_t m = 0;
    while (m < modules->count &&
           (modules->targets[m].role != target->role || modules->targets[m].first_row != target->first_row ||
            modules->targets[m].rows != target->rows))
        m++;
    return m;
}

bool tv_peft_modules_fan_in_fan_out(const tv_peft_modules *modules) {
    for (uint64_t i = 0; i < modules->layout->count; i++)
        if (is_matrix(modules->list->items[modules->layout->entries[i].parameter].role))
            return modules->layout->entries[i].transposed;
    return false;
}

/* ---- names that people give ---- */

/* The name itself, or its last words. */
static bool ends_with(const char *module, const char *name) {
    size_t length = strlen(module), tail = strlen(name);
    return tail <= length && strcmp(module + length - tail, name) == 0 &&
           (tail == length || module[length - tail - 1] == '.');
}

/* The last `words` words of a module's name. */
static const char *tail_of(const char *module, int words) {
    const char *at = module + strlen(module);
    while (at > module && (at[-1] != '.' || --words > 0))
        at--;
    return at;
}

static bool is_target(const tv_peft_modules *modules, const tv_adapter *adapter, uint32_t module) {
    for (uint32_t t = 0; t < adapter->target_count; t++)
        if (tv_peft_module_of(modules, &adapter->targets[t]) == module)
            return true;
    return false;
}

/* Whether the name matches nothing but targets. */
static bool names_targets_only(const tv_peft_modules *modules, const tv_adapter *adapter, const char *name) {
    for (uint32_t m = 0; m < modules->count; m++)
        if (ends_with(tv_peft_module_name(modules, m, 0), name) && !is_target(modules, adapter, m))
            return false;
    return true;
}

bool tv_peft_modules_add_names(const tv_peft_modules *modules, const tv_adapter *adapter, cJSON *array) {
    for (uint32_t t = 0; t < adapter->target_count; t++) {
        const char *module =
            tv_peft_module_name(modules, tv_peft_module_of(modules, &adapter->targets[t]), 0);
        const char *name = tail_of(module, 1);
        if (!names_targets_only(modules, adapter, name))
            name = tail_of(module, 2);
        bool there = false;
        const cJSON *item;
        cJSON_ArrayForEach(item, array) {
            there |= strcmp(cJSON_GetStringValue(item), name) == 0;
        }
        if (!there && !cJSON_AddItemToArray(array, cJSON_CreateString(name)))
            return false;
    }
    return true;
}

static tv_status unknown(const tv_peft_modules *modules, const char *where, const char *name) {
    char known[256] = "";
    for (uint32_t m = 0; m < modules->count; m++) {
        size_t used = strlen(known);
        const char *module = tv_peft_module_name(modules, m, 0);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", tail_of(module, 2));
    }
    return tv_fail(TV_E_CONFIG, "%s: \"%.80s\" is no matrix of this model's blocks; known are all-linear, %s",
                   where, name, known);
}

tv_status tv_peft_targets(const tv_model_config *config, const char *where, const char *const *names,
                          uint64_t count, tv_adapter *adapter) {
    tv_peft_modules *modules = NULL;
    tv_status status = TV_OK;
    bool chosen[TV_ADAPTER_TARGETS] = {false};
    TV_TRY(tv_peft_modules_create(config, &modules));
    for (uint64_t n = 0; n < count; n++) {
        bool all = strcmp(names[n], "all-linear") == 0, found = all;
        for (uint32_t m = 0; m < modules->count; m++)
            if (all || ends_with(tv_peft_module_name(modules, m, 0), names[n]))
                found = chosen[m] = true;
        if (!found) {
            status = unknown(modules, where, names[n]);
            goto done;
        }
    }
    adapter->target_count = 0;
    for (uint32_t m = 0; m < modules->count; m++)
        if (chosen[m])
            adapter->targets[adapter->target_count++] = modules->targets[m];
done:
    tv_peft_modules_destroy(&modules);
    return status;
}
