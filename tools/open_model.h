/* A model as commands use it: the device, the weights on it, and the tokenizer beside them.
 *
 * Promise: whatever a person may have named is said in one sentence: a path that is neither a model nor a
 * run, a directory without tokenizer.json, a device that is not there.
 */
#ifndef TV_TOOLS_OPEN_MODEL_H
#define TV_TOOLS_OPEN_MODEL_H

#include "formats/directory.h"
#include "model/model.h"
#include "text/tokenizer.h"
#include "tools/options.h"

typedef struct tv_open_model {
    char *path; /* of the model directory */
    tv_device *device;
    tv_model_directory *directory;
    tv_model *model;         /* without gradients */
    tv_tokenizer *tokenizer; /* NULL where it was not asked for and is not there */
} tv_open_model;

static inline tv_option tv_opt_adapter(const char **slot) {
    return tv_opt_existing(tv_opt_text("adapter", "DIR", slot,
                                       "a LoRA adapter over --model: a directory of PEFT's, or a run's"));
}

/* `given` is a model directory, or a run, whose best or last checkpoint is meant; `adapter` (NULL: none) lies
 * over it. Fails with TV_E_DATA when
 * `needs_text` and there is no tokenizer. On failure nothing is left open. */
tv_status tv_open_model_open(const char *given, const char *adapter, const tv_common_options *common,
                             bool needs_text, tv_open_model *open);
/* Passes on how work with the model ended; a failure of its numbers gets the model's path. */
tv_status tv_open_model_result(const tv_open_model *open, tv_status status);
void tv_open_model_close(tv_open_model *open);

#endif
