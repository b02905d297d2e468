/* Adapters as PEFT writes them: adapter_config.json and adapter_model.safetensors.
 *
 * Promise: an adapter that was opened and matched with a base has A and B of the right shape for the same
 * matrices of every layer and nothing else; a field of its config that changes the result and is not
 * supported (DoRA, ranks by pattern, trained biases, further modules, ...) is refused by its name, also one
 * that is not known here, unless it says nothing (null, false, empty). Tensors are named
 * "base_model.model.<module>.lora_A.weight", with the modules of formats/layout.h, and a score head
 * "base_model.model.score.weight". Which matrices are adapted is read from the tensors: target_modules may be
 * a regular expression. Source: huggingface/peft, utils/save_and_load.py and tuners/lora/config.py.
 */
#ifndef TV_FORMATS_PEFT_H
#define TV_FORMATS_PEFT_H

#include "model/parameters.h"

#define TV_PEFT_CONFIG_NAME  "adapter_config.json"
#define TV_PEFT_WEIGHTS_NAME "adapter_model.safetensors"
/* Of trivium's own adapters: formats/adapter_base.h. */
#define TV_ADAPTER_BASE_NAME "adapter_base.json"

typedef struct tv_peft tv_peft;

/* Whether the directory holds an adapter. */
bool tv_peft_is(const char *path);
/* Reads config and header. TV_E_DATA for what is wrong in them, TV_E_CONFIG for what is not supported. */
tv_status tv_peft_open(const char *path, tv_peft **peft);
void tv_peft_close(tv_peft **peft);

/* The base as the config names it: a path, or a name on a hub; NULL: not named. */
const char *tv_peft_base(const tv_peft *peft);

/* The list of a base of this config with the adapter: only the adapter, and a score head of its own, are
 * trainable. `base` is where the base lies. TV_E_DATA when they do not belong together. */
tv_status tv_peft_match(tv_peft *peft, const tv_model_config *config, const char *base,
                        tv_parameter_list **list);
/* Whether a parameter of that list lies here and not in the base. */
bool tv_peft_has(const tv_peft *peft, uint32_t index);
/* Its rows, as floats. */
tv_status tv_peft_read_rows(const tv_peft *peft, uint32_t index, uint64_t first_row, uint64_t rows,
                            tv_dtype dtype, void *out);

/* Targets by name, "q_proj" or "mlp.c_proj", or "all-linear": every matrix of the blocks. Sets target_count
 * and targets. TV_E_CONFIG, beginning with `where`, for a name that no matrix has. */
tv_status tv_peft_targets(const tv_model_config *config, const char *where, const char *const *names,
                          uint64_t count, tv_adapter *adapter);

/* Writes both files of a list with an adapter, its score head too, into the existing directory `path`, and
 * adapter_base.json where the list knows its base's values. */
tv_status tv_peft_write(const char *path, const tv_parameter_list *list, tv_parameter_source source,
                        void *context);

#endif
