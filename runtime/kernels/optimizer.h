/* The update, all on the device: gradient norm, clip, detection of non-finite gradients, AdamW (Loshchilov
 * and Hutter 2019).
 *
 * Order per step: tv_gradient_norm_add, tv_gradient_norm_finish, tv_adamw_record, each over all tensors of a
 * plan. An update whose gradient norm is not finite changes no parameter and no moment, and is counted.
 */
#ifndef TV_KERNELS_OPTIMIZER_H
#define TV_KERNELS_OPTIMIZER_H

#include "kernels/update_plan.h"

/* A plan and what its passes read besides its tensors. */
typedef struct tv_update {
    const tv_update_plan *plan;
    tv_tensor table;    /* plan->table, as the device has it */
    tv_tensor partials; /* plan->partials floats */
    tv_tensor step;     /* struct tv_step_constants */
    tv_tensor state;    /* struct tv_update_state */
} tv_update;

/* Writes the partial sums of squares of every gradient, tensor after tensor, whatever the dispatches. */
tv_status tv_gradient_norm_add(tv_recorder *recorder, const tv_update *update);
/* Before the first gradient of a step: step.loss_scale *= state.loss_scale. */
tv_status tv_loss_scale_record(tv_recorder *recorder, tv_tensor step, tv_tensor state);
/* From the partials: grad_norm, without the loss scale; clip_scale = min(1, grad_clip / norm) (1 when
 * grad_clip is 0) / loss_scale, finite, the counters and the next loss scale of struct tv_update_state
 * (push_constants.h); reads struct tv_step_constants. Finite
 * means: no NaN, no infinity, a norm within fp32, and a clipped norm whose square is (below 2^63), since
 * AdamW squares it. Otherwise clip_scale is 0 and, where an element or the norm itself was not finite,
 * grad_norm infinity. */
tv_status tv_gradient_norm_finish(tv_recorder *recorder, const tv_update *update);
/* Those whose rule is AdamW, with moments of either kind; their gradients are 0 afterwards. */
tv_status tv_adamw_record(tv_recorder *recorder, const tv_update *update);

/* Weights that are narrower than their masters from these, rounded to nearest even: after the update, and
 * where masters were loaded, so that a run that goes on from a checkpoint of masters has the bits of one that
 * did not stop. Needs plan and table alone. */
tv_status tv_narrow_record(tv_recorder *recorder, const tv_update *update);

#endif
