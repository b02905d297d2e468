/* Launcher of the sum of groups: see group_add.h. */
#include "kernels/group_add.h"

enum { VECTOR = 4 };

tv_status tv_group_add(tv_recorder *recorder, uint64_t count, tv_tensor group, tv_tensor sum) {
    const uint64_t bytes = sizeof(float);
    uint64_t most;
    if (count % VECTOR)
        return tv_fail(TV_E_USAGE, "a group's sum takes a multiple of %d elements, found %llu", VECTOR,
                       (unsigned long long)count);
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "a group's gradients", count, &bytes, 1, &most));
    tv_part part = {0};
    while (tv_next_part(&part, count, most)) {
        tv_count_push push = {(uint32_t)part.count};
        tv_launch launch = {.program = TV_PROGRAM_group_add_base,
                            .push = &push,
                            .invocations = part.count / VECTOR,
                            .bindings = {tv_tensor_rows(group, 1, part.first, part.count),
                                         tv_tensor_rows(sum, 1, part.first, part.count)},
                            .shape = {part.count}};
        TV_RETURN_IF_FAILED(tv_launch_record(recorder, &launch));
    }
    return TV_OK;
}
