/* What would make a training step smaller, each change with the bytes that it would then take.
 *
 * Promise: every figure is of tv_trainer_measure for the changed step, as if the settings had said so, with
 * what the stage keeps besides unchanged. Harmless changes come first: computing blocks again, a smaller
 * batch, an adapter, narrower weights, shorter texts.
 */
#ifndef TV_RUN_MEMORY_ADVICE_H
#define TV_RUN_MEMORY_ADVICE_H

#include "train/trainer.h"

enum { TV_MOST_CHANGES = 12 };

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

/* `more`: bytes that the stage keeps besides; `available`: of the device. */
tv_status tv_memory_advise(const tv_parameter_list *list, const tv_caps *caps,
                           const tv_trainer_options *options, uint64_t more, uint64_t available,
                           tv_memory_advice *advice);

#endif
