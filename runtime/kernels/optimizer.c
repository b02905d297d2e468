/* Launchers of the update: see optimizer.h. A block's partial is a pair of floats;
 * shaders/optimizer/gradient_norm.comp says why. */
#include "kernels/optimizer.h"

#include "push_constants.h"
#include "sizes.h"

enum {
    BLOCK_LOCAL = 256,
    FINISH_LOCAL = 256,
    FLOATS_PER_BLOCK = 2,
};
static const uint64_t partial_granule = TV_TENSOR_ALIGNMENT / sizeof(float);

uint64_t tv_gradient_norm_partials(uint64_t count) {
    return tv_align_up(FLOATS_PER_BLOCK * tv_div_up(count, TV_REDUCE_BLOCK), partial_granule);
}

tv_status tv_gradient_norm_add(tv_recorder *recorder, uint64_t count, tv_tensor gradient, tv_tensor partials,
                               uint64_t first) {
    if (first % partial_granule)
        return tv_fail(TV_E_USAGE, "gradient norm: partials start at multiples of %llu, not at %llu",
                       (unsigned long long)partial_granule, (unsigned long long)first);
    uint64_t range = tv_recorder_caps(recorder)->storage_range, part = count;
    if (count * sizeof(float) > range)
        part = range / (TV_REDUCE_BLOCK * sizeof(float)) * TV_REDUCE_BLOCK;
    if (count && part == 0)
        return tv_fail(TV_E_FIT, "the gradient norm needs bindings of %llu bytes and this device binds %llu",
                       (unsigned long long)(TV_REDUCE_BLOCK * sizeof(float)), (unsigned long long)range);
    uint64_t end = first + tv_gradient_norm_partials(count);
    for (uint64_t done = 0; done < count; done += part) {
        uint64_t size = tv_min_u64(part, count - done), blocks = tv_div_up(size, TV_REDUCE_BLOCK);
        uint64_t at = first + done / TV_REDUCE_BLOCK * FLOATS_PER_BLOCK;
        uint64_t floats = done + size == count ? end - at : blocks * FLOATS_PER_BLOCK;
        tv_gradient_norm_push push = {.count = (uint32_t)size,
                                      .padding = (uint32_t)(floats - blocks * FLOATS_PER_BLOCK)};
        tv_tensor in = tv_tensor_rows(gradient, 1, done, size);
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = TV_PROGRAM_gradient_norm_base,
                                   .push = &push,
                                   .groups = blocks,
                                   .bindings = {in, in, tv_tensor_window(partials, at, floats, &push.first)},
                                   .specialization = {tv_row_workgroup(recorder, BLOCK_LOCAL)},
                                   .specialization_count = 1,
                                   .shape = {size}}));
    }
    return TV_OK;
}

tv_status tv_gradient_norm_finish(tv_recorder *recorder, uint64_t total, tv_tensor partials, tv_tensor step,
                                  tv_tensor state) {
    tv_count_push push = {(uint32_t)(total / FLOATS_PER_BLOCK)};
    return tv_launch_record(
        recorder,
        &(tv_launch){.program = TV_PROGRAM_gradient_norm_finish_base,
                     .push = &push,
                     .groups = 1,
                     .bindings = {tv_tensor_rows(partials, 1, 0, total), tv_tensor_first(step, TV_STEP_WORDS),
                                  tv_tensor_first(state, TV_STATE_WORDS)},
                     .specialization = {tv_row_workgroup(recorder, FINISH_LOCAL)},
                     .specialization_count = 1,
                     .shape = {total}});
}

tv_status tv_adamw_record(tv_recorder *recorder, const tv_adamw *update) {
    const uint64_t bytes[] = {sizeof(float)};
    uint64_t part;
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "adamw", update->count, bytes, 1, &part));
    for (uint64_t first = 0; first < update->count; first += part) {
        uint64_t size = tv_min_u64(part, update->count - first);
        bool vectors = size % 4 == 0;
        tv_adamw_push push = {(uint32_t)size, update->decay};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = vectors ? TV_PROGRAM_adamw_vec4 : TV_PROGRAM_adamw_scalar,
                                   .push = &push,
                                   .invocations = tv_div_up(vectors ? size / 4 : size, TV_ADAMW_VECTORS),
                                   .bindings = {tv_tensor_rows(update->parameter, 1, first, size),
                                                tv_tensor_rows(update->gradient, 1, first, size),
                                                tv_tensor_rows(update->m, 1, first, size),
                                                tv_tensor_rows(update->v, 1, first, size),
                                                tv_tensor_first(update->step, TV_STEP_WORDS),
                                                tv_tensor_first(update->state, TV_STATE_WORDS)},
                                   .shape = {size}}));
    }
    return TV_OK;
}
