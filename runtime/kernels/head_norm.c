/* Launchers of the norms of query and key heads: see head_norm.h. */
#include "kernels/head_norm.h"

#include "push_constants.h"

/* As in norm.c: gradients of gains are summed over chunks of rows, whose number is bounded. */
enum { MIN_CHUNK_ROWS = 32, MAX_CHUNKS = 256, WORKGROUP = 64 };

static uint64_t qkv_row(const tv_head_norm *norm) {
    return (norm->heads + 2 * norm->kv_heads) * norm->head_size;
}

static uint64_t raw_row(const tv_head_norm *norm) {
    return (norm->heads + norm->kv_heads) * norm->head_size;
}

static tv_status split(const tv_recorder *recorder, const tv_head_norm *norm, tv_dtype dtype,
                       uint64_t *most) {
    const uint64_t bytes[] = {qkv_row(norm) * tv_dtype_bytes(dtype),
                              raw_row(norm) * tv_dtype_bytes(norm->raw.dtype),
                              (norm->heads + norm->kv_heads) * sizeof(float)};
    return tv_split_rows(recorder, "head norm", norm->rows, bytes, 3, most);
}

static tv_head_norm_push push_of(const tv_head_norm *norm, uint64_t rows) {
    return (tv_head_norm_push){.rows = (uint32_t)rows,
                               .heads = (uint32_t)norm->heads,
                               .kv_heads = (uint32_t)norm->kv_heads,
                               .head_size = (uint32_t)norm->head_size,
                               .row_stride = (uint32_t)qkv_row(norm),
                               .eps = norm->eps,
                               .gain_offset = norm->gain_from_one ? 1.0F : 0.0F};
}

/* A kernel that gives each head of a row to one workgroup. */
static tv_status record_heads(tv_recorder *recorder, const tv_head_norm *norm, tv_part part,
                              tv_program_id program, tv_tensor qkv) {
    uint64_t both = norm->heads + norm->kv_heads;
    tv_head_norm_push push = push_of(norm, part.count);
    return tv_launch_record(
        recorder, &(tv_launch){.program = program,
                               .push = &push,
                               .groups = part.count * both,
                               .bindings = {tv_tensor_rows(qkv, qkv_row(norm), part.first, part.count),
                                            tv_tensor_first(norm->q_gain, norm->head_size),
                                            tv_tensor_first(norm->k_gain, norm->head_size),
                                            tv_tensor_rows(norm->raw, raw_row(norm), part.first, part.count),
                                            tv_tensor_rows(norm->rstd, both, part.first, part.count)},
                               .specialization = {tv_row_workgroup(recorder, WORKGROUP)},
                               .specialization_count = 1,
                               .shape = {part.count, both, norm->head_size}});
}

tv_status tv_head_norm_forward(tv_recorder *recorder, const tv_head_norm *norm) {
    uint64_t most;
    TV_RETURN_IF_FAILED(split(recorder, norm, norm->qkv.dtype, &most));
    tv_part part = {0};
    while (tv_next_part(&part, norm->rows, most))
        TV_RETURN_IF_FAILED(record_heads(recorder, norm, part, TV_PROGRAM_head_norm_forward_base, norm->qkv));
    return TV_OK;
}

uint64_t tv_head_norm_scratch(uint64_t rows, uint64_t head_size) {
    return tv_min_u64(tv_div_up(rows, MIN_CHUNK_ROWS), MAX_CHUNKS) * 2 * head_size * sizeof(float);
}

static tv_status record_gains(tv_recorder *recorder, const tv_head_norm_backward *backward, tv_part part) {
    const tv_head_norm *norm = &backward->forward;
    uint64_t D = norm->head_size, both = norm->heads + norm->kv_heads;
    uint64_t rows_per_chunk = tv_max_u64(MIN_CHUNK_ROWS, tv_div_up(part.count, MAX_CHUNKS));
    uint64_t chunks = tv_div_up(part.count, rows_per_chunk);
    tv_tensor q = backward->d_q_gain, k = backward->d_k_gain;
    tv_tensor partials = tv_tensor_rows((tv_tensor){backward->scratch.span, TV_F32}, 2 * D, 0, chunks);
    tv_head_norm_push push = push_of(norm, part.count);
    push.rows_per_chunk = (uint32_t)rows_per_chunk;
    push.chunks = (uint32_t)chunks;
    TV_RETURN_IF_FAILED(tv_launch_record(
        recorder,
        &(tv_launch){.program = TV_PROGRAM_head_norm_partials_base,
                     .push = &push,
                     .invocations = chunks * 2 * D,
                     .bindings = {tv_tensor_rows(backward->d_qkv, qkv_row(norm), part.first, part.count),
                                  tv_tensor_rows(norm->raw, raw_row(norm), part.first, part.count),
                                  tv_tensor_rows(norm->rstd, both, part.first, part.count), partials},
                     .shape = {part.count, both, D}}));
    tv_norm_partials_push sum = {.rows = (uint32_t)part.count,
                                 .channels = (uint32_t)D,
                                 .rows_per_chunk = (uint32_t)rows_per_chunk,
                                 .chunks = (uint32_t)chunks,
                                 .has_gain = tv_tensor_present(q),
                                 .has_bias = tv_tensor_present(k)};
    return tv_launch_record(
        recorder, &(tv_launch){.program = TV_PROGRAM_norm_gradients_base,
                               .push = &sum,
                               .invocations = 2 * D,
                               .bindings = {partials, tv_tensor_first(tv_tensor_present(q) ? q : k, D),
                                            tv_tensor_first(tv_tensor_present(k) ? k : q, D)},
                               .shape = {chunks, D}});
}

tv_status tv_head_norm_backward_record(tv_recorder *recorder, const tv_head_norm_backward *backward) {
    const tv_head_norm *norm = &backward->forward;
    uint64_t most, scratch = tv_head_norm_scratch(norm->rows, norm->head_size);
    bool gains = tv_tensor_present(backward->d_q_gain) || tv_tensor_present(backward->d_k_gain);
    if (gains && backward->scratch.span.bytes < scratch)
        return tv_fail(TV_E_USAGE, "head norm: the scratch tensor has %llu bytes and %llu are needed",
                       (unsigned long long)backward->scratch.span.bytes, (unsigned long long)scratch);
    TV_RETURN_IF_FAILED(split(recorder, norm, backward->d_qkv.dtype, &most));
    tv_part part = {0};
    while (tv_next_part(&part, norm->rows, most)) {
        if (gains)
            TV_RETURN_IF_FAILED(record_gains(recorder, backward, part));
        if (!backward->gains_alone)
            TV_RETURN_IF_FAILED(
                record_heads(recorder, norm, part, TV_PROGRAM_head_norm_backward_base, backward->d_qkv));
    }
    return TV_OK;
}
