/* Launchers of the sum of groups: see group_add.h. */
#include "kernels/group_add.h"

enum { VECTOR = 4 };

static tv_status split(const tv_recorder *recorder, uint64_t count, uint64_t *most) {
    const uint64_t bytes[] = {sizeof(float), tv_dtype_bytes(TV_BF16)};
    if (count % VECTOR)
        return tv_fail(TV_E_USAGE, "a group's sum takes a multiple of %d elements, found %llu", VECTOR,
                       (unsigned long long)count);
    return tv_split_rows(recorder, "a group's gradients", count, bytes, 2, most);
}

tv_status tv_group_add(tv_recorder *recorder, uint64_t count, tv_tensor group, tv_tensor sum) {
    uint64_t most;
    TV_RETURN_IF_FAILED(split(recorder, count, &most));
    tv_part part = {0};
    while (tv_next_part(&part, count, most)) {
        tv_count_push push = {(uint32_t)part.count};
        tv_launch launch = {.program = group.dtype == TV_BF16 ? TV_PROGRAM_group_add_bf16_base
                                                              : TV_PROGRAM_group_add_base,
                            .push = &push,
                            .invocations = part.count / VECTOR,
                            .bindings = {tv_tensor_rows(group, 1, part.first, part.count),
                                         tv_tensor_rows(sum, 1, part.first, part.count)},
                            .shape = {part.count}};
        TV_RETURN_IF_FAILED(tv_launch_record(recorder, &launch));
    }
    return TV_OK;
}

tv_status tv_group_round(tv_recorder *recorder, uint64_t count, const tv_group_rounding *r) {
    uint64_t most;
    TV_RETURN_IF_FAILED(split(recorder, count, &most));
    tv_part part = {0};
    while (tv_next_part(&part, count, most)) {
        tv_count_push push = {(uint32_t)part.count};
        tv_launch launch = {.program = r->to.dtype == TV_BF16 ? TV_PROGRAM_group_round_base
                                                              : TV_PROGRAM_group_round_add_base,
                            .push = &push,
                            .invocations = part.count / VECTOR,
                            .bindings = {tv_tensor_rows(r->group, 1, part.first, part.count),
                                         tv_tensor_rows(r->error, 1, part.first, part.count),
                                         tv_tensor_first(r->state, TV_STATE_WORDS),
                                         tv_tensor_rows(r->to, 1, part.first, part.count)},
                            .shape = {part.count}};
        TV_RETURN_IF_FAILED(tv_launch_record(recorder, &launch));
    }
    return TV_OK;
}
