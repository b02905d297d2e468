/* Kernels over activations that are f16 or bf16, against the same kernels over fp32 (which the other files of
 * this folder hold to their oracles) on inputs that both types hold exactly.
 *
 * Tolerance: what a kernel writes as halves is the fp32 kernel's result rounded once, by half a unit in the
 * last place, and a hundredth where the two variants' arithmetic differs in last bits of fp32: relative
 * 2^-11 for f16, 2^-8 for bf16, absolute 2^-24, f16's least number. What it writes as fp32 agrees to 1e-6
 * relative and, where a sum of terms up to 10 cancels, 2e-5 absolute. Conversions are checked bit for bit
 * against the host's (base/dtype.h).
 *
 * Tried on 2026-11-29, each fails here: halves swapped in a word; bf16 cut off instead of rounded; f16's
 * overflow held at 65,504; rotary's second angle taken for the first.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/activation.h"
#include "kernels/column_sums.h"
#include "kernels/head_norm.h"
#include "kernels/norm.h"
#include "kernels/rotary.h"

static const tv_dtype types[] = {TV_F16, TV_BF16};

/* A tensor as halves and as floats of the same values. */
typedef struct both {
    tv_test_tensor halves, floats;
    tv_dtype dtype;
} both;

/* `scale` 0: outputs, filled with NaN. */
static both make(tv_device *device, tv_dtype dtype, uint64_t count, uint64_t seed, float scale) {
    both b = {.dtype = dtype};
    float *values = malloc(count * sizeof *values);
    uint16_t *halves = malloc(count * sizeof *halves);
    assert_non_null(values);
    assert_non_null(halves);
    tv_test_random(values, count, seed);
    for (uint64_t i = 0; i < count; i++)
        values[i] = scale > 0 ? values[i] * scale : NAN;
    tv_dtype_from_f32(dtype, count, 1, values, halves);
    tv_dtype_to_f32(dtype, count, 1, halves, values);
    b.floats = tv_test_floats(device, count, values);
    b.halves = tv_test_bytes(device, count * sizeof *halves, halves);
    b.halves.tensor.dtype = dtype;
    b.halves.count = count;
    free(values);
    free(halves);
    return b;
}

static void compare(const char *what, const both *b) {
    uint64_t count = b->floats.count;
    float *expected = malloc(count * sizeof *expected), *actual = malloc(count * sizeof *actual);
    double *doubles = malloc(count * sizeof *doubles);
    uint16_t *halves = malloc(count * sizeof *halves);
    assert_non_null(doubles);
    tv_test_read(&b->floats, expected);
    tv_test_read(&b->halves, halves);
    tv_dtype_to_f32(b->dtype, count, 1, halves, actual);
    for (uint64_t i = 0; i < count; i++)
        doubles[i] = (double)expected[i];
    tv_test_compare(what, actual, doubles, count, 0x1p-24, 1.01 * (b->dtype == TV_F16 ? 0x1p-11 : 0x1p-8));
    tv_free_all(expected, actual, doubles, halves);
}

static void compare_floats(const char *what, const tv_test_tensor *actual, const tv_test_tensor *expected) {
    float *values = malloc(2 * actual->count * sizeof *values), *others = values + actual->count;
    double *doubles = malloc(actual->count * sizeof *doubles);
    assert_non_null(values);
    assert_non_null(doubles);
    tv_test_read(actual, values);
    tv_test_read(expected, others);
    for (uint64_t i = 0; i < actual->count; i++)
        doubles[i] = (double)others[i];
    tv_test_compare(what, values, doubles, actual->count, 2e-5, 1e-6);
    tv_free_all(values, doubles);
}

static void release(both *b) {
    tv_test_free(&b->halves);
    tv_test_free(&b->floats);
}

static tv_test_tensor floats(tv_device *device, uint64_t count, uint64_t seed) {
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    tv_test_random(values, count, seed);
    tv_test_tensor tensor = tv_test_floats(device, count, values);
    free(values);
    return tensor;
}

static tv_test_tensor scratch_of(tv_device *device, uint64_t rows, uint64_t columns, uint64_t widest) {
    return tv_test_floats(
        device, tv_column_sums_scratch(tv_device_caps(device), rows, columns, widest) / sizeof(float), NULL);
}

static tv_tensor of(const both *b, int narrow) {
    return narrow ? b->halves.tensor : b->floats.tensor;
}

/* ---- norms ---- */

static void check_norm(tv_device *device, tv_dtype dtype, tv_norm_kind kind, uint64_t rows, uint64_t channels,
                       bool has_residual) {
    uint64_t count = rows * channels;
    bool rms = kind == TV_NORM_RMS;
    both out = make(device, dtype, count, 0, 0), d_out = make(device, dtype, count, 1, 1);
    tv_test_tensor in = floats(device, count, 2), residual = floats(device, count, 3),
                   gain = floats(device, channels, 4), bias = floats(device, channels, 5);
    tv_test_tensor scratch = scratch_of(device, rows, 2 * channels, channels);
    tv_test_tensor sum[2], mean[2], rstd[2], d_sum[2], d_gain[2], d_bias[2];
    for (int narrow = 0; narrow < 2; narrow++) {
        sum[narrow] = tv_test_floats(device, count, NULL);
        mean[narrow] = tv_test_floats(device, rows, NULL);
        rstd[narrow] = tv_test_floats(device, rows, NULL);
        d_sum[narrow] = tv_test_floats(device, count, NULL);
        d_gain[narrow] = floats(device, channels, 6);
        d_bias[narrow] = floats(device, channels, 7);
        tv_column_sums sums = {.scratch = scratch.tensor};
        tv_recorder *recorder = tv_test_begin(device);
        assert_ok(tv_norm_forward_record(
            recorder, &(tv_norm_forward){.kind = kind,
                                         .rows = rows,
                                         .channels = channels,
                                         .eps = 1e-5F,
                                         .input = in.tensor,
                                         .residual = has_residual ? residual.tensor : TV_ABSENT,
                                         .gain = gain.tensor,
                                         .bias = rms ? TV_ABSENT : bias.tensor,
                                         .sum = has_residual ? sum[narrow].tensor : TV_ABSENT,
                                         .output = of(&out, narrow),
                                         .mean = rms ? TV_ABSENT : mean[narrow].tensor,
                                         .rstd = rstd[narrow].tensor}));
        assert_ok(tv_norm_backward_record(
            recorder, &(tv_norm_backward){.kind = kind,
                                          .rows = rows,
                                          .channels = channels,
                                          .d_output = of(&d_out, narrow),
                                          .sum = has_residual ? sum[narrow].tensor : in.tensor,
                                          .gain = gain.tensor,
                                          .mean = rms ? TV_ABSENT : mean[narrow].tensor,
                                          .rstd = rstd[narrow].tensor,
                                          .d_residual = has_residual ? residual.tensor : TV_ABSENT,
                                          .d_sum = d_sum[narrow].tensor,
                                          .d_gain = d_gain[narrow].tensor,
                                          .d_bias = rms ? TV_ABSENT : d_bias[narrow].tensor,
                                          .sums = &sums}));
        assert_ok(tv_column_sums_add(recorder, &sums));
        tv_test_run(device, recorder);
    }
    compare("norm", &out);
    compare_floats("norm's rstd", &rstd[1], &rstd[0]);
    compare_floats("norm's d_sum", &d_sum[1], &d_sum[0]);
    compare_floats("norm's d_gain", &d_gain[1], &d_gain[0]);
    compare_floats("norm's d_bias", &d_bias[1], &d_bias[0]);
    for (int narrow = 0; narrow < 2; narrow++) {
        tv_test_free(&sum[narrow]);
        tv_test_free(&mean[narrow]);
        tv_test_free(&rstd[narrow]);
        tv_test_free(&d_sum[narrow]);
        tv_test_free(&d_gain[narrow]);
        tv_test_free(&d_bias[narrow]);
    }
    release(&out);
    release(&d_out);
    tv_test_free(&in);
    tv_test_free(&residual);
    tv_test_free(&gain);
    tv_test_free(&bias);
    tv_test_free(&scratch);
}

static void check_norms(tv_device *device, uint64_t rows, uint64_t channels) {
    for (int t = 0; t < 2; t++) {
        check_norm(device, types[t], TV_NORM_LAYER, rows, channels, true);
        check_norm(device, types[t], TV_NORM_RMS, rows, channels, false);
    }
}

static void norms_agree(void **state) {
    check_norms(*state, 1, 4);
    check_norms(*state, 37, 20);
    check_norms(*state, 300, 132);
}

/* ---- non-linearities ---- */

typedef tv_status (*gate_forward)(tv_recorder *, uint64_t, uint64_t, tv_tensor, tv_tensor);

static void check_gate(tv_device *device, tv_dtype dtype, gate_forward forward, gate_forward backward,
                       uint64_t rows, uint64_t features) {
    both gate_up = make(device, dtype, 2 * rows * features, 1, 6),
         y = make(device, dtype, rows * features, 0, 0), d_y = make(device, dtype, rows * features, 2, 1);
    tv_recorder *recorder = tv_test_begin(device);
    for (int narrow = 0; narrow < 2; narrow++) {
        assert_ok(forward(recorder, rows, features, of(&gate_up, narrow), of(&y, narrow)));
        assert_ok(backward(recorder, rows, features, of(&gate_up, narrow), of(&d_y, narrow)));
    }
    tv_test_run(device, recorder);
    compare("gate", &y);
    compare("gate's gradient", &gate_up);
    release(&gate_up);
    release(&y);
    release(&d_y);
}

static void check_gelu(tv_device *device, tv_dtype dtype, uint64_t count) {
    both x = make(device, dtype, count, 1, 6), y = make(device, dtype, count, 0, 0),
         d_y = make(device, dtype, count, 2, 1);
    tv_recorder *recorder = tv_test_begin(device);
    for (int narrow = 0; narrow < 2; narrow++) {
        assert_ok(tv_gelu_forward(recorder, count, of(&x, narrow), of(&y, narrow)));
        assert_ok(tv_gelu_backward(recorder, count, of(&x, narrow), of(&d_y, narrow), of(&d_y, narrow)));
    }
    tv_test_run(device, recorder);
    compare("gelu", &y);
    compare("gelu's gradient", &d_y);
    release(&x);
    release(&y);
    release(&d_y);
}

static void check_gelu_columns(tv_device *device, tv_dtype dtype, uint64_t rows, uint64_t columns) {
    both x = make(device, dtype, rows * columns, 1, 6), d_y = make(device, dtype, rows * columns, 2, 1);
    tv_test_tensor scratch = scratch_of(device, rows, columns, columns),
                   bias[] = {floats(device, columns, 3), floats(device, columns, 3)};
    tv_recorder *recorder = tv_test_begin(device);
    for (int narrow = 0; narrow < 2; narrow++) {
        tv_column_sums sums = {.scratch = scratch.tensor};
        assert_ok(tv_gelu_backward_columns(recorder, rows, columns, of(&x, narrow), of(&d_y, narrow),
                                           of(&d_y, narrow), &sums, bias[narrow].tensor));
        assert_ok(tv_column_sums_add(recorder, &sums));
    }
    tv_test_run(device, recorder);
    compare("gelu's gradient", &d_y);
    compare_floats("gelu's column sums", &bias[1], &bias[0]);
    release(&x);
    release(&d_y);
    tv_test_free(&scratch);
    tv_test_free(&bias[0]);
    tv_test_free(&bias[1]);
}

static void check_gates(tv_device *device, uint64_t rows, uint64_t features) {
    for (int t = 0; t < 2; t++) {
        check_gate(device, types[t], tv_swiglu_forward, tv_swiglu_backward, rows, features);
        check_gate(device, types[t], tv_geglu_forward, tv_geglu_backward, rows, features);
        check_gelu(device, types[t], rows * features);
    }
}

static void gates_agree(void **state) {
    check_gates(*state, 1, 4);
    check_gates(*state, 5, 172);
    check_gates(*state, 66000, 4); /* more rows than a grid has in x */
}

/* ---- heads ---- */

static void check_heads(tv_device *device, tv_dtype dtype, uint64_t rows, uint64_t head_size,
                        bool positions) {
    enum { HEADS = 3, KV_HEADS = 1, TOKENS = 7, POSITIONS = 50 };
    const uint64_t stride = (HEADS + 2 * KV_HEADS) * head_size, both_heads = HEADS + KV_HEADS;
    both qkv = make(device, dtype, rows * stride, 1, 4),
         raw = make(device, dtype, rows * both_heads * head_size, 0, 0),
         d_qkv = make(device, dtype, rows * stride, 2, 1);
    tv_test_tensor q_gain = floats(device, head_size, 3), k_gain = floats(device, head_size, 4);
    float *angles = malloc(POSITIONS * head_size * sizeof *angles);
    uint32_t *places = malloc(rows * sizeof *places);
    assert_non_null(angles);
    assert_non_null(places);
    tv_rotary_table(POSITIONS, head_size, &(tv_rotary_scaling){.theta = 10000}, angles);
    for (uint64_t r = 0; r < rows; r++)
        places[r] = (uint32_t)(r * 13 % POSITIONS);
    tv_test_tensor table = tv_test_floats(device, POSITIONS * head_size, angles),
                   where = tv_test_uints(device, rows, places);
    tv_test_tensor scratch = scratch_of(device, rows, 2 * head_size, head_size);
    tv_test_tensor rstd[2], d_q[2], d_k[2];
    for (int narrow = 0; narrow < 2; narrow++) {
        rstd[narrow] = tv_test_floats(device, rows * both_heads, NULL);
        d_q[narrow] = floats(device, head_size, 5);
        d_k[narrow] = floats(device, head_size, 6);
        const tv_head_norm norm = {.rows = rows,
                                   .heads = HEADS,
                                   .kv_heads = KV_HEADS,
                                   .head_size = head_size,
                                   .eps = 1e-6F,
                                   .gain_from_one = true,
                                   .qkv = of(&qkv, narrow),
                                   .q_gain = q_gain.tensor,
                                   .k_gain = k_gain.tensor,
                                   .raw = of(&raw, narrow),
                                   .rstd = rstd[narrow].tensor};
        tv_column_sums sums = {.scratch = scratch.tensor};
        tv_recorder *recorder = tv_test_begin(device);
        assert_ok(tv_head_norm_forward(recorder, &norm));
        assert_ok(
            tv_head_norm_backward_record(recorder, &(tv_head_norm_backward){.forward = norm,
                                                                            .d_qkv = of(&d_qkv, narrow),
                                                                            .d_q_gain = d_q[narrow].tensor,
                                                                            .d_k_gain = d_k[narrow].tensor,
                                                                            .sums = &sums}));
        assert_ok(tv_column_sums_add(recorder, &sums));
        tv_test_run(device, recorder);
        if (narrow) {
            compare("normed heads", &qkv);
            compare("heads before", &raw);
            compare("heads' gradient", &d_qkv);
        }
    }
    compare_floats("heads' rstd", &rstd[1], &rstd[0]);
    compare_floats("d_q_gain", &d_q[1], &d_q[0]);
    compare_floats("d_k_gain", &d_k[1], &d_k[0]);
    /* Turned on their own: a result that was rounded before cannot be compared. */
    both turned = make(device, dtype, rows * stride, 7, 4);
    tv_recorder *recorder = tv_test_begin(device);
    for (int narrow = 0; narrow < 2; narrow++)
        assert_ok(tv_rotary_record(recorder, &(tv_rotary){.rows = rows,
                                                          .tokens_per_row = TOKENS,
                                                          .heads = both_heads,
                                                          .head_size = head_size,
                                                          .row_stride = stride,
                                                          .inverse = rows % 2 == 0,
                                                          .positions = positions ? where.tensor : TV_ABSENT,
                                                          .table = table.tensor,
                                                          .qkv = of(&turned, narrow)}));
    tv_test_run(device, recorder);
    compare("turned heads", &turned);
    for (int narrow = 0; narrow < 2; narrow++) {
        tv_test_free(&rstd[narrow]);
        tv_test_free(&d_q[narrow]);
        tv_test_free(&d_k[narrow]);
    }
    release(&qkv);
    release(&raw);
    release(&d_qkv);
    release(&turned);
    tv_test_free(&q_gain);
    tv_test_free(&k_gain);
    tv_test_free(&table);
    tv_test_free(&where);
    tv_test_free(&scratch);
    tv_free_all(angles, places);
}

static void heads_agree(void **state) {
    for (int t = 0; t < 2; t++) {
        check_heads(*state, types[t], 1, 4, false);
        check_heads(*state, types[t], 70, 24, true);
        check_heads(*state, types[t], 33, 80, false);
    }
}

/* ---- sums ---- */

static void check_sums(tv_device *device, tv_dtype dtype, uint64_t rows, uint64_t columns) {
    both x = make(device, dtype, rows * columns, rows, 1);
    tv_test_tensor gradients[2], scratch = scratch_of(device, rows, columns, columns);
    for (int narrow = 0; narrow < 2; narrow++) {
        tv_column_sums sums = {.scratch = scratch.tensor};
        gradients[narrow] = floats(device, columns, 1);
        tv_recorder *recorder = tv_test_begin(device);
        assert_ok(
            tv_column_sums_rows(recorder, &sums, rows, columns, of(&x, narrow), gradients[narrow].tensor));
        assert_ok(tv_column_sums_add(recorder, &sums));
        tv_test_run(device, recorder);
    }
    compare_floats("column sums", &gradients[1], &gradients[0]);
    tv_test_free(&gradients[0]);
    tv_test_free(&gradients[1]);
    tv_test_free(&scratch);
    release(&x);
}

static void sums_agree(void **state) {
    for (int t = 0; t < 2; t++) {
        check_sums(*state, types[t], 1, 4);
        check_sums(*state, types[t], 777, 20);
        check_sums(*state, types[t], 3, 1028);
    }
}

/* ---- limits ---- */

static void small_limits_agree(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=65536,group_count_x=5");
    check_norms(device, 700, 64);
    check_gates(device, 700, 64);
    check_heads(device, TV_F16, 700, 16, true);
    check_sums(device, TV_BF16, 1500, 64);
    tv_device_close(&device);
    device = tv_test_open_lowered("cpu_kernels=0");
    check_norms(device, 33, 1028);
    check_gates(device, 2, 8200);
    check_heads(device, TV_BF16, 9, 128, false);
    check_gelu_columns(device, TV_F16, 77, 96);
    check_gelu_columns(device, TV_BF16, 300, 36);
    tv_device_close(&device);
}

static void what_is_no_multiple_is_refused(void **state) {
    both x = make(*state, TV_F16, 36, 1, 1), y = make(*state, TV_BF16, 36, 1, 1);
    tv_recorder *recorder = tv_test_begin(*state);
    assert_int_equal(tv_gelu_forward(recorder, 35, x.halves.tensor, x.halves.tensor), TV_E_USAGE);
    assert_int_equal(tv_gelu_forward(recorder, 36, x.halves.tensor, y.halves.tensor), TV_E_USAGE);
    assert_int_equal(tv_gelu_forward(recorder, 36, x.floats.tensor, x.halves.tensor), TV_E_USAGE);
    assert_int_equal(tv_swiglu_forward(recorder, 2, 6, x.halves.tensor, y.halves.tensor), TV_E_USAGE);
    assert_non_null(strstr(tv_last_error(), "rows of 6"));
    tv_recorder_abort(&recorder);
    release(&x);
    release(&y);
}

/* ---- conversions ---- */

static void halves_are_rounded_as_on_the_host(void **state) {
    enum { COUNT = 1 << 10 };
    for (int t = 0; t < 2; t++) {
        uint16_t *patterns = calloc(COUNT, sizeof *patterns);
        float *values = calloc(COUNT, sizeof *values);
        assert_non_null(patterns);
        assert_non_null(values);
        /* Every exponent of both types: the sum of one row is the value itself. */
        for (uint32_t i = 0; i < COUNT; i++)
            patterns[i] = (uint16_t)(i * 63 + i % 63);
        tv_dtype_to_f32(types[t], COUNT, 1, patterns, values);
        tv_test_tensor from = tv_test_bytes(*state, COUNT * sizeof *patterns, patterns);
        from.tensor.dtype = types[t];
        float *zeros = calloc(COUNT, sizeof *zeros);
        assert_non_null(zeros);
        tv_test_tensor gradient = tv_test_floats(*state, COUNT, zeros),
                       scratch = scratch_of(*state, 1, COUNT, COUNT);
        tv_column_sums sums = {.scratch = scratch.tensor};
        tv_recorder *recorder = tv_test_begin(*state);
        assert_ok(tv_column_sums_rows(recorder, &sums, 1, COUNT, from.tensor, gradient.tensor));
        assert_ok(tv_column_sums_add(recorder, &sums));
        tv_test_run(*state, recorder);
        float *read = calloc(COUNT, sizeof *read);
        assert_non_null(read);
        tv_test_read(&gradient, read);
        for (uint32_t i = 0; i < COUNT; i++)
            if (!(read[i] == values[i] || (isnan(read[i]) && isnan(values[i])) ||
                  (fabsf(values[i]) < 0x1p-126F && read[i] == 0)))
                fail_msg("%s 0x%04x reads as %g, expected %g", tv_dtype_name(types[t]), patterns[i],
                         (double)read[i], (double)values[i]);
        tv_test_free(&from);
        tv_test_free(&gradient);
        tv_test_free(&scratch);
        tv_free_all(patterns, values, zeros, read);
    }
}

/* RMSNorm of a row with one element that is not 0: y = sqrt(C) gain at that place, times 1 - eps. Gains reach
 * over the range of f16, where it must become infinite, and below its normal numbers. */
static void overflow_becomes_infinite(void **state) {
    enum { C = 64 };
    const float gains[] = {65504.F / 8, 65519.F / 8, 65521.F / 8, 1e6F, 3e-8F / 8, 5e-6F / 8};
    float input[C] = {0}, gain[C];
    for (size_t g = 0; g < 2 * sizeof gains / sizeof *gains; g++) {
        const tv_dtype dtype = types[g % 2];
        for (int c = 0; c < C; c++) {
            input[c] = c == 5 ? 1 : 0;
            gain[c] = gains[g / 2];
        }
        tv_test_tensor in = tv_test_floats(*state, C, input), weight = tv_test_floats(*state, C, gain),
                       rstd = tv_test_floats(*state, 1, NULL);
        both out = make(*state, dtype, C, 0, 0);
        tv_recorder *recorder = tv_test_begin(*state);
        for (int narrow = 0; narrow < 2; narrow++)
            assert_ok(tv_norm_forward_record(recorder, &(tv_norm_forward){.kind = TV_NORM_RMS,
                                                                          .rows = 1,
                                                                          .channels = C,
                                                                          .input = in.tensor,
                                                                          .gain = weight.tensor,
                                                                          .output = of(&out, narrow),
                                                                          .rstd = rstd.tensor}));
        tv_test_run(*state, recorder);
        float value[C];
        uint16_t half[C];
        tv_test_read(&out.floats, value);
        tv_test_read(&out.halves, half);
        assert_int_equal(half[5],
                         dtype == TV_F16 ? tv_float_to_half(value[5]) : tv_float_to_bfloat16(value[5]));
        assert_int_equal(half[4], 0);
        release(&out);
        tv_test_free(&in);
        tv_test_free(&weight);
        tv_test_free(&rstd);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_agree),
        cmocka_unit_test(gates_agree),
        cmocka_unit_test(heads_agree),
        cmocka_unit_test(sums_agree),
        cmocka_unit_test(small_limits_agree),
        cmocka_unit_test(what_is_no_multiple_is_refused),
        cmocka_unit_test(halves_are_rounded_as_on_the_host),
        cmocka_unit_test(overflow_becomes_infinite),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
