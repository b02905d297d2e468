/* kernels/norm against the oracle.
 *
 * Tolerances, with e = 2^-24 = 6e-8, the rounding of one fp32 operation:
 * - x and its mean are good to e of their size: x - mean is off by `slack` = 2 e (1 + shift), doubled for the
 * summation of the mean. n = (x - mean) rstd is off by slack * rstd of its row (rstd reaches 316 where C = 1
 * makes the variance 0).
 * - rstd is relatively off by half of the variance's error, the sum of C squares: again slack * rstd, plus
 * 1e-6 for the sums.
 * - d_x is rstd times terms of about 1 that are off by 1e-6 and by errors of n, at most three times.
 * - Gains are below 1, counted from 1 below 2: twice the error of n and of d_x.
 * - d_columns adds errors of d_x in the same way.
 * - d_gain adds errors of n over rows as a random walk, of which 4 deviations are allowed, and rounds R
 * terms: 5e-5 for R = 70,000 (R/256 = 274 terms, then 256 partial sums; values up to 150, e * 150 * sqrt(274
 * + 256) = 2e-4 with the same four deviations over the root of 12).
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/norm.h"
#include "oracle/norm.h"

static const double eps = 1e-5;

typedef struct norm_case {
    tv_norm_kind kind;
    uint64_t rows, channels;
    bool residual, bias, in_place;
    bool from_one; /* gains are stored as what they are above 1 */
    float shift;   /* the mean of the input: far from 0, E[x^2] - E[x]^2 would lose its digits */
} norm_case;

static float *randoms(uint64_t count, uint64_t seed) {
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    tv_test_random(values, count, seed);
    return values;
}

static double *doubles(uint64_t count) {
    double *values = calloc(count, sizeof *values);
    assert_non_null(values);
    return values;
}

/* Each row of `columns` within its own absolute tolerance, or all within tolerance[0] when `rows` is 1. */
static void compare(const char *what, const tv_test_tensor *tensor, const double *expected, uint64_t rows,
                    const double *tolerance) {
    float *actual = malloc(tensor->count * sizeof *actual);
    uint64_t columns = tensor->count / rows;
    assert_non_null(actual);
    tv_test_read(tensor, actual);
    for (uint64_t r = 0; r < rows; r++)
        tv_test_compare(what, actual + r * columns, expected + r * columns, columns, tolerance[r], 1e-6);
    free(actual);
}

static void check(tv_device *device, norm_case t) {
    uint64_t rows = t.rows, channels = t.channels, count = rows * channels;
    bool rms = t.kind == TV_NORM_RMS;
    float *input = randoms(count, 1), *residual = randoms(count, 2), *gain = randoms(channels, 3);
    float *bias = randoms(channels, 4), *d_y = randoms(count, 5), *d_past = randoms(count, 6);
    float *start = randoms(2 * channels, 7);
    double *x = doubles(count), *y = doubles(count), *mean = doubles(rows), *rstd = doubles(rows);
    double *d_x = doubles(count), *d_gain = doubles(channels), *d_bias = doubles(channels),
           *d_columns = doubles(channels);
    for (uint64_t i = 0; i < count; i++)
        input[i] += t.shift;

    tv_test_tensor in = tv_test_floats(device, count, input), past = tv_test_floats(device, count, residual);
    tv_test_tensor weight = tv_test_floats(device, channels, gain),
                   offset = tv_test_floats(device, channels, bias);
    tv_test_tensor sum = tv_test_floats(device, count, NULL), out = tv_test_floats(device, count, NULL);
    tv_test_tensor mu = tv_test_floats(device, rows, NULL), sigma = tv_test_floats(device, rows, NULL);
    tv_test_tensor d_out = tv_test_floats(device, count, d_y), d_res = tv_test_floats(device, count, d_past);
    tv_test_tensor d_in = tv_test_floats(device, count, NULL);
    tv_test_tensor d_weight = tv_test_floats(device, channels, start);
    tv_test_tensor d_offset = tv_test_floats(device, channels, start + channels);
    tv_test_tensor scratch = tv_test_floats(
        device, tv_column_sums_scratch(tv_device_caps(device), rows, 3 * channels, channels) / sizeof(float),
        NULL);
    tv_test_tensor d_before = tv_test_floats(device, channels, start);
    tv_column_sums sums = {.scratch = scratch.tensor};
    const tv_test_tensor *normalised = !t.residual ? &in : t.in_place ? &past : &sum;
    const tv_test_tensor *gradient = t.in_place ? &d_res : &d_in;

    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_norm_forward_record(recorder, &(tv_norm_forward){
                                                   .kind = t.kind,
                                                   .rows = rows,
                                                   .channels = channels,
                                                   .eps = (float)eps,
                                                   .gain_from_one = t.from_one,
                                                   .input = in.tensor,
                                                   .residual = t.residual ? past.tensor : TV_ABSENT,
                                                   .gain = weight.tensor,
                                                   .bias = t.bias ? offset.tensor : TV_ABSENT,
                                                   .sum = t.residual ? normalised->tensor : TV_ABSENT,
                                                   .output = out.tensor,
                                                   .mean = rms ? TV_ABSENT : mu.tensor,
                                                   .rstd = sigma.tensor,
                                               }));
    assert_ok(tv_norm_backward_record(recorder, &(tv_norm_backward){
                                                    .kind = t.kind,
                                                    .rows = rows,
                                                    .channels = channels,
                                                    .gain_from_one = t.from_one,
                                                    .d_output = d_out.tensor,
                                                    .sum = normalised->tensor,
                                                    .gain = weight.tensor,
                                                    .mean = rms ? TV_ABSENT : mu.tensor,
                                                    .rstd = sigma.tensor,
                                                    .d_residual = t.residual ? d_res.tensor : TV_ABSENT,
                                                    .d_sum = gradient->tensor,
                                                    .d_gain = d_weight.tensor,
                                                    .d_bias = t.bias ? d_offset.tensor : TV_ABSENT,
                                                    .d_columns = d_before.tensor,
                                                    .sums = &sums,
                                                }));
    assert_ok(tv_column_sums_add(recorder, &sums));
    tv_test_run(device, recorder);

    for (uint64_t c = 0; c < channels && t.from_one; c++)
        gain[c] += 1;
    oracle_norm_forward(rms, rows, channels, eps, input, t.residual ? residual : NULL, gain,
                        t.bias ? bias : NULL, x, y, mean, rstd);
    /* Backward reads the rounded sum. */
    for (uint64_t i = 0; i < count; i++)
        x[i] = (double)(float)x[i];
    oracle_norm_backward(rms, rows, channels, eps, x, gain, d_y, d_x, d_gain, d_bias);
    for (uint64_t i = 0; i < count && t.residual; i++)
        d_x[i] += (double)d_past[i];
    for (uint64_t i = 0; i < count; i++)
        d_columns[i % channels] += d_x[i];
    for (uint64_t c = 0; c < channels; c++) {
        d_columns[c] += (double)start[c];
        d_gain[c] += (double)start[c];
        d_bias[c] += (double)start[channels + c];
    }
    const double slack = 4 * 6e-8 * (1 + (double)t.shift), gains = t.from_one ? 2 : 1;
    double *of_mean = doubles(rows), *of_rstd = doubles(rows), *of_y = doubles(rows), *of_d_x = doubles(rows),
           walk = 0, walk_x = 0;
    for (uint64_t r = 0; r < rows; r++) {
        double error = slack * rstd[r] + 1e-6;
        of_mean[r] = slack;
        of_rstd[r] = rstd[r] * error;
        of_y[r] = gains * 2 * error;
        of_d_x[r] = gains * rstd[r] * 3 * error;
        walk += error * error;
        walk_x += of_d_x[r] * of_d_x[r];
    }
    double of_d_gain = 4 * sqrt(walk) + 2e-4, of_d_bias = 2e-4, none = 0,
           of_columns = 4 * sqrt(walk_x) + 2e-4;
    if (t.residual)
        compare("sum", normalised, x, 1, &none);
    if (!rms)
        compare("mean", &mu, mean, rows, of_mean);
    compare("rstd", &sigma, rstd, rows, of_rstd);
    compare("output", &out, y, rows, of_y);
    compare("d_sum", gradient, d_x, rows, of_d_x);
    compare("d_columns", &d_before, d_columns, 1, &of_columns);
    compare("d_gain", &d_weight, d_gain, 1, &of_d_gain);
    if (t.bias)
        compare("d_bias", &d_offset, d_bias, 1, &of_d_bias);

    tv_test_tensor *tensors[] = {&in,    &past,  &weight, &offset,   &sum,      &out,     &mu,      &sigma,
                                 &d_out, &d_res, &d_in,   &d_weight, &d_offset, &scratch, &d_before};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        tv_test_free(tensors[i]);
    void *host[] = {input, residual, gain,   bias,   d_y,     d_past,  start, x,      y,        mean,
                    rstd,  d_x,      d_gain, d_bias, of_mean, of_rstd, of_y,  of_d_x, d_columns};
    for (size_t i = 0; i < sizeof host / sizeof *host; i++)
        free(host[i]);
}

/* Odd and whole-vec4 rows, one row, one channel; every combination of kind, residual, bias and aliasing. */
static void check_shapes(tv_device *device) {
    const uint64_t shapes[][2] = {{1, 1},    {3, 17},   {65, 64},   {33, 130}, {17, 1027},
                                  {2, 3072}, {70, 768}, {11, 4096}, {9, 1028}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int options = 0; options < 8; options++) {
            norm_case t = {.rows = shapes[s][0], .channels = shapes[s][1], .shift = 30};
            t.kind = options & 1 ? TV_NORM_RMS : TV_NORM_LAYER;
            t.residual = options & 2;
            t.in_place = t.residual && (options & 4);
            t.bias = t.kind == TV_NORM_LAYER && !(options & 4);
            t.from_one = (options & 4) || t.channels == 130;
            check(device, t);
        }
}

static void norms_equal_the_oracle(void **state) {
    check_shapes(*state);
}

static void many_rows_equal_the_oracle(void **state) {
    check(*state,
          (norm_case){.kind = TV_NORM_LAYER, .rows = 70001, .channels = 3, .residual = true, .bias = true});
    check(*state, (norm_case){.kind = TV_NORM_RMS, .rows = 66000, .channels = 4});
}

/* Rows are cut into several dispatches, grids are folded. */
static void small_limits_equal_the_oracle(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=65536,group_count_x=5");
    check(device, (norm_case){.kind = TV_NORM_LAYER,
                              .rows = 700,
                              .channels = 130,
                              .residual = true,
                              .bias = true,
                              .shift = 30});
    check(device,
          (norm_case){.kind = TV_NORM_RMS, .rows = 1000, .channels = 64, .residual = true, .in_place = true});
    check(device, (norm_case){.kind = TV_NORM_LAYER, .rows = 17000, .channels = 1});
    tv_device_close(&device);
}

/* The form for GPUs, in which workgroups have barriers. */
static void workgroups_of_several_subgroups_equal_the_oracle(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("cpu_kernels=0");
    check_shapes(device);
    check(device,
          (norm_case){.kind = TV_NORM_LAYER, .rows = 5000, .channels = 36, .residual = true, .bias = true});
    tv_device_close(&device);
    device = tv_test_open_lowered("cpu_kernels=0,storage_range=65536,group_count_x=5");
    check(device,
          (norm_case){.kind = TV_NORM_LAYER, .rows = 700, .channels = 132, .bias = true, .shift = 30});
    tv_device_close(&device);
}

static void wrong_arguments_are_refused(void **state) {
    tv_device *device = *state;
    tv_test_tensor a = tv_test_floats(device, 64, NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_int_equal(tv_norm_forward_record(recorder, &(tv_norm_forward){.rows = 1,
                                                                         .channels = 64,
                                                                         .input = a.tensor,
                                                                         .residual = a.tensor,
                                                                         .gain = a.tensor,
                                                                         .output = a.tensor,
                                                                         .mean = a.tensor,
                                                                         .rstd = a.tensor}),
                     TV_E_USAGE);
    tv_column_sums sums = {.scratch = tv_tensor_rows(a.tensor, 1, 0, 63)};
    tv_norm_backward backward = {.rows = 1,
                                 .channels = 64,
                                 .d_output = a.tensor,
                                 .sum = a.tensor,
                                 .gain = a.tensor,
                                 .mean = a.tensor,
                                 .rstd = a.tensor,
                                 .d_sum = a.tensor,
                                 .d_gain = a.tensor,
                                 .sums = &sums};
    assert_int_equal(tv_norm_backward_record(recorder, &backward), TV_E_USAGE);
    backward.kind = TV_NORM_RMS;
    backward.d_bias = a.tensor;
    assert_int_equal(tv_norm_backward_record(recorder, &backward), TV_E_USAGE);
    tv_recorder_abort(&recorder);
    tv_test_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_equal_the_oracle),
        cmocka_unit_test(many_rows_equal_the_oracle),
        cmocka_unit_test(small_limits_equal_the_oracle),
        cmocka_unit_test(workgroups_of_several_subgroups_equal_the_oracle),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
