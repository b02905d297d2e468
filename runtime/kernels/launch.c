/* What every launcher shares: see launch.h. */
#include "kernels/launch.h"

#include <stdio.h>

#include "sizes.h"

tv_tensor tv_tensor_rows(tv_tensor tensor, uint64_t row_elements, uint64_t first, uint64_t rows) {
    if (!tv_tensor_present(tensor))
        return tensor;
    uint64_t row_bytes = row_elements * tv_dtype_bytes(tensor.dtype);
    tensor.span = tv_span_part(tensor.span, first * row_bytes, rows * row_bytes);
    return tensor;
}

tv_tensor tv_tensor_weight_rows(tv_tensor tensor, uint64_t columns, uint64_t first, uint64_t rows) {
    if (!tv_tensor_present(tensor))
        return tensor;
    uint64_t row_bytes = tv_dtype_row_bytes(tensor.dtype, columns);
    tensor.span = tv_span_part(tensor.span, first * row_bytes, rows * row_bytes);
    return tensor;
}

tv_tensor tv_tensor_first(tv_tensor tensor, uint64_t count) {
    return tv_tensor_rows(tensor, 1, 0, count);
}

tv_tensor tv_tensor_window(tv_tensor tensor, uint64_t first, uint64_t count, uint32_t *skip) {
    uint64_t element = tv_dtype_bytes(tensor.dtype);
    uint64_t before = first % (TV_TENSOR_ALIGNMENT / element);
    *skip = (uint32_t)before;
    tensor.span = tv_span_part(tensor.span, (first - before) * element, (before + count) * element);
    return tensor;
}

const tv_caps *tv_recorder_caps(const tv_recorder *recorder) {
    return tv_device_caps(tv_recorder_device(recorder));
}

tv_status tv_launch_record(tv_recorder *recorder, const tv_launch *launch) {
    char shape[96] = "";
    size_t used = 0;
    for (int i = 0; i < 4 && launch->shape[i]; i++)
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%s%llu", i ? "x" : "",
                                 (unsigned long long)launch->shape[i]);
    const tv_program *program = tv_program_get(launch->program);
    tv_dispatch dispatch = {
        .program = program,
        .push = launch->push,
        .groups = launch->invocations ? tv_div_up(launch->invocations, tv_max_u64(1, program->local_size))
                                      : launch->groups,
        .groups_z = launch->groups_z,
        .specialization_count = launch->specialization_count,
        .shape = used ? shape : NULL,
    };
    for (uint32_t i = 0; i < TV_MAX_BINDINGS; i++)
        dispatch.bindings[i] = launch->bindings[i].span;
    for (uint32_t i = 0; i < TV_MAX_SPECIALIZATION; i++)
        dispatch.specialization[i] = launch->specialization[i];
    if (tv_is_half(launch->halves)) {
        dispatch.specialization[1] = launch->halves;
        dispatch.specialization_count = 2;
    }
    return tv_record_dispatch(recorder, &dispatch);
}

tv_status tv_check_halves(const char *what, const tv_tensor *tensors, uint32_t count, uint64_t elements,
                          uint64_t step) {
    bool whole = elements % step == 0;
    for (uint32_t i = 1; i < count; i++)
        whole = whole && tensors[i].dtype == tensors[0].dtype;
    for (uint32_t i = 0; i < count; i++)
        if (tensors[i].dtype != TV_F32 && !(whole && tv_is_half(tensors[i].dtype)))
            return tv_fail(TV_E_USAGE,
                           "%s: activations are f32, or all f16 or bf16 in rows of a multiple of %llu, and "
                           "here one is %s in rows of %llu",
                           what, (unsigned long long)step, tv_dtype_name(tensors[i].dtype),
                           (unsigned long long)elements);
    return TV_OK;
}

tv_status tv_split_rows(const tv_recorder *recorder, const char *what, uint64_t rows,
                        const uint64_t *row_bytes, uint32_t tensors, uint64_t *rows_per_part) {
    uint64_t range = tv_recorder_caps(recorder)->storage_range;
    uint64_t largest = 1, granule = 1;
    for (uint32_t i = 0; i < tensors; i++) {
        if (row_bytes[i] == 0)
            continue;
        largest = tv_max_u64(largest, row_bytes[i]);
        /* Every part but the first starts after a multiple of `granule` rows; the granules are powers of two.
         */
        granule = tv_max_u64(granule, TV_TENSOR_ALIGNMENT / tv_gcd_u64(TV_TENSOR_ALIGNMENT, row_bytes[i]));
    }
    uint64_t fitting = range / largest;
    if (fitting >= rows) {
        *rows_per_part = rows;
        return TV_OK;
    }
    *rows_per_part = fitting / granule * granule;
    if (*rows_per_part == 0)
        return tv_fail(
            TV_E_FIT,
            "%s: rows of %llu bytes, %llu at a time, are over the %llu bytes that this device binds at once; "
            "use a smaller model or sequence",
            what, (unsigned long long)largest, (unsigned long long)granule, (unsigned long long)range);
    return TV_OK;
}

tv_status tv_split_logits(const tv_recorder *recorder, const char *what, uint64_t rows, uint64_t vocab,
                          tv_dtype dtype, uint64_t *rows_per_part) {
    uint64_t element = tv_dtype_bytes(dtype), slack = TV_TENSOR_ALIGNMENT / element - 1;
    uint64_t range = tv_recorder_caps(recorder)->storage_range, limit = range / element;
    *rows_per_part = rows;
    if (limit / vocab >= rows)
        return TV_OK;
    *rows_per_part = limit > slack ? (limit - slack) / vocab : 0;
    if (*rows_per_part == 0)
        return tv_fail(
            TV_E_FIT,
            "%s: the logits of one token take %llu bytes and this device binds %llu at once; use a "
            "smaller vocabulary",
            what, (unsigned long long)(vocab * element), (unsigned long long)range);
    return TV_OK;
}

uint32_t tv_cpu_lanes(const tv_caps *caps) {
    bool lanes = caps->subgroup_size == TV_CPU_LANES || caps->subgroup_size == TV_CPU_LANES_WIDE;
    return lanes && caps->cpu_kernels && caps->subgroup_shuffle ? (uint32_t)caps->subgroup_size : 0;
}

uint32_t tv_row_workgroup(const tv_recorder *recorder, uint32_t gpu) {
    const tv_caps *caps = tv_recorder_caps(recorder);
    return caps->cpu_kernels ? (uint32_t)caps->subgroup_size : gpu;
}

void tv_matrix_constants(const tv_caps *caps, tv_tier tier, tv_launch *launch) {
    const tv_matrix_shape *shape = &caps->matrix[tier];
    const uint32_t constants[] = {shape->m, shape->n, shape->k, (uint32_t)caps->matrix_lanes};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        launch->specialization[launch->specialization_count++] = constants[i];
}
