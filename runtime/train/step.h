/* One training step as recorded work: data, forward, loss, backward; then gradient norm, clip, AdamW or Muon.
 *
 * Promise: these functions only record. Everything that changes from step to step (tokens, targets, learning
 * rate, loss scale) is read from buffers. trainer.c owns the buffers, replays the recordings and reads the
 * results.
 */
#ifndef TV_TRAIN_STEP_H
#define TV_TRAIN_STEP_H

#include "kernels/optimizer.h"
#include "model/backward.h"
#include "model/loss_head.h"
#include "push_constants.h"
#include "train/muon.h"

/* The device tensors of a step besides model and activations. */
typedef struct tv_step_tensors {
    tv_model_inputs inputs; /* (B, T) each */
    tv_head_tensors head;   /* its inputs, outputs, statistics and the step's constants */
    tv_tensor stat_sums;    /* TV_HEAD_STATS: of the groups that are done, where the model has sums */
    tv_tensor state;        /* struct tv_update_state */
    tv_tensor partials;     /* tv_step_partials floats of the gradient norm */
    tv_tensor muon[TV_MUON_TENSORS]; /* its workspace; absent where nothing is Muon's */
    tv_tensor table;                 /* tv_step_table_words, which hold the table of `plan` */
    const tv_update_plan *plan;      /* of what the model trains */
} tv_step_tensors;

/* AdamW's constants of a step, with the logarithms that its bias corrections need; loss_scale and its growth
 * are set when the terms are counted, momentum and muon_rms by who has Muon. */
struct tv_step_constants tv_step_constants_make(double lr, double weight_decay, double beta1, double beta2,
                                                double eps, double grad_clip);

/* Floats of `partials` for what a list trains. */
uint64_t tv_step_partials(const tv_parameter_list *list);
/* Words of `table`, at most. */
tv_status tv_step_table_words(const tv_parameter_list *list, const tv_caps *caps, uint64_t *words);
/* How the model's tensors are updated together; the caller destroys. */
tv_status tv_step_plan(const tv_model *model, tv_update_plan **plan);

/* Forward, loss and backward of one micro-batch; statistics and gradients accumulate. `finished` (NULL:
 * nobody) is told as in tv_backward_telling. */
tv_status tv_step_record_micro_batch(tv_recorder *recorder, const tv_model *model,
                                     const tv_activations *activations, const tv_loss_head *head,
                                     const tv_step_tensors *step, tv_gradients_finished finished,
                                     void *context);

/* A group's end: its gradients and statistics go into the sums and are 0. `state` as in
 * tv_model_record_group. */
tv_status tv_step_record_group(tv_recorder *recorder, const tv_model *model, const tv_step_tensors *step,
                               tv_tensor state);

/* Forward and the head's outputs only. */
tv_status tv_step_record_forward(tv_recorder *recorder, const tv_model *model,
                                 const tv_activations *activations, const tv_loss_head *head,
                                 const tv_step_tensors *step);

/* The partial sums of the gradient norm, of this owner's stretches. */
tv_status tv_step_record_norm(tv_recorder *recorder, const tv_step_tensors *step);

/* From the partial sums of all owners: norm, clip, AdamW and Muon over this owner's stretches; their
 * gradients are 0 afterwards. */
tv_status tv_step_record_update(tv_recorder *recorder, const tv_model *model, const tv_step_tensors *step);

#endif
