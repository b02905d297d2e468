/* What would make a training step smaller, each change with the bytes that it would then take.
 *
 * Promise: every figure is of tv_trainer_measure for the changed step, as if the settings had said so, with
 * what the stage keeps besides unchanged, or measured again by the stage where it has roles (PPO's four).
 * Harmless changes come first: computing blocks again, a smaller batch, an adapter, narrower weights, shorter
 * texts.
 */
#ifndef TV_RUN_MEMORY_ADVICE_H
#define TV_RUN_MEMORY_ADVICE_H

#include "train/trainer.h"

enum { TV_MOST_CHANGES = 24 };

typedef struct tv_memory_change {
    char keys[160]; /* "lora.rank=16 model.weights=q8_0" */
    bool smaller_batch;
    uint64_t bytes; /* of everything, with it */
} tv_memory_change;

typedef struct tv_memory_advice {
    tv_memory_change changes[TV_MOST_CHANGES]; /* such that take less than the step as it is */
    uint32_t count;
    bool has_first;
    tv_memory_change first; /* the least harmful one that fits */
} tv_memory_advice;

/* A changed step of a stage that has roles beside the model that it trains. */
typedef struct tv_memory_step {
    const tv_parameter_list *list; /* of that model, changed */
    tv_trainer_options options;
    bool adapter, narrower; /* the change makes it an adapter, over frozen weights of a type */
    tv_dtype weights;
    uint32_t own; /* number of the stage's own change, from 0: none */
} tv_memory_step;

/* The stage's own changes, the harmless first, and what everything of it takes with a step; false where that
 * cannot be measured or is no change. */
typedef struct tv_memory_roles {
    const char *const *keys; /* [0] is not looked at */
    uint32_t count;
    bool (*measure)(const void *context, const tv_memory_step *step, uint64_t *bytes);
    const void *context;
} tv_memory_roles;

/* The list with an adapter, its own or one of the usual rank on every matrix, over weights of `weights`
 * (narrower) or as they are. */
tv_status tv_memory_adapted(const tv_parameter_list *list, bool narrower, tv_dtype weights,
                            tv_parameter_list **adapted);

/* `more`: bytes that the stage keeps besides, or `roles` (NULL: none), who measure all; `available`: of the
 * device. */
tv_status tv_memory_advise(const tv_parameter_list *list, const tv_caps *caps,
                           const tv_trainer_options *options, uint64_t more, const tv_memory_roles *roles,
                           uint64_t available, tv_memory_advice *advice);

#endif
