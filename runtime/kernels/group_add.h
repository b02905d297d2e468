/* A group's gradients into the sum of all groups: the order of a step's sum is that of its groups, whoever
 * computed them. As they are, or rounded to bf16 with the error kept. */
#ifndef TV_KERNELS_GROUP_ADD_H
#define TV_KERNELS_GROUP_ADD_H

#include "kernels/launch.h"

/* sum (count) fp32 += group (count), which is fp32 and becomes 0, or bf16 and stays. `count` a multiple of 4,
 * as arenas have it. */
tv_status tv_group_add(tv_recorder *recorder, uint64_t count, tv_tensor group, tv_tensor sum);

/* Of a group's gradients (count) fp32, which become 0: with x = group + error, bf16(x) goes to `to`, and what
 * that lacks of x is the next error (error feedback: Seide et al. 2014; Karimireddy et al. 2019). `to`
 * (count) is bf16 and overwritten, or a sum in fp32 to which it is added, with the bits of tv_group_add of
 * the other. error (count) bf16, without the loss scale of `state` (struct tv_update_state) that gradients
 * carry; it counts as 0 where state.finite is. `count` a multiple of 4. */
typedef struct tv_group_rounding {
    tv_tensor group, error, to;
    tv_tensor state;
} tv_group_rounding;
tv_status tv_group_round(tv_recorder *recorder, uint64_t count, const tv_group_rounding *rounding);

#endif
