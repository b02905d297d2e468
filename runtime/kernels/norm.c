/* Launchers of LayerNorm and RMSNorm: see norm.h. */
#include "kernels/norm.h"

#include "push_constants.h"

/* Gradients of gain and bias are summed over at most MAX_CHUNKS chunks of rows, so that the second stage
 * stays short, of at least MIN_CHUNK_ROWS rows, so that the partial sums take a small part of the traffic of
 * the first. */
enum { MIN_CHUNK_ROWS = 32, MAX_CHUNKS = 256, COLUMN_LOCAL_SIZE = 64 };

typedef struct variant {
    tv_program_id forward, backward, partials;
} variant;

/* [kind][rows of whole vec4s] */
static const variant variants[2][2] = {
    [TV_NORM_LAYER] = {{TV_PROGRAM_norm_forward_layer, TV_PROGRAM_norm_backward_layer,
                        TV_PROGRAM_norm_partials_layer},
                       {TV_PROGRAM_norm_forward_layer_vec4, TV_PROGRAM_norm_backward_layer_vec4,
                        TV_PROGRAM_norm_partials_layer_vec4}},
    [TV_NORM_RMS] = {{TV_PROGRAM_norm_forward_rms, TV_PROGRAM_norm_backward_rms,
                      TV_PROGRAM_norm_partials_rms},
                     {TV_PROGRAM_norm_forward_rms_vec4, TV_PROGRAM_norm_backward_rms_vec4,
                      TV_PROGRAM_norm_partials_rms_vec4}},
};

static const variant *choose_variant(tv_norm_kind kind, uint64_t channels) {
    return &variants[kind][channels % 4 == 0];
}

/* About four vec4s for each invocation: fewer leave lanes idle, more make long loops. */
static uint32_t row_local_size(const tv_recorder *recorder, uint64_t channels) {
    return tv_row_workgroup(recorder, channels <= 1024 ? 64 : channels <= 4096 ? 128 : 256);
}

/* What a kernel declares as written and does not touch here: bound to a tensor that the same dispatch writes,
 * because the one buffer of all absent bindings would look like a race between dispatches. */
static tv_tensor written_or(tv_tensor tensor, tv_tensor other) {
    return tv_tensor_present(tensor) ? tensor : other;
}

/* Rows that every (rows, C) and (rows) tensor of a norm can bind at once. */
static tv_status split(const tv_recorder *recorder, uint64_t rows, uint64_t channels, tv_dtype dtype,
                       uint64_t *part) {
    const uint64_t bytes[] = {channels * tv_dtype_bytes(dtype), sizeof(float)};
    return tv_split_rows(recorder, "norm", rows, bytes, 2, part);
}

tv_status tv_norm_forward_record(tv_recorder *recorder, const tv_norm_forward *norm) {
    bool has_residual = tv_tensor_present(norm->residual);
    if (has_residual && !tv_tensor_present(norm->sum))
        return tv_fail(TV_E_USAGE, "norm: with a residual it needs a tensor for the sum, and none was given");
    uint64_t channels = norm->channels, most;
    TV_RETURN_IF_FAILED(split(recorder, norm->rows, channels, norm->input.dtype, &most));
    tv_part part = {0};
    while (tv_next_part(&part, norm->rows, most)) {
        tv_norm_push push = {.rows = (uint32_t)part.count,
                             .channels = (uint32_t)channels,
                             .has_residual = has_residual,
                             .has_bias = tv_tensor_present(norm->bias),
                             .eps = norm->eps,
                             .gain_offset = norm->gain_from_one ? 1.0F : 0.0F};
        tv_tensor input = tv_tensor_rows(norm->input, channels, part.first, part.count);
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){
                .program = choose_variant(norm->kind, channels)->forward,
                .push = &push,
                .groups = part.count,
                .bindings = {input, tv_tensor_rows(norm->residual, channels, part.first, part.count),
                             tv_tensor_first(norm->gain, channels), tv_tensor_first(norm->bias, channels),
                             has_residual ? tv_tensor_rows(norm->sum, channels, part.first, part.count)
                                          : input,
                             tv_tensor_rows(norm->output, channels, part.first, part.count),
                             tv_tensor_rows(norm->mean, 1, part.first, part.count),
                             tv_tensor_rows(norm->rstd, 1, part.first, part.count)},
                .specialization = {row_local_size(recorder, channels)},
                .specialization_count = 1,
                .shape = {part.count, channels}}));
    }
    return TV_OK;
}

uint64_t tv_norm_backward_scratch(uint64_t rows, uint64_t channels) {
    return tv_min_u64(tv_div_up(rows, MIN_CHUNK_ROWS), MAX_CHUNKS) * 2 * channels * sizeof(float);
}

/* d_gain and d_bias of some rows: partial sums of chunks, then their sum. */
static tv_status record_gradients(tv_recorder *recorder, const tv_norm_backward *norm, tv_part part) {
    uint64_t channels = norm->channels;
    uint64_t rows_per_chunk = tv_max_u64(MIN_CHUNK_ROWS, tv_div_up(part.count, MAX_CHUNKS));
    uint64_t chunks = tv_div_up(part.count, rows_per_chunk);
    tv_norm_partials_push push = {.rows = (uint32_t)part.count,
                                  .channels = (uint32_t)channels,
                                  .rows_per_chunk = (uint32_t)rows_per_chunk,
                                  .chunks = (uint32_t)chunks,
                                  .has_gain = tv_tensor_present(norm->d_gain),
                                  .has_bias = tv_tensor_present(norm->d_bias)};
    tv_tensor partials = tv_tensor_rows((tv_tensor){norm->scratch.span, TV_F32}, 2 * channels, 0, chunks);
    uint32_t local_size = tv_row_workgroup(recorder, COLUMN_LOCAL_SIZE);
    uint64_t columns = channels % 4 == 0 ? channels / 4 : channels;
    TV_RETURN_IF_FAILED(tv_launch_record(
        recorder, &(tv_launch){.program = choose_variant(norm->kind, channels)->partials,
                               .push = &push,
                               .groups = chunks * tv_div_up(columns, local_size),
                               .bindings = {tv_tensor_rows(norm->d_output, channels, part.first, part.count),
                                            tv_tensor_rows(norm->sum, channels, part.first, part.count),
                                            tv_tensor_rows(norm->mean, 1, part.first, part.count),
                                            tv_tensor_rows(norm->rstd, 1, part.first, part.count), partials},
                               .specialization = {local_size},
                               .specialization_count = 1,
                               .shape = {part.count, channels}}));
    return tv_launch_record(
        recorder,
        &(tv_launch){.program = TV_PROGRAM_norm_gradients_base,
                     .push = &push,
                     .invocations = 2 * channels,
                     .bindings = {partials, tv_tensor_first(written_or(norm->d_gain, norm->d_bias), channels),
                                  tv_tensor_first(written_or(norm->d_bias, norm->d_gain), channels)},
                     .shape = {chunks, channels}});
}

tv_status tv_norm_backward_record(tv_recorder *recorder, const tv_norm_backward *norm) {
    uint64_t channels = norm->channels, most;
    if (norm->kind == TV_NORM_RMS && tv_tensor_present(norm->d_bias))
        return tv_fail(TV_E_USAGE, "norm: RMSNorm has no bias, and a gradient for one was given");
    uint64_t scratch = tv_norm_backward_scratch(norm->rows, channels);
    if (norm->scratch.span.bytes < scratch)
        return tv_fail(TV_E_USAGE, "norm: the scratch tensor has %llu bytes and %llu are needed",
                       (unsigned long long)norm->scratch.span.bytes, (unsigned long long)scratch);
    TV_RETURN_IF_FAILED(split(recorder, norm->rows, channels, norm->d_output.dtype, &most));
    tv_part part = {0};
    while (tv_next_part(&part, norm->rows, most)) {
        /* Before d_sum is written, so that it may lie over d_output. */
        if (tv_tensor_present(norm->d_gain) || tv_tensor_present(norm->d_bias))
            TV_RETURN_IF_FAILED(record_gradients(recorder, norm, part));
        if (!tv_tensor_present(norm->d_sum))
            continue;
        tv_norm_push push = {.rows = (uint32_t)part.count,
                             .channels = (uint32_t)channels,
                             .has_residual = tv_tensor_present(norm->d_residual),
                             .gain_offset = norm->gain_from_one ? 1.0F : 0.0F};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){.program = choose_variant(norm->kind, channels)->backward,
                         .push = &push,
                         .groups = part.count,
                         .bindings = {tv_tensor_rows(norm->d_output, channels, part.first, part.count),
                                      tv_tensor_rows(norm->sum, channels, part.first, part.count),
                                      tv_tensor_first(norm->gain, channels),
                                      tv_tensor_rows(norm->mean, 1, part.first, part.count),
                                      tv_tensor_rows(norm->rstd, 1, part.first, part.count),
                                      tv_tensor_rows(norm->d_residual, channels, part.first, part.count),
                                      tv_tensor_rows(norm->d_sum, channels, part.first, part.count)},
                         .specialization = {row_local_size(recorder, channels)},
                         .specialization_count = 1,
                         .shape = {part.count, channels}}));
    }
    return TV_OK;
}
