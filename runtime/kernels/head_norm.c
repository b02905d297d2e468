/* Launchers of the norms of query and key heads: see head_norm.h. */
#include "kernels/head_norm.h"

#include "push_constants.h"

enum { WORKGROUP = 64 };

static uint64_t qkv_row(const tv_head_norm *norm) {
    return (norm->heads + 2 * norm->kv_heads) * norm->head_size;
}

static uint64_t raw_row(const tv_head_norm *norm) {
    return (norm->heads + norm->kv_heads) * norm->head_size;
}

static tv_status split(const tv_recorder *recorder, const tv_head_norm *norm, tv_tensor qkv, uint64_t *most) {
    TV_RETURN_IF_FAILED(
        tv_check_halves("head norm", (const tv_tensor[]){qkv, norm->raw}, 2, norm->head_size, 2));
    const uint64_t bytes[] = {qkv_row(norm) * tv_dtype_bytes(qkv.dtype),
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
                               .halves = qkv.dtype,
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
    TV_RETURN_IF_FAILED(split(recorder, norm, norm->qkv, &most));
    tv_part part = {0};
    while (tv_next_part(&part, norm->rows, most))
        TV_RETURN_IF_FAILED(record_heads(recorder, norm, part,
                                         tv_is_half(norm->qkv.dtype)
                                             ? TV_PROGRAM_head_norm_forward_halves_base
                                             : TV_PROGRAM_head_norm_forward_base,
                                         norm->qkv));
    return TV_OK;
}

/* Before d_qkv is overwritten. */
static tv_status record_gains(tv_recorder *recorder, const tv_head_norm_backward *backward) {
    const tv_head_norm *norm = &backward->forward;
    uint64_t D = norm->head_size, both = norm->heads + norm->kv_heads;
    const uint64_t row_bytes[] = {qkv_row(norm) * tv_dtype_bytes(backward->d_qkv.dtype),
                                  raw_row(norm) * tv_dtype_bytes(norm->raw.dtype), both * sizeof(float)};
    const tv_tensor gradients[] = {backward->d_q_gain, backward->d_k_gain};
    const bool has_q = tv_tensor_present(gradients[0]), has_k = tv_tensor_present(gradients[1]);
    tv_column_chunks chunks;
    tv_tensor partials;
    if (!has_q && !has_k)
        return TV_OK;
    TV_RETURN_IF_FAILED(
        tv_column_chunks_choose(recorder, "head norm", norm->rows, row_bytes, 3, 2 * D, &chunks));
    TV_RETURN_IF_FAILED(tv_column_sums_place(recorder, backward->sums, &chunks, D, gradients, 2, &partials));
    tv_part part = {0};
    while (tv_next_part(&part, norm->rows, chunks.most)) {
        tv_head_norm_push push = push_of(norm, part.count);
        push.rows_per_chunk = (uint32_t)chunks.rows;
        push.chunks = (uint32_t)chunks.chunks;
        push.first_chunk = (uint32_t)(part.first / chunks.rows);
        push.has_q = has_q;
        push.has_k = has_k;
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){.program = tv_is_half(backward->d_qkv.dtype)
                                        ? TV_PROGRAM_head_norm_partials_halves_base
                                        : TV_PROGRAM_head_norm_partials_base,
                         .halves = backward->d_qkv.dtype,
                         .push = &push,
                         .invocations = tv_div_up(part.count, chunks.rows) * 2 * D,
                         .bindings = {tv_tensor_rows(backward->d_qkv, qkv_row(norm), part.first, part.count),
                                      tv_tensor_rows(norm->raw, raw_row(norm), part.first, part.count),
                                      tv_tensor_rows(norm->rstd, both, part.first, part.count), partials},
                         .shape = {part.count, both, D}}));
    }
    return TV_OK;
}

tv_status tv_head_norm_backward_record(tv_recorder *recorder, const tv_head_norm_backward *backward) {
    const tv_head_norm *norm = &backward->forward;
    uint64_t most;
    TV_RETURN_IF_FAILED(split(recorder, norm, backward->d_qkv, &most));
    TV_RETURN_IF_FAILED(record_gains(recorder, backward));
    if (backward->gains_alone)
        return TV_OK;
    tv_part part = {0};
    while (tv_next_part(&part, norm->rows, most))
        TV_RETURN_IF_FAILED(record_heads(recorder, norm, part,
                                         tv_is_half(backward->d_qkv.dtype)
                                             ? TV_PROGRAM_head_norm_backward_halves_base
                                             : TV_PROGRAM_head_norm_backward_base,
                                         backward->d_qkv));
    return TV_OK;
}
