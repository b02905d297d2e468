/* A group's gradients into the sum of all groups: the order of a step's sum is that of its groups, whoever
 * computed them. */
#ifndef TV_KERNELS_GROUP_ADD_H
#define TV_KERNELS_GROUP_ADD_H

#include "kernels/launch.h"

/* sum (count) += group (count), fp32; group becomes 0. `count` a multiple of 4, as arenas have it. */
tv_status tv_group_add(tv_recorder *recorder, uint64_t count, tv_tensor group, tv_tensor sum);

#endif
