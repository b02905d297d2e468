/* Launchers of LayerNorm and RMSNorm: see norm.h. */
#include "kernels/norm.h"

#include "kernels/texels.h"
#include "push_constants.h"

enum {
    COLUMN_LOCAL_SIZE = 64,
    CHUNK_LOCAL_SIZE = 1024, /* at most, of a workgroup that has a row's vec4s in its lanes */
    MOST_TEXELS = 8,         /* of a lane in a row, where these stay in registers */
};

typedef struct variant {
    tv_program_id forward, backward, partials;
} variant;

/* [kind][rows of whole vec4s, and these with halves] */
static const variant variants[2][3] = {
    [TV_NORM_LAYER] = {{TV_PROGRAM_norm_forward_layer, TV_PROGRAM_norm_backward_layer,
                        TV_PROGRAM_norm_partials_layer},
                       {TV_PROGRAM_norm_forward_layer_vec4, TV_PROGRAM_norm_backward_layer_vec4,
                        TV_PROGRAM_norm_partials_layer_vec4},
                       {TV_PROGRAM_norm_forward_halves_layer_vec4, TV_PROGRAM_norm_backward_halves_layer_vec4,
                        TV_PROGRAM_norm_partials_halves_layer_vec4}},
    [TV_NORM_RMS] = {{TV_PROGRAM_norm_forward_rms, TV_PROGRAM_norm_backward_rms,
                      TV_PROGRAM_norm_partials_rms},
                     {TV_PROGRAM_norm_forward_rms_vec4, TV_PROGRAM_norm_backward_rms_vec4,
                      TV_PROGRAM_norm_partials_rms_vec4},
                     {TV_PROGRAM_norm_forward_halves_rms_vec4, TV_PROGRAM_norm_backward_halves_rms_vec4,
                      TV_PROGRAM_norm_partials_halves_rms_vec4}},
};

/* `narrow`: of the output or its gradient. */
static const variant *choose_variant(tv_norm_kind kind, uint64_t channels, tv_dtype narrow) {
    return &variants[kind][tv_is_half(narrow) ? 2 : channels % 4 == 0];
}

/* About four vec4s for each invocation: fewer leave lanes idle, more make long loops. */
static uint32_t row_local_size(const tv_recorder *recorder, uint64_t channels) {
    return tv_row_workgroup(recorder, channels <= 1024 ? 64 : channels <= 4096 ? 128 : 256);
}

/* Rows that every (rows, C) and (rows) tensor of a norm can bind at once. */
static tv_status split(const tv_recorder *recorder, uint64_t rows, uint64_t channels, tv_tensor narrow,
                       uint64_t *part) {
    const uint64_t bytes[] = {channels * sizeof(float), channels * tv_dtype_bytes(narrow.dtype),
                              sizeof(float)};
    TV_RETURN_IF_FAILED(tv_check_halves("norm", &narrow, 1, channels, 4));
    return tv_split_rows(recorder, "norm", rows, bytes, 3, part);
}

uint32_t tv_norm_texels_of_lane(const tv_recorder *recorder, const tv_norm_forward *norm, uint64_t rows) {
    uint64_t lanes = tv_cpu_lanes(tv_recorder_caps(recorder)), width = norm->channels / 4;
    if (lanes == 0 || norm->channels % 4 != 0 || width == 0 || width > MOST_TEXELS * lanes ||
        tv_is_half(norm->output.dtype) || rows * width > tv_recorder_texels(recorder))
        return 0;
    return (uint32_t)tv_div_up(width, lanes);
}

/* What is absent is bound as something that is there. */
static void read_texels(tv_launch *launch, tv_norm_kind kind, const tv_norm_push *push, uint32_t each) {
    launch->program =
        kind == TV_NORM_RMS ? TV_PROGRAM_norm_forward_texels_rms : TV_PROGRAM_norm_forward_texels_layer;
    if (!push->has_residual)
        launch->bindings[1] = launch->bindings[0];
    if (!push->has_bias)
        launch->bindings[3] = launch->bindings[2];
    const uint32_t constants[] = {each, push->has_residual, push->has_bias};
    for (size_t i = 0; i < TV_COUNT(constants); i++)
        launch->specialization[launch->specialization_count++] = constants[i];
}

tv_status tv_norm_forward_record(tv_recorder *recorder, const tv_norm_forward *norm) {
    bool has_residual = tv_tensor_present(norm->residual);
    if (has_residual && !tv_tensor_present(norm->sum))
        return tv_fail(TV_E_USAGE, "norm: with a residual it needs a tensor for the sum, and none was given");
    uint64_t channels = norm->channels, most;
    TV_RETURN_IF_FAILED(split(recorder, norm->rows, channels, norm->output, &most));
    tv_part part = {0};
    while (tv_next_part(&part, norm->rows, most)) {
        tv_norm_push push = {.rows = (uint32_t)part.count,
                             .channels = (uint32_t)channels,
                             .has_residual = has_residual,
                             .has_bias = tv_tensor_present(norm->bias),
                             .eps = norm->eps,
                             .gain_offset = norm->gain_from_one ? 1.0F : 0.0F};
        tv_tensor input = tv_tensor_rows(norm->input, channels, part.first, part.count);
        tv_launch launch = {
            .program = choose_variant(norm->kind, channels, norm->output.dtype)->forward,
            .halves = norm->output.dtype,
            .push = &push,
            .groups = part.count,
            .bindings = {input, tv_tensor_rows(norm->residual, channels, part.first, part.count),
                         tv_tensor_first(norm->gain, channels), tv_tensor_first(norm->bias, channels),
                         has_residual ? tv_tensor_rows(norm->sum, channels, part.first, part.count) : input,
                         tv_tensor_rows(norm->output, channels, part.first, part.count),
                         tv_tensor_rows(norm->mean, 1, part.first, part.count),
                         tv_tensor_rows(norm->rstd, 1, part.first, part.count)},
            .specialization = {row_local_size(recorder, channels)},
            .specialization_count = 1,
            .shape = {part.count, channels}};
        uint32_t each = tv_norm_texels_of_lane(recorder, norm, part.count);
        if (each > 0)
            read_texels(&launch, norm->kind, &push, each);
        TV_RETURN_IF_FAILED(tv_launch_record(recorder, &launch));
    }
    return TV_OK;
}

/* Chunks of rows and their place, for what is asked for of d_gain, d_bias and, with d_sum, d_columns. */
typedef struct chunked {
    tv_column_chunks chunks;
    tv_tensor partials; /* absent where no sums are asked for */
    tv_norm_partials_push push;
} chunked;

static tv_status place_sums(tv_recorder *recorder, const tv_norm_backward *norm, bool with_d_sum,
                            chunked *c) {
    const uint64_t channels = norm->channels;
    const uint64_t row_bytes[] = {channels * tv_dtype_bytes(norm->d_output.dtype),
                                  channels * tv_dtype_bytes(norm->sum.dtype), sizeof(float)};
    const tv_tensor gradients[] = {norm->d_gain, norm->d_bias, with_d_sum ? norm->d_columns : TV_ABSENT};
    *c = (chunked){.push = {.channels = (uint32_t)channels,
                            .has_gain = tv_tensor_present(gradients[0]),
                            .has_bias = tv_tensor_present(gradients[1]),
                            .has_columns = tv_tensor_present(gradients[2]),
                            .has_residual = tv_tensor_present(norm->d_residual),
                            .gain_offset = norm->gain_from_one ? 1.0F : 0.0F}};
    const uint32_t places = c->push.has_gain + c->push.has_bias + c->push.has_columns;
    if (places == 0)
        return TV_OK;
    TV_RETURN_IF_FAILED(
        tv_column_chunks_choose(recorder, "norm", norm->rows, row_bytes, 3, places * channels, &c->chunks));
    c->push.rows_per_chunk = (uint32_t)c->chunks.rows;
    c->push.chunks = (uint32_t)c->chunks.chunks;
    return tv_column_sums_place(recorder, norm->sums, &c->chunks, channels, gradients, TV_COUNT(gradients),
                                &c->partials);
}

/* Partial sums of d_gain and d_bias alone. */
static tv_status record_partials(tv_recorder *recorder, const tv_norm_backward *norm) {
    uint64_t channels = norm->channels;
    const uint32_t local_size = tv_row_workgroup(recorder, COLUMN_LOCAL_SIZE);
    const uint64_t columns = channels % 4 == 0 ? channels / 4 : channels;
    chunked c;
    TV_RETURN_IF_FAILED(place_sums(recorder, norm, false, &c));
    if (!tv_tensor_present(c.partials))
        return TV_OK;
    tv_part part = {0};
    while (tv_next_part(&part, norm->rows, c.chunks.most)) {
        c.push.rows = (uint32_t)part.count;
        c.push.first_chunk = (uint32_t)(part.first / c.chunks.rows);
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){.program = choose_variant(norm->kind, channels, norm->d_output.dtype)->partials,
                         .halves = norm->d_output.dtype,
                         .push = &c.push,
                         .groups = tv_div_up(part.count, c.chunks.rows) * tv_div_up(columns, local_size),
                         .bindings = {tv_tensor_rows(norm->d_output, channels, part.first, part.count),
                                      tv_tensor_rows(norm->sum, channels, part.first, part.count),
                                      tv_tensor_rows(norm->mean, 1, part.first, part.count),
                                      tv_tensor_rows(norm->rstd, 1, part.first, part.count), c.partials},
                         .specialization = {local_size},
                         .specialization_count = 1,
                         .shape = {part.count, channels}}));
    }
    return TV_OK;
}

/* Whether one kernel makes d_sum and the sums: where workgroups may have barriers, rows fit their registers
 * and sums are asked for. */
static bool makes_all_at_once(const tv_recorder *recorder, const tv_norm_backward *norm) {
    const tv_caps *caps = tv_recorder_caps(recorder);
    const uint64_t lanes = tv_min_u64(CHUNK_LOCAL_SIZE, caps->invocations);
    return !caps->cpu_kernels && norm->channels % 4 == 0 && norm->channels <= 4 * lanes &&
           tv_tensor_present(norm->d_sum) &&
           (tv_tensor_present(norm->d_gain) || tv_tensor_present(norm->d_bias) ||
            tv_tensor_present(norm->d_columns));
}

static tv_status record_all_at_once(tv_recorder *recorder, const tv_norm_backward *norm) {
    static const tv_program_id programs[2][2] = {
        [TV_NORM_LAYER] = {TV_PROGRAM_norm_backward_columns_layer,
                           TV_PROGRAM_norm_backward_columns_halves_layer},
        [TV_NORM_RMS] = {TV_PROGRAM_norm_backward_columns_rms, TV_PROGRAM_norm_backward_columns_halves_rms}};
    const uint64_t channels = norm->channels;
    chunked c;
    TV_RETURN_IF_FAILED(place_sums(recorder, norm, true, &c));
    tv_part part = {0};
    while (tv_next_part(&part, norm->rows, c.chunks.most)) {
        c.push.rows = (uint32_t)part.count;
        c.push.first_chunk = (uint32_t)(part.first / c.chunks.rows);
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){.program = programs[norm->kind][tv_is_half(norm->d_output.dtype)],
                         .halves = norm->d_output.dtype,
                         .push = &c.push,
                         .groups = tv_div_up(part.count, c.chunks.rows),
                         .bindings = {tv_tensor_rows(norm->d_output, channels, part.first, part.count),
                                      tv_tensor_rows(norm->sum, channels, part.first, part.count),
                                      tv_tensor_first(norm->gain, channels),
                                      tv_tensor_rows(norm->mean, 1, part.first, part.count),
                                      tv_tensor_rows(norm->rstd, 1, part.first, part.count),
                                      tv_tensor_rows(norm->d_residual, channels, part.first, part.count),
                                      tv_tensor_rows(norm->d_sum, channels, part.first, part.count),
                                      c.partials},
                         .specialization = {(uint32_t)tv_align_up(channels / 4, COLUMN_LOCAL_SIZE)},
                         .specialization_count = 1,
                         .shape = {part.count, channels}}));
    }
    return TV_OK;
}

tv_status tv_norm_backward_record(tv_recorder *recorder, const tv_norm_backward *norm) {
    uint64_t channels = norm->channels, most;
    if (norm->kind == TV_NORM_RMS && tv_tensor_present(norm->d_bias))
        return tv_fail(TV_E_USAGE, "norm: RMSNorm has no bias, and a gradient for one was given");
    if (tv_tensor_present(norm->d_columns) && !tv_tensor_present(norm->d_sum))
        return tv_fail(TV_E_USAGE, "norm: column sums of a gradient that is not asked for");
    TV_RETURN_IF_FAILED(split(recorder, norm->rows, channels, norm->d_output, &most));
    if (makes_all_at_once(recorder, norm))
        return record_all_at_once(recorder, norm);
    /* Before d_sum is written, so that it may lie over d_output. */
    TV_RETURN_IF_FAILED(record_partials(recorder, norm));
    if (!tv_tensor_present(norm->d_sum))
        return TV_OK;
    tv_part part = {0};
    while (tv_next_part(&part, norm->rows, most)) {
        tv_norm_push push = {.rows = (uint32_t)part.count,
                             .channels = (uint32_t)channels,
                             .has_residual = tv_tensor_present(norm->d_residual),
                             .gain_offset = norm->gain_from_one ? 1.0F : 0.0F};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){.program = choose_variant(norm->kind, channels, norm->d_output.dtype)->backward,
                         .halves = norm->d_output.dtype,
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
    if (!tv_tensor_present(norm->d_columns))
        return TV_OK;
    return tv_column_sums_rows(recorder, norm->sums, norm->rows, channels, norm->d_sum, norm->d_columns);
}
