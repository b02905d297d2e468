/* Launcher of the rotary positions: see rotary.h. */
#include "kernels/rotary.h"

#include <math.h>

#include "push_constants.h"

static const double two_pi = 6.283185307179586;

/* A share of the frequency as it is, the rest divided by the factor. */
static double blend(double frequency, double factor, double share) {
    return frequency * share + frequency / factor * (1 - share);
}

/* Between low_factor and high_factor waves in the original positions the share rises from 0 to 1. */
static double llama3_share(const tv_rotary_scaling *s, double frequency) {
    double waves = s->original_positions * frequency / two_pi;
    return fmin(1, fmax(0, (waves - s->low_factor) / (s->high_factor - s->low_factor)));
}

/* The channel, as a real number, that turns so often over the original positions. */
static double channel_of(const tv_rotary_scaling *s, double head_size, double rotations) {
    return head_size * log(s->original_positions / (rotations * two_pi)) / (2 * log(s->theta));
}

/* Up to the channel of fast_rotations the share is 1, from that of slow_rotations on 0. */
static double yarn_share(const tv_rotary_scaling *s, double head_size, double i) {
    double first = channel_of(s, head_size, s->fast_rotations),
           last = channel_of(s, head_size, s->slow_rotations);
    if (!s->exact_range) {
        first = floor(first);
        last = ceil(last);
    }
    first = fmax(first, 0);
    last = fmin(last, head_size - 1);
    if (!(fabs(last - first) > 0))
        last += 0.001; /* as published: a step in place of a ramp */
    return 1 - fmin(1, fmax(0, (i - first) / (last - first)));
}

double tv_rotary_frequency(const tv_rotary_scaling *scaling, uint64_t head_size, uint64_t i) {
    double frequency = pow(scaling->theta, -2.0 * (double)i / (double)head_size);
    switch (scaling->kind) {
    case TV_ROTARY_LINEAR:
        return frequency / scaling->factor;
    case TV_ROTARY_LLAMA3:
        return blend(frequency, scaling->factor, llama3_share(scaling, frequency));
    case TV_ROTARY_YARN:
        return blend(frequency, scaling->factor, yarn_share(scaling, (double)head_size, (double)i));
    default:
        return frequency;
    }
}

void tv_rotary_table(uint64_t max_positions, uint64_t head_size, const tv_rotary_scaling *scaling,
                     float *table) {
    uint64_t half = head_size / 2;
    double amplitude = scaling->kind == TV_ROTARY_YARN ? scaling->attention_factor : 1;
    for (uint64_t i = 0; i < half; i++) {
        double frequency = tv_rotary_frequency(scaling, head_size, i);
        for (uint64_t position = 0; position < max_positions; position++) {
            float *entry = &table[2 * (position * half + i)];
            entry[0] = (float)(cos((double)position * frequency) * amplitude);
            entry[1] = (float)(sin((double)position * frequency) * amplitude);
        }
    }
}

tv_status tv_rotary_record(tv_recorder *recorder, const tv_rotary *rotary) {
    uint64_t half = rotary->head_size / 2;
    if (rotary->head_size % 2 != 0 || rotary->heads * rotary->head_size > rotary->row_stride ||
        (rotary->tokens_per_row == 0 && !tv_tensor_present(rotary->positions)))
        return tv_fail(
            TV_E_USAGE,
            "rotary: expected an even head size and heads within the row, found %llu heads of %llu "
            "in a row of %llu, %llu tokens",
            (unsigned long long)rotary->heads, (unsigned long long)rotary->head_size,
            (unsigned long long)rotary->row_stride, (unsigned long long)rotary->tokens_per_row);
    if (half == 0 || rotary->heads == 0)
        return TV_OK;
    bool has_positions = tv_tensor_present(rotary->positions), halves = tv_is_half(rotary->qkv.dtype);
    TV_RETURN_IF_FAILED(tv_check_halves("rotary", &rotary->qkv, 1, half, 2));
    TV_RETURN_IF_FAILED(tv_check_halves("rotary", &rotary->qkv, 1, rotary->row_stride, 2));
    /* Without positions only the first T rows of the table are read, and only they need to fit a binding. */
    tv_tensor table = rotary->table;
    if (!has_positions)
        table = tv_tensor_rows(table, 2 * half, 0, rotary->tokens_per_row);
    const uint64_t bytes[] = {rotary->row_stride * tv_dtype_bytes(rotary->qkv.dtype),
                              has_positions ? tv_dtype_bytes(TV_U32) : 0};
    uint64_t part;
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "rotary", rotary->rows, bytes, 2, &part));
    for (uint64_t first = 0; first < rotary->rows; first += part) {
        uint64_t rows = tv_min_u64(part, rotary->rows - first);
        tv_rotary_push push = {
            .rows = (uint32_t)rows,
            .first_row = has_positions ? 0 : (uint32_t)(first % rotary->tokens_per_row),
            .tokens = (uint32_t)tv_max_u64(rotary->tokens_per_row, 1),
            .heads = (uint32_t)rotary->heads,
            .half_size = (uint32_t)half,
            .row_stride = (uint32_t)rotary->row_stride,
            .has_positions = has_positions,
            .direction = rotary->inverse ? -1.0F : 1.0F,
        };
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){
                          .program = halves ? TV_PROGRAM_rotary_halves_base : TV_PROGRAM_rotary_base,
                          .halves = rotary->qkv.dtype,
                          .push = &push,
                          .invocations = rows * rotary->heads * (halves ? half / 2 : half),
                          .bindings = {tv_tensor_rows(rotary->positions, 1, first, rows), table,
                                       tv_tensor_rows(rotary->qkv, rotary->row_stride, first, rows)},
                          .shape = {rows, rotary->heads, rotary->head_size},
                      }));
    }
    return TV_OK;
}
