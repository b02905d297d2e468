/* Checkpoints: checkpoints/step-N in a run's directory.
 *
 * Promise: a checkpoint is whole or absent, whatever happens while it is written: it is built under a
 * temporary name, every file and the directory are made durable, and one rename brings it into place. It is a
 * Hugging Face directory plus training_state/optimizer.safetensors (AdamW's moments) and trainer_state.json,
 * which has the checksums of all the others; resuming from it continues bit for bit. `last` and `best` are
 * relative links, replaced by rename; pruning never removes their targets. checkpoints/within is one of a
 * step that is half done (an iteration of reinforcement learning), until the next whole one is there.
 */
#ifndef TV_RUN_CHECKPOINT_H
#define TV_RUN_CHECKPOINT_H

#include "formats/directory.h"
#include "model/model.h"
#include "push_constants.h"
#include "text/tokenizer.h"

/* trainer_state.json. */
typedef struct tv_checkpoint_state {
    uint64_t step;        /* updates done, skipped ones included */
    uint64_t examples;    /* drawn from the data in all: windows, rows, pairs, groups or prompts */
    uint64_t tokens;      /* trained on */
    double loss;          /* of the last step; NaN before it */
    double best_val_loss; /* infinity before the first evaluation */
    uint64_t best_step;   /* 0: none */
    uint64_t head_rows;   /* rows of a chunk of logits; 0: an earlier version did not note them */
    struct tv_update_state update;
} tv_checkpoint_state;

/* The loss scale of an update's state, where it has one, as two keys with a prefix; and back. */
bool tv_loss_scale_set(cJSON *root, const char *prefix, const struct tv_update_state *update);
tv_status tv_loss_scale_read(const cJSON *root, const char *prefix, const char *where,
                             struct tv_update_state *update);

/* Writes further files of a checkpoint into the directory that is being built. */
typedef tv_status (*tv_checkpoint_more)(void *context, const char *directory);

/* TV_E_IO when checkpoints/ of `run` is a link: what lies elsewhere would be written and removed. */
tv_status tv_checkpoint_check_place(const char *run);
/* Writes checkpoints/step-N of `run` for state->step, sets `last` (and `best` when best_step is this step),
 * and removes the oldest beyond the `keep` newest and what killed writes left. One that is already there is
 * left as it is, so that the call on resuming finishes what a kill between rename and links cut short.
 * `tokenizer` and `more` may be NULL. */
tv_status tv_checkpoint_write(const char *run, tv_model *model, const tv_tokenizer *tokenizer,
                              const tv_checkpoint_state *state, uint64_t keep, tv_checkpoint_more more,
                              void *context);

/* The same of the step behind state->step as far as it is done: checkpoints/within, to which `last` leads
 * then. `more` writes how far that is. */
tv_status tv_checkpoint_write_within(const char *run, tv_model *model, const tv_tokenizer *tokenizer,
                                     const tv_checkpoint_state *state, tv_checkpoint_more more,
                                     void *context);
bool tv_checkpoint_is_within(const char *path);

/* The same as a directory of its own, outside of any run: `path`, which must not exist. */
tv_status tv_checkpoint_write_alone(const char *path, tv_model *model, const tv_tokenizer *tokenizer,
                                    const tv_checkpoint_state *state);

/* The newest checkpoint of a run, also of a step that is half done; TV_E_CONFIG when there is none. The
 * caller frees *path. */
tv_status tv_checkpoint_find_last(const char *run, char **path);
/* The newest one before `checkpoint`; *path is NULL when there is none. */
tv_status tv_checkpoint_find_before(const char *run, const char *checkpoint, char **path);

/* Whether every file is as it was written; TV_E_DATA names the one that is not. *sealed is false where the
 * checkpoint has no checksums, as those of earlier versions. */
tv_status tv_checkpoint_check(const char *path, bool *sealed);

/* Reads the state; with a model also its parameters and moments. `directory` is the opened checkpoint. */
tv_status tv_checkpoint_read_state(const char *path, tv_checkpoint_state *state);
tv_status tv_checkpoint_read_model(const char *path, const tv_model_directory *directory, tv_model *model);
/* A second model of a run, such as PPO's value model, with its moments, behind the update that left `update`:
 * into the new directory `path` of a checkpoint that is being written; tv_checkpoint_read_model reads it. */
tv_status tv_checkpoint_write_model(const char *path, tv_model *model, const struct tv_update_state *update);

/* A model as a person names it: a directory or GGUF file itself, or for a run's directory its best or last
 * checkpoint. TV_E_DATA when it is neither. The caller frees *path. */
tv_status tv_model_path_resolve(const char *given, char **path);
/* Opens a model as a person names it: `model`, or with `adapter` (NULL: none) that adapter over it, which may
 * be a run's too. *path is the adapter's directory, or the model's. An adapter for another base is TV_E_DATA
 * (formats/adapter_base.h). On failure both are NULL. */
tv_status tv_model_given_open(const char *model, const char *adapter, char **path,
                              tv_model_directory **directory);

#endif
