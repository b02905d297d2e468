/* The matrices of a model as PEFT's modules: "model.layers.0.self_attn.q_proj". What adapters may add to:
 * every matrix of the blocks, in the order of the parameters.
 */
#ifndef TV_FORMATS_PEFT_MODULES_H
#define TV_FORMATS_PEFT_MODULES_H

#include "base/json.h"
#include "formats/layout.h"

typedef struct tv_peft_modules {
    uint32_t count; /* of one layer */
    tv_adapter_target targets[TV_ADAPTER_TARGETS];
    tv_parameter_list *list; /* of the config, without an adapter */
    tv_layout *layout;
    const char **names; /* (layers, count) */
} tv_peft_modules;

tv_status tv_peft_modules_create(const tv_model_config *config, tv_peft_modules **modules);
void tv_peft_modules_destroy(tv_peft_modules **modules);

const char *tv_peft_module_name(const tv_peft_modules *modules, uint32_t module, uint32_t layer);
/* The module of a target; `count` where there is none. */
uint32_t tv_peft_module_of(const tv_peft_modules *modules, const tv_adapter_target *target);
/* Whether the published matrices lie as (in, out), as GPT-2's do. */
bool tv_peft_modules_fan_in_fan_out(const tv_peft_modules *modules);
/* Adds the shortest names that match the adapter's targets and no other module, as PEFT matches them: a
 * module's last words. False when memory is out. */
bool tv_peft_modules_add_names(const tv_peft_modules *modules, const tv_adapter *adapter, cJSON *array);

#endif
