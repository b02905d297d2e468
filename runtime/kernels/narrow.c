/* Launcher of the rounding of masters: see narrow.h. */
#include "kernels/narrow.h"

#include "push_constants.h"

static tv_status choose(const tv_narrow *n, tv_program_id *program, uint64_t *invocations) {
    switch (n->weights.dtype) {
    case TV_F16:
        *program = TV_PROGRAM_narrow_f16;
        *invocations = tv_div_up(n->columns, 2);
        return TV_OK;
    case TV_BF16:
        *program = TV_PROGRAM_narrow_bf16;
        *invocations = tv_div_up(n->columns, 2);
        return TV_OK;
    case TV_Q8_0:
        *program = TV_PROGRAM_narrow_blocks_q8_0;
        *invocations = tv_div_up(n->columns / TV_DTYPE_BLOCK, 2);
        return TV_OK;
    default:
        return tv_fail(TV_E_USAGE, "trained weights cannot be stored as %s", tv_dtype_name(n->weights.dtype));
    }
}

tv_status tv_narrow_record(tv_recorder *recorder, const tv_narrow *n) {
    tv_program_id program;
    uint64_t each, most;
    const uint64_t bytes[] = {n->columns * sizeof(float), tv_dtype_row_bytes(n->weights.dtype, n->columns)};
    TV_RETURN_IF_FAILED(choose(n, &program, &each));
    if (!tv_dtype_takes(n->weights.dtype, n->columns))
        return tv_fail(TV_E_USAGE, "rows of %llu elements cannot be stored as %s",
                       (unsigned long long)n->columns, tv_dtype_name(n->weights.dtype));
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "narrow", n->rows, bytes, 2, &most));
    tv_part part = {0};
    while (tv_next_part(&part, n->rows, most)) {
        const tv_narrow_push push = {(uint32_t)part.count, (uint32_t)n->columns};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){.program = program,
                         .push = &push,
                         .invocations = part.count * each,
                         .bindings = {tv_tensor_rows(n->master, n->columns, part.first, part.count),
                                      tv_tensor_weight_rows(n->weights, n->columns, part.first, part.count)},
                         .shape = {part.count, n->columns}}));
    }
    return TV_OK;
}
