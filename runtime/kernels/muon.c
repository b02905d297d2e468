/* Launchers of Muon: see muon.h. */
#include "kernels/muon.h"

#include <math.h>
#include <stddef.h>

#include "kernels/matmul.h"
#include "push_constants.h"
#include "sizes.h"

enum {
    BLOCK_LOCAL = 256,
    STEPS = 5,
};
/* Jordan et al. 2024: the steepest slope at 0 of an odd polynomial of degree 5 that keeps (0, 1] near 1. */
static const float coefficient_a = 3.4445f, coefficient_b = -4.7750f, coefficient_c = 2.0315f;
static const uint64_t granule = TV_TENSOR_ALIGNMENT / sizeof(float);

/* Elements between the matrices of a batch. */
static uint64_t stride_of(uint64_t rows, uint64_t columns) {
    return TV_MUON_STRIDE(rows * columns);
}

static uint64_t partials_of(uint64_t elements) {
    return TV_MUON_STRIDE(tv_div_up(elements, TV_REDUCE_BLOCK));
}

void tv_muon_workspace(uint64_t rows, uint64_t columns, uint64_t count, uint64_t floats[TV_MUON_TENSORS]) {
    uint64_t side = tv_min_u64(rows, columns);
    floats[TV_MUON_UPDATE] = floats[TV_MUON_OTHER] = count * stride_of(rows, columns);
    floats[TV_MUON_GRAM] = floats[TV_MUON_POLYNOMIAL] = count * stride_of(side, side);
    floats[TV_MUON_PARTIALS] = count * partials_of(rows * columns);
}

/* Elements of a matrix that are bound at once: whole blocks, with room for a beginning that is not aligned.
 */
static tv_status part_of(const tv_recorder *recorder, uint64_t *elements) {
    uint64_t range = tv_recorder_caps(recorder)->storage_range / sizeof(float);
    *elements = (range - tv_min_u64(range, granule)) / TV_REDUCE_BLOCK * TV_REDUCE_BLOCK;
    if (*elements == 0)
        return tv_fail(TV_E_FIT, "muon needs bindings of %llu bytes and this device binds %llu",
                       (unsigned long long)((TV_REDUCE_BLOCK + granule) * sizeof(float)),
                       (unsigned long long)(range * sizeof(float)));
    return TV_OK;
}

/* `count` elements of a matrix, from element `first` of it on. */
static tv_span elements_of(tv_tensor tensor, const tv_muon_matrix *matrix, tv_part part) {
    return tv_span_part(tensor.span, (matrix->first + part.first) * sizeof(float),
                        part.count * sizeof(float));
}

/* What one dispatch of momentum, and one of the step, takes: matrices whose tensors lie in the same buffers,
 * as far as the device binds all from the first to the last, or a part of one. */
typedef struct group {
    uint64_t number, count; /* of matrices */
    tv_part part;           /* of each */
    tv_span gradient, moment, parameter;
} group;

static bool is_bound(const tv_recorder *recorder, tv_span span) {
    return !tv_span_poisoned(span) &&
           span.bytes + TV_TENSOR_ALIGNMENT <= tv_recorder_caps(recorder)->storage_range;
}

static group group_from(const tv_recorder *recorder, const tv_muon *u, uint64_t number, tv_part part) {
    const tv_caps *caps = tv_recorder_caps(recorder);
    const tv_muon_matrix *matrix = &u->matrices[number];
    group g = {number,
               1,
               part,
               elements_of(matrix->gradient, matrix, part),
               elements_of(matrix->moment, matrix, part),
               elements_of(matrix->parameter, matrix, part)};
    if (part.count < u->rows * u->columns)
        return g;
    const uint64_t most = tv_min_u64(tv_min_u64(TV_MUON_MATRICES, caps->group_count_z), u->count - number),
                   update_bytes = stride_of(u->rows, u->columns) * sizeof(float);
    while (g.count < most && (g.count + 1) * update_bytes <= caps->storage_range) {
        matrix = &u->matrices[number + g.count];
        tv_span gradient = tv_span_hull(g.gradient, elements_of(matrix->gradient, matrix, part)),
                moment = tv_span_hull(g.moment, elements_of(matrix->moment, matrix, part)),
                parameter = tv_span_hull(g.parameter, elements_of(matrix->parameter, matrix, part));
        if (!is_bound(recorder, gradient) || !is_bound(recorder, moment) || !is_bound(recorder, parameter))
            break;
        g.gradient = gradient;
        g.moment = moment;
        g.parameter = parameter;
        g.count++;
    }
    return g;
}

/* The binding from the aligned byte before the span on, and where each matrix begins in it. */
static tv_tensor bind(tv_span span, uint32_t *places, const group *g, const tv_muon *u,
                      size_t offset_of_tensor) {
    uint64_t before = span.offset % TV_TENSOR_ALIGNMENT;
    for (uint64_t i = 0; i < g->count; i++) {
        const tv_muon_matrix *matrix = &u->matrices[g->number + i];
        const tv_tensor *tensor = (const tv_tensor *)((const char *)matrix + offset_of_tensor);
        places[i] =
            (uint32_t)((elements_of(*tensor, matrix, g->part).offset - span.offset + before) / sizeof(float));
    }
    span.offset -= before;
    if (!tv_span_poisoned(span))
        span.bytes += before;
    return (tv_tensor){span, TV_F32};
}

static tv_status record_momentum(tv_recorder *recorder, const tv_muon *u, const group *g) {
    const uint64_t elements = u->rows * u->columns, blocks = tv_div_up(g->part.count, TV_REDUCE_BLOCK),
                   at = g->number * stride_of(u->rows, u->columns) + g->part.first,
                   pair = g->number * partials_of(elements) + g->part.first / TV_REDUCE_BLOCK,
                   updates = (g->count - 1) * stride_of(u->rows, u->columns) + g->part.count,
                   sums = (g->count - 1) * partials_of(elements) + blocks;
    tv_muon_momentum_push push = {.matrices = (uint32_t)g->count, .count = (uint32_t)g->part.count};
    return tv_launch_record(
        recorder,
        &(tv_launch){
            .program = TV_PROGRAM_muon_momentum_base,
            .push = &push,
            .groups = blocks,
            .groups_z = (uint32_t)g->count,
            .bindings = {bind(g->gradient, push.gradients, g, u, offsetof(tv_muon_matrix, gradient)),
                         bind(g->moment, push.moments, g, u, offsetof(tv_muon_matrix, moment)),
                         tv_tensor_rows(u->workspace[TV_MUON_UPDATE], 1, at, updates),
                         tv_tensor_window(u->workspace[TV_MUON_PARTIALS], pair, sums, &push.first_partial),
                         tv_tensor_first(u->step, TV_STEP_WORDS), tv_tensor_first(u->state, TV_STATE_WORDS)},
            .specialization = {tv_row_workgroup(recorder, BLOCK_LOCAL)},
            .specialization_count = 1,
            .shape = {u->rows, u->columns, g->count}});
}

/* How many matrices of a workspace's tensor one dispatch takes: all, or one where they are over a binding. */
static uint64_t matrices_at_once(const tv_recorder *recorder, uint64_t count, uint64_t stride) {
    const tv_caps *caps = tv_recorder_caps(recorder);
    return count * stride * sizeof(float) <= caps->storage_range && count <= caps->group_count_z ? count : 1;
}

static tv_status record_scale(tv_recorder *recorder, const tv_muon *u) {
    const uint64_t elements = u->rows * u->columns, stride = stride_of(u->rows, u->columns),
                   partials = partials_of(elements), blocks = tv_div_up(elements, TV_REDUCE_BLOCK);
    uint64_t most, each = matrices_at_once(recorder, u->count, stride);
    TV_RETURN_IF_FAILED(part_of(recorder, &most));
    if (each > 1)
        most = elements;
    for (uint64_t number = 0; number < u->count; number += each) {
        tv_part part = {0};
        while (tv_next_part(&part, elements, most)) {
            tv_muon_scale_push push = {(uint32_t)each, (uint32_t)part.count, (uint32_t)stride,
                                       (uint32_t)blocks, (uint32_t)partials};
            TV_RETURN_IF_FAILED(tv_launch_record(
                recorder,
                &(tv_launch){
                    .program = TV_PROGRAM_muon_scale_base,
                    .push = &push,
                    .groups = tv_div_up(part.count, (uint64_t)TV_MUON_SCALE_BLOCKS * TV_REDUCE_BLOCK),
                    .groups_z = (uint32_t)each,
                    .bindings = {tv_tensor_rows(u->workspace[TV_MUON_UPDATE], 1, number * stride + part.first,
                                                (each - 1) * stride + part.count),
                                 tv_tensor_rows(u->workspace[TV_MUON_PARTIALS], 1, number * partials,
                                                (each - 1) * partials + blocks)},
                    .specialization = {tv_row_workgroup(recorder, BLOCK_LOCAL)},
                    .specialization_count = 1,
                    .shape = {u->rows, u->columns, each}}));
        }
    }
    return TV_OK;
}

static tv_status record_polynomial(tv_recorder *recorder, const tv_muon *u, uint64_t side) {
    const uint64_t bytes[] = {side * sizeof(float)}, stride = stride_of(side, side);
    uint64_t most, each = matrices_at_once(recorder, u->count, stride);
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "muon", side, bytes, 1, &most));
    for (uint64_t number = 0; number < u->count; number += each) {
        tv_part part = {0};
        while (tv_next_part(&part, side, most)) {
            tv_muon_polynomial_push push = {(uint32_t)each,       (uint32_t)part.count, (uint32_t)side,
                                            (uint32_t)part.first, (uint32_t)stride,     coefficient_a,
                                            coefficient_b};
            uint64_t at = number * stride + part.first * side, count = part.count * side;
            TV_RETURN_IF_FAILED(tv_launch_record(
                recorder, &(tv_launch){.program = TV_PROGRAM_muon_polynomial_base,
                                       .push = &push,
                                       .invocations = count,
                                       .groups_z = (uint32_t)each,
                                       .bindings = {tv_tensor_rows(u->workspace[TV_MUON_GRAM], 1, at,
                                                                   (each - 1) * stride + count),
                                                    tv_tensor_rows(u->workspace[TV_MUON_POLYNOMIAL], 1, at,
                                                                   (each - 1) * stride + count)},
                                       .shape = {part.count, side, each}}));
        }
    }
    return TV_OK;
}

/* One step of Newton-Schulz, from x to `to`. */
static tv_status record_step(tv_recorder *recorder, const tv_muon *u, tv_tensor x, tv_tensor to) {
    const uint64_t R = u->rows, C = u->columns, side = tv_min_u64(R, C), long_side = tv_max_u64(R, C);
    const uint64_t stride = stride_of(R, C), square = stride_of(side, side);
    const bool wide = R <= C;
    const tv_tensor gram = u->workspace[TV_MUON_GRAM], polynomial = u->workspace[TV_MUON_POLYNOMIAL];
    TV_RETURN_IF_FAILED(tv_matmul_record(recorder, &(tv_matmul){.m = side,
                                                                .n = side,
                                                                .k = long_side,
                                                                .transpose_a = !wide,
                                                                .transpose_b = wide,
                                                                .batch = u->count,
                                                                .stride_a = stride,
                                                                .stride_b = stride,
                                                                .stride_c = square,
                                                                .a = x,
                                                                .b = x,
                                                                .c = gram}));
    TV_RETURN_IF_FAILED(record_polynomial(recorder, u, side));
    TV_RETURN_IF_FAILED(tv_matmul_record(recorder, &(tv_matmul){.m = side,
                                                                .n = side,
                                                                .k = side,
                                                                .accumulate = true,
                                                                .scale = coefficient_c,
                                                                .batch = u->count,
                                                                .stride_a = square,
                                                                .stride_b = square,
                                                                .stride_c = square,
                                                                .a = gram,
                                                                .b = gram,
                                                                .c = polynomial}));
    return tv_matmul_record(recorder, &(tv_matmul){.m = R,
                                                   .n = C,
                                                   .k = side,
                                                   .batch = u->count,
                                                   .stride_a = wide ? square : stride,
                                                   .stride_b = wide ? stride : square,
                                                   .stride_c = stride,
                                                   .a = wide ? polynomial : x,
                                                   .b = wide ? x : polynomial,
                                                   .c = to});
}

static tv_status record_apply(tv_recorder *recorder, const tv_muon *u, const group *g, tv_tensor x) {
    const uint64_t at = g->number * stride_of(u->rows, u->columns) + g->part.first,
                   updates = (g->count - 1) * stride_of(u->rows, u->columns) + g->part.count;
    tv_muon_apply_push push = {.matrices = (uint32_t)g->count,
                               .count = (uint32_t)g->part.count,
                               .scale = (float)sqrt((double)tv_max_u64(u->rows, u->columns))};
    for (uint64_t i = 0; i < g->count; i++)
        push.decays |= (uint32_t)u->matrices[g->number + i].decay << i;
    return tv_launch_record(recorder, &(tv_launch){.program = TV_PROGRAM_muon_apply_base,
                                                   .push = &push,
                                                   .invocations = g->part.count,
                                                   .groups_z = (uint32_t)g->count,
                                                   .bindings = {bind(g->parameter, push.parameters, g, u,
                                                                     offsetof(tv_muon_matrix, parameter)),
                                                                tv_tensor_rows(x, 1, at, updates),
                                                                tv_tensor_first(u->step, TV_STEP_WORDS),
                                                                tv_tensor_first(u->state, TV_STATE_WORDS)},
                                                   .shape = {u->rows, u->columns, g->count}});
}

/* Of every group: momentum, or with `x` the step. */
static tv_status record_groups(tv_recorder *recorder, const tv_muon *u, const tv_tensor *x) {
    uint64_t most;
    TV_RETURN_IF_FAILED(part_of(recorder, &most));
    for (uint64_t number = 0, count; number < u->count; number += count) {
        tv_part part = {0};
        count = 1;
        while (tv_next_part(&part, u->rows * u->columns, most)) {
            const group g = group_from(recorder, u, number, part);
            TV_RETURN_IF_FAILED(x ? record_apply(recorder, u, &g, *x) : record_momentum(recorder, u, &g));
            count = g.count;
        }
    }
    return TV_OK;
}

tv_status tv_muon_record(tv_recorder *recorder, const tv_muon *u) {
    tv_tensor x = u->workspace[TV_MUON_UPDATE], next = u->workspace[TV_MUON_OTHER];
    TV_RETURN_IF_FAILED(record_groups(recorder, u, NULL));
    TV_RETURN_IF_FAILED(record_scale(recorder, u));
    for (int step = 0; step < STEPS; step++) {
        TV_RETURN_IF_FAILED(record_step(recorder, u, x, next));
        tv_tensor written = next;
        next = x;
        x = written;
    }
    return record_groups(recorder, u, &x);
}
