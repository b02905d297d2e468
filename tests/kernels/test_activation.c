/* kernels/activation against the oracle.
 *
 * Tolerance: the exponential is good to a few units in the last place plus the rounding of its argument, |2u|
 * up to 87 where it matters (beyond, the result is the input or 0): relative 87 * 2^-24 = 5e-6 of a factor
 * that is then e^-87. Where the factor is not small, |2u| < 8, the error is below 1e-6 of the result;
 * products of up to four factors of size 8 give 1e-6 absolute and 2e-6 relative for values, and 4e-6 absolute
 * for gradients; GELU's slope in a gate is a product of one factor more, up to 8.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/activation.h"
#include "oracle/activation.h"

static float *randoms(uint64_t count, uint64_t seed, float scale) {
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    tv_test_random(values, count, seed);
    for (uint64_t i = 0; i < count; i++)
        values[i] *= scale;
    return values;
}

static void compare(const char *what, const tv_test_tensor *tensor, const double *expected, double absolute) {
    float *actual = malloc(tensor->count * sizeof *actual);
    assert_non_null(actual);
    tv_test_read(tensor, actual);
    tv_test_compare(what, actual, expected, tensor->count, absolute, 2e-6);
    free(actual);
}

static void check_gelu(tv_device *device, uint64_t count, bool in_place) {
    float *x = randoms(count, count, 8), *d_y = randoms(count, count + 1, 1);
    double *expected = malloc(count * sizeof *expected);
    /* Beyond the range of e^-x: the value is x or 0, the slope 1 or 0. */
    x[0] = 1000;
    x[count - 1] = -1000;
    tv_test_tensor in = tv_test_floats(device, count, x), out = tv_test_floats(device, count, NULL);
    tv_test_tensor d_out = tv_test_floats(device, count, d_y), d_in = tv_test_floats(device, count, NULL);
    tv_test_tensor *gradient = in_place ? &d_out : &d_in;
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_gelu_forward(recorder, count, in.tensor, out.tensor));
    assert_ok(tv_gelu_backward(recorder, count, in.tensor, d_out.tensor, gradient->tensor));
    tv_test_run(device, recorder);
    oracle_gelu_forward(count, x, expected);
    compare("gelu", &out, expected, 1e-6);
    oracle_gelu_backward(count, x, d_y, expected);
    compare("gelu gradient", gradient, expected, 4e-6);
    tv_test_free(&in);
    tv_test_free(&out);
    tv_test_free(&d_out);
    tv_test_free(&d_in);
    tv_free_all(x, d_y, expected);
}

static void check_gelu_columns(tv_device *device, uint64_t rows, uint64_t columns, bool in_place) {
    uint64_t count = rows * columns;
    float *x = randoms(count, 1, 8), *d_y = randoms(count, 2, 1), *start = randoms(columns, 3, 1);
    double *expected = malloc((count + columns) * sizeof *expected), *sums = expected + count;
    tv_test_tensor in = tv_test_floats(device, count, x), d_out = tv_test_floats(device, count, d_y),
                   d_in = tv_test_floats(device, count, NULL), bias = tv_test_floats(device, columns, start);
    const tv_caps *caps = tv_device_caps(device);
    tv_test_tensor scratch =
        tv_test_floats(device, tv_column_sums_scratch(caps, rows, columns, columns) / sizeof(float), NULL);
    tv_test_tensor *gradient = in_place ? &d_out : &d_in;
    tv_column_sums pending = {.scratch = scratch.tensor};
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_gelu_backward_columns(recorder, rows, columns, in.tensor, d_out.tensor, gradient->tensor,
                                       &pending, bias.tensor));
    assert_ok(tv_column_sums_add(recorder, &pending));
    tv_test_run(device, recorder);
    oracle_gelu_backward(count, x, d_y, expected);
    for (uint64_t c = 0; c < columns; c++)
        sums[c] = (double)start[c];
    for (uint64_t i = 0; i < count; i++)
        sums[i % columns] += expected[i];
    compare("gelu gradient", gradient, expected, 4e-6);
    /* Errors of a value as a random walk, of which 4 deviations are allowed. */
    compare("gelu column sums", &bias, sums, 1.6e-5 * sqrt((double)rows));
    tv_test_tensor *tensors[] = {&in, &d_out, &d_in, &bias, &scratch};
    for (size_t i = 0; i < TV_COUNT(tensors); i++)
        tv_test_free(tensors[i]);
    tv_free_all(x, d_y, start, expected);
}

/* Tried, and fails: the sum of d_y in its place. */
static void gelu_with_column_sums_equals_the_oracle(void **state) {
    tv_device *devices[] = {*state, tv_test_open_lowered("cpu_kernels=0"),
                            tv_test_open_lowered("cpu_kernels=0,storage_range=65536,group_count_x=5")};
    for (size_t d = 0; d < TV_COUNT(devices); d++) {
        check_gelu_columns(devices[d], 1, 4, false);
        check_gelu_columns(devices[d], 77, 96, true);
        check_gelu_columns(devices[d], 300, 36, false);
        check_gelu_columns(devices[d], 33, 17, true);
        check_gelu_columns(devices[d], 5000, 8, false);
        if (d > 0)
            tv_device_close(&devices[d]);
    }
}

static void check_gated(tv_device *device, uint64_t rows, uint64_t features, bool gelu) {
    uint64_t count = rows * features;
    float *gate_up = randoms(2 * count, count, 8), *d_y = randoms(count, count + 1, 1);
    double *expected = malloc(2 * count * sizeof *expected);
    gate_up[0] = 1000;
    gate_up[features - 1] = -1000;
    tv_test_tensor in = tv_test_floats(device, 2 * count, gate_up), out = tv_test_floats(device, count, NULL);
    tv_test_tensor d_out = tv_test_floats(device, count, d_y);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok((gelu ? tv_geglu_forward : tv_swiglu_forward)(recorder, rows, features, in.tensor, out.tensor));
    assert_ok(
        (gelu ? tv_geglu_backward : tv_swiglu_backward)(recorder, rows, features, in.tensor, d_out.tensor));
    tv_test_run(device, recorder);
    (gelu ? oracle_geglu_forward : oracle_swiglu_forward)(rows, features, gate_up, expected);
    compare(gelu ? "geglu" : "swiglu", &out, expected, 4e-6);
    (gelu ? oracle_geglu_backward : oracle_swiglu_backward)(rows, features, gate_up, d_y, expected);
    compare(gelu ? "geglu gradient" : "swiglu gradient", &in, expected, gelu ? 8e-6 : 4e-6);
    tv_test_free(&in);
    tv_test_free(&out);
    tv_test_free(&d_out);
    tv_free_all(gate_up, d_y, expected);
}

static void check_gates(tv_device *device, uint64_t rows, uint64_t features) {
    check_gated(device, rows, features, false);
    check_gated(device, rows, features, true);
}

static void gelu_equals_the_oracle(void **state) {
    const uint64_t counts[] = {1, 3, 7, 255, 256, 257, 1028, 70000, 70001};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        check_gelu(*state, counts[c], false);
        check_gelu(*state, counts[c], true);
    }
}

static void gates_equal_the_oracle(void **state) {
    const uint64_t shapes[][2] = {{1, 1},    {3, 17},   {65, 64},   {5, 344},
                                  {2, 8200}, {3, 4099}, {70000, 3}, {66000, 4}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        check_gates(*state, shapes[s][0], shapes[s][1]);
    }
}

/* Arrays and rows are cut into several dispatches, grids are folded. */
static void small_limits_equal_the_oracle(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=65536,group_count_x=5");
    check_gelu(device, 50000, false);
    check_gelu(device, 50001, true);
    check_gates(device, 700, 64);
    check_gates(device, 700, 65);
    tv_device_close(&device);
}

/* The form for GPUs: workgroups of several subgroups. */
static void wide_workgroups_equal_the_oracle(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("cpu_kernels=0");
    check_gates(device, 3, 4099);
    check_gates(device, 2, 8200);
    tv_device_close(&device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gelu_equals_the_oracle),
        cmocka_unit_test(gelu_with_column_sums_equals_the_oracle),
        cmocka_unit_test(gates_equal_the_oracle),
        cmocka_unit_test(small_limits_equal_the_oracle),
        cmocka_unit_test(wide_workgroups_equal_the_oracle),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
