/* Launchers of the embeddings: see embedding.h. */
#include "kernels/embedding.h"

#include "push_constants.h"

/* One vec4 for each invocation of a row, where a workgroup can have that many. */
static uint32_t row_local_size(const tv_recorder *recorder, uint64_t channels) {
    return tv_row_workgroup(recorder, channels <= 256 ? 64 : channels <= 512 ? 128 : 256);
}

/* Rows of a (rows, channels) tensor, and of its ids, that can be bound at once. */
static tv_status split(const tv_recorder *recorder, uint64_t rows, uint64_t channels, tv_dtype dtype,
                       uint64_t *most) {
    const uint64_t bytes[] = {channels * tv_dtype_bytes(dtype), sizeof(uint32_t)};
    return tv_split_rows(recorder, "embedding", rows, bytes, 2, most);
}

/* Rows of a table that can be bound at once. */
static tv_status split_table(const tv_recorder *recorder, uint64_t rows, uint64_t channels, tv_dtype dtype,
                             uint64_t *most) {
    const uint64_t bytes = tv_dtype_row_bytes(dtype, channels);
    return tv_split_rows(recorder, "embedding table", rows, &bytes, 1, most);
}

static tv_status check_positions(uint64_t tokens_per_row, uint64_t max_positions, tv_tensor positions,
                                 tv_tensor table) {
    if (tv_tensor_present(table) && !tv_tensor_present(positions) && tokens_per_row > max_positions)
        return tv_fail(TV_E_USAGE,
                       "embedding: sequences of %llu tokens are over the position table's %llu rows",
                       (unsigned long long)tokens_per_row, (unsigned long long)max_positions);
    return TV_OK;
}

static tv_program_id forward_program(tv_dtype dtype, uint64_t channels) {
    switch (dtype) {
    case TV_F16:
        return TV_PROGRAM_embedding_forward_f16;
    case TV_BF16:
        return TV_PROGRAM_embedding_forward_bf16;
    case TV_Q8_0:
        return TV_PROGRAM_embedding_forward_q8_0;
    case TV_Q4_0:
        return TV_PROGRAM_embedding_forward_q4_0;
    default:
        return channels % 4 == 0 ? TV_PROGRAM_embedding_forward_vec4 : TV_PROGRAM_embedding_forward_base;
    }
}

/* The rows of `part` whose token and position lie in these chunks of the tables. */
static tv_status record_forward(tv_recorder *recorder, const tv_embedding *e, tv_part part, tv_part tokens,
                                tv_part positions) {
    uint64_t channels = e->channels;
    tv_embedding_push push = {.rows = (uint32_t)part.count,
                              .channels = (uint32_t)channels,
                              .tokens_per_row = (uint32_t)e->tokens_per_row,
                              .first_position = (uint32_t)(part.first % e->tokens_per_row),
                              .vocab = (uint32_t)e->vocab,
                              .token_first = (uint32_t)tokens.first,
                              .token_count = (uint32_t)tokens.count,
                              .max_positions = (uint32_t)e->max_positions,
                              .position_first = (uint32_t)positions.first,
                              .position_count = (uint32_t)positions.count,
                              .has_positions = tv_tensor_present(e->positions),
                              .has_position_table = tv_tensor_present(e->position_table),
                              .scale = e->scale > 0 ? e->scale : 1};
    return tv_launch_record(
        recorder,
        &(tv_launch){
            .program = forward_program(e->token_table.dtype, channels),
            .push = &push,
            .groups = part.count,
            .bindings = {tv_tensor_rows(e->tokens, 1, part.first, part.count),
                         tv_tensor_rows(e->positions, 1, part.first, part.count),
                         tv_tensor_weight_rows(e->token_table, channels, tokens.first, tokens.count),
                         tv_tensor_rows(e->position_table, channels, positions.first, positions.count),
                         tv_tensor_rows(e->output, channels, part.first, part.count)},
            .specialization = {row_local_size(recorder, channels)},
            .specialization_count = 1,
            .shape = {part.count, channels}});
}

tv_status tv_embedding_forward(tv_recorder *recorder, const tv_embedding *e) {
    uint64_t most, most_tokens, most_positions;
    /* Without a position table, one empty chunk of it. */
    uint64_t positions = tv_tensor_present(e->position_table) ? e->max_positions : 1;
    TV_RETURN_IF_FAILED(
        check_positions(e->tokens_per_row, e->max_positions, e->positions, e->position_table));
    TV_RETURN_IF_FAILED(split(recorder, e->rows, e->channels, e->output.dtype, &most));
    TV_RETURN_IF_FAILED(split_table(recorder, e->vocab, e->channels, e->token_table.dtype, &most_tokens));
    TV_RETURN_IF_FAILED(
        split_table(recorder, positions, e->channels, e->position_table.dtype, &most_positions));
    tv_part part = {0};
    while (tv_next_part(&part, e->rows, most)) {
        tv_part token_chunk = {0};
        while (tv_next_part(&token_chunk, e->vocab, most_tokens)) {
            tv_part position_chunk = {0};
            while (tv_next_part(&position_chunk, positions, most_positions))
                TV_RETURN_IF_FAILED(record_forward(recorder, e, part, token_chunk, position_chunk));
        }
    }
    return TV_OK;
}

/* d_table (table_rows, C) += d_output's rows `part`, by `ids`, or where they are absent by the position in
 * the sequence. */
static tv_status record_table(tv_recorder *recorder, const tv_embedding_backward *e, tv_part part,
                              tv_tensor ids, tv_tensor d_table, uint64_t table_rows) {
    uint64_t channels = e->channels, most;
    bool by_ids = tv_tensor_present(ids), whole = channels % 4 == 0;
    tv_tensor d_output = tv_tensor_rows(e->d_output, channels, part.first, part.count);
    TV_RETURN_IF_FAILED(split_table(recorder, table_rows, channels, d_table.dtype, &most));
    tv_part chunk = {0};
    while (tv_next_part(&chunk, table_rows, most)) {
        tv_tensor table = tv_tensor_rows(d_table, channels, chunk.first, chunk.count);
        tv_embedding_scatter_push push = {.rows = (uint32_t)part.count,
                                          .channels = (uint32_t)channels,
                                          .tokens_per_row = (uint32_t)e->tokens_per_row,
                                          .first_position = (uint32_t)(part.first % e->tokens_per_row),
                                          .table_first = (uint32_t)chunk.first,
                                          .table_count = (uint32_t)chunk.count,
                                          .scale = e->scale > 0 ? e->scale : 1};
        tv_launch launch = {.push = &push,
                            .specialization = {row_local_size(recorder, channels)},
                            .specialization_count = 1,
                            .shape = {part.count, channels}};
        if (by_ids) {
            launch.program = whole ? TV_PROGRAM_embedding_scatter_vec4 : TV_PROGRAM_embedding_scatter_base;
            launch.groups = part.count;
            launch.bindings[0] = tv_tensor_rows(ids, 1, part.first, part.count);
            launch.bindings[1] = d_output;
            launch.bindings[2] = table;
        } else {
            launch.program =
                whole ? TV_PROGRAM_embedding_positions_vec4 : TV_PROGRAM_embedding_positions_base;
            launch.groups = chunk.count;
            launch.bindings[0] = d_output;
            launch.bindings[1] = table;
        }
        TV_RETURN_IF_FAILED(tv_launch_record(recorder, &launch));
    }
    return TV_OK;
}

tv_status tv_embedding_backward_record(tv_recorder *recorder, const tv_embedding_backward *e) {
    uint64_t most;
    TV_RETURN_IF_FAILED(
        check_positions(e->tokens_per_row, e->max_positions, e->positions, e->d_position_table));
    TV_RETURN_IF_FAILED(split(recorder, e->rows, e->channels, e->d_output.dtype, &most));
    tv_part part = {0};
    while (tv_next_part(&part, e->rows, most)) {
        if (tv_tensor_present(e->d_token_table))
            TV_RETURN_IF_FAILED(record_table(recorder, e, part, e->tokens, e->d_token_table, e->vocab));
        if (tv_tensor_present(e->d_position_table))
            TV_RETURN_IF_FAILED(
                record_table(recorder, e, part, e->positions, e->d_position_table,
                             tv_tensor_present(e->positions) ? e->max_positions : e->tokens_per_row));
    }
    return TV_OK;
}
