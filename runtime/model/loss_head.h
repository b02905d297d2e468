/* What a stage trains: the way from `final` to a loss and its gradient, as data that a trainer replays.
 *
 * Promise: a head says how much it takes of the device before anything is allocated, and its record function
 * only records. A trainer makes the tensors, uploads the inputs of each micro-batch, adds up the statistics
 * of a step and hands out the outputs of an evaluation; it knows nothing of what they mean.
 */
#ifndef TV_MODEL_LOSS_HEAD_H
#define TV_MODEL_LOSS_HEAD_H

#include "model/activations.h"

enum { TV_HEAD_TENSORS = 6, TV_HEAD_STATS = 8, TV_HEAD_SETTINGS = 8 };

/* The device tensors of one micro-batch. A head with a count of 0 words leaves a tensor absent. */
typedef struct tv_head_tensors {
    tv_tensor inputs[TV_HEAD_TENSORS];  /* written by the host for each micro-batch */
    tv_tensor outputs[TV_HEAD_TENSORS]; /* read back after an evaluation */
    tv_tensor scratch[TV_HEAD_TENSORS]; /* the head's own, between its dispatches */
    tv_tensor stats;                    /* (stat_count) fp32: sums over the step, added to */
    tv_tensor step;                     /* struct tv_step_constants: loss_scale */
} tv_head_tensors;

typedef struct tv_loss_head tv_loss_head;
struct tv_loss_head {
    const char *name; /* "language", "policy": for labels */
    /* 32-bit words of a micro-batch, 0 behind the last one. */
    uint64_t input_words[TV_HEAD_TENSORS], output_words[TV_HEAD_TENSORS], scratch_words[TV_HEAD_TENSORS];
    uint32_t stat_count;              /* the first is the sum of the losses, before loss_scale */
    float settings[TV_HEAD_SETTINGS]; /* constants of a run, such as PPO's clip; each head names its own */
    uint64_t sizes[TV_HEAD_SETTINGS]; /* the same for counts, such as pairs of a micro-batch */
    /* After tv_forward. With `gradient`: adds to the statistics, overwrites d_narrow with the gradient of
     * `final` and adds the gradients of the head's own parameters. Without: writes the outputs only. */
    tv_status (*record)(const tv_loss_head *head, tv_recorder *recorder, const tv_model *model,
                        const tv_activations *activations, const tv_head_tensors *tensors, bool gradient);
};

#endif
