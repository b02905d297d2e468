/* The update, all on the device: gradient norm, clip, detection of non-finite gradients, AdamW (Loshchilov
 * and Hutter 2019).
 *
 * Order per step: tv_gradient_norm_add for each tensor, tv_gradient_norm_finish, then
 * tv_adamw_record for each tensor. An update whose gradient norm is not finite changes no parameter and no
 * moment, and is counted.
 */
#ifndef TV_KERNELS_OPTIMIZER_H
#define TV_KERNELS_OPTIMIZER_H

#include "kernels/launch.h"

/* Partial sums of squares: `partials` holds tv_gradient_norm_partials(count) floats per tensor, tensors one
 * after another; a multiple of 64, so that tensors share no aligned range and need no barrier in between. */
uint64_t tv_gradient_norm_partials(uint64_t count);
/* Writes the partials of one gradient (count) at partials[first]. Any contiguous range may be given as one
 * tensor, a whole arena with its padding included, as long as the padding is 0. */
tv_status tv_gradient_norm_add(tv_recorder *recorder, uint64_t count, tv_tensor gradient, tv_tensor partials,
                               uint64_t first);
/* From `total` partials: grad_norm, clip_scale = min(1, grad_clip / norm) (1 when grad_clip is 0), finite,
 * and the counters of struct tv_update_state (push_constants.h); reads struct tv_step_constants. Finite
 * means: no NaN, no infinity, a norm within fp32, and a clipped norm whose square is (below 2^63), since
 * AdamW squares it. Otherwise clip_scale is 0 and, where an element or the norm itself was not finite,
 * grad_norm infinity. */
tv_status tv_gradient_norm_finish(tv_recorder *recorder, uint64_t total, tv_tensor partials, tv_tensor step,
                                  tv_tensor state);

/* The four tensors may be one contiguous range of equally laid out arenas, if `decay` holds for all of it:
 * padding that is 0 in all four stays 0. */
typedef struct tv_adamw {
    uint64_t count;
    bool decay;          /* weight decay applies to tensors of two and more dimensions */
    tv_tensor parameter; /* fp32 master weights, updated */
    tv_tensor gradient;  /* fp32; read, then set to 0 for the next step */
    tv_tensor m, v;      /* fp32 moments */
    tv_tensor step;      /* struct tv_step_constants */
    tv_tensor state;     /* struct tv_update_state of this step */
} tv_adamw;
tv_status tv_adamw_record(tv_recorder *recorder, const tv_adamw *update);

#endif
