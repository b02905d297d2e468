/* kernels/reduce against the oracle.
 *
 * Tolerance: n terms in [-1, 1) that go through at most d additions one after another err by at most d eps n;
 * the errors have random signs, so d eps sqrt(n) is generous. A lane adds at most 40 values in a block of
 * 4,096 and blocks nest at most three times, d < 128: 128 * 6e-8 sqrt(n) = 8e-6 sqrt(n). A column adds at
 * most 32 trees of 8 in a block: the same. Sums of small integers are exact in any order and are compared
 * with tolerance 0.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/column_sums.h"
#include "kernels/reduce.h"
#include "oracle/reduce.h"

static void check_bands(tv_test_tensor *scratch) {
    void *content = malloc(scratch->count * sizeof(float));
    assert_non_null(content);
    tv_test_read(scratch, content);
    free(content);
    tv_test_free(scratch);
}

/* `start` NULL: the output is overwritten, and starts as NaN. It stands between two others, which stay. */
static float run_sum(tv_device *device, uint64_t count, const float *x, const float *start) {
    float sums[3] = {7, start ? *start : NAN, 9};
    tv_test_tensor in = tv_test_floats(device, count, x), out = tv_test_floats(device, 3, sums);
    tv_test_tensor scratch = tv_test_floats(device, tv_reduce_scratch(count) / sizeof(float), NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_reduce_sum(recorder, count, in.tensor, out.tensor, 1, start != NULL, scratch.tensor));
    tv_test_run(device, recorder);
    tv_test_read(&out, sums);
    assert_true(sums[0] == 7 && sums[2] == 9);
    check_bands(&scratch);
    tv_test_free(&in);
    tv_test_free(&out);
    return sums[1];
}

static void run_sum_rows(tv_device *device, uint64_t rows, uint64_t columns, const float *x, float *output) {
    tv_test_tensor in = tv_test_floats(device, rows * columns, x);
    tv_test_tensor out = tv_test_floats(device, columns, output);
    tv_test_tensor scratch = tv_test_floats(device, tv_sum_rows_scratch(rows, columns) / sizeof(float), NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_sum_rows(recorder, rows, columns, in.tensor, out.tensor, scratch.tensor));
    tv_test_run(device, recorder);
    tv_test_read(&out, output);
    check_bands(&scratch);
    tv_test_free(&in);
    tv_test_free(&out);
}

static void sum_equals_the_oracle(void **state) {
    tv_device *device = *state;
    /* One block, several, and more than 4,096 blocks, which makes three levels. */
    const uint64_t counts[] = {1, 2, 3, 17, 65, 4095, 4096, 4097, 4099, 70001, 4096 * 4096 + 4099};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        uint64_t count = counts[c];
        float *x = malloc(count * sizeof *x), start = 2.5f;
        tv_test_random(x, count, c);
        double expected = oracle_sum(count, x), tolerance = 8e-6 * sqrt((double)count);
        assert_near(run_sum(device, count, x, NULL), expected, tolerance);
        assert_near(run_sum(device, count, x, &start), expected + (double)start, tolerance + 3e-7);
        free(x);
    }
}

static void sum_of_integers_is_exact(void **state) {
    const uint64_t counts[] = {1, 4095, 4097, 300007};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        float *x = malloc(counts[c] * sizeof *x);
        for (uint64_t i = 0; i < counts[c]; i++)
            x[i] = (float)(i % 7) - 2;
        assert_near(run_sum(*state, counts[c], x, NULL), oracle_sum(counts[c], x), 0);
        free(x);
    }
}

static void sum_of_nothing_is_zero(void **state) {
    float sum;
    tv_device *device = *state;
    tv_test_tensor out = tv_test_floats(device, 1, NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_reduce_sum(recorder, 0, (tv_tensor){0}, out.tensor, 0, false, (tv_tensor){0}));
    tv_test_run(device, recorder);
    tv_test_read(&out, &sum);
    assert_near(sum, 0, 0);
    tv_test_free(&out);
}

static void column_sums_equal_the_oracle(void **state) {
    tv_device *device = *state;
    const uint64_t shapes[][2] = {{1, 1},     {1, 17},    {3, 4},     {17, 3},   {32, 8},
                                  {33, 65},   {65, 128},  {100, 96},  {1025, 5}, {1030, 8},
                                  {70001, 3}, {70001, 4}, {70001, 1}, {5, 5000}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        uint64_t rows = shapes[s][0], columns = shapes[s][1];
        float *x = malloc(rows * columns * sizeof *x), *output = malloc(columns * sizeof *output);
        double *expected = malloc(columns * sizeof *expected);
        tv_test_random(x, rows * columns, s);
        tv_test_random(output, columns, s + 100);
        for (uint64_t c = 0; c < columns; c++)
            expected[c] = (double)output[c];
        oracle_sum_rows(rows, columns, x, expected);
        run_sum_rows(device, rows, columns, x, output);
        tv_test_compare("column sums", output, expected, columns, 8e-6 * sqrt((double)rows), 1e-7);
        tv_free_all(x, output, expected);
    }
}

/* Gradients of several vectors that are added together, more of them than one dispatch takes, and some of
 * other rows; in one buffer with a guard between two, as a model's lie. */
static void check_gradients(tv_device *device, const uint64_t shapes[][2], size_t count,
                            double scratch_share) {
    enum { MOST_COLUMNS = 1100 };
    uint64_t most = 0, all = 0, places[32], columns_in_all = 0;
    for (size_t g = 0; g < count; g++) {
        places[g] = all;
        all += tv_align_up(shapes[g][1] + 1, TV_TENSOR_ALIGNMENT / sizeof(float));
        most = tv_max_u64(most, shapes[g][0]);
        columns_in_all += shapes[g][1];
    }
    float *output = malloc(all * sizeof *output), *x[32];
    double *expected = malloc(all * sizeof *expected);
    tv_test_random(output, all, 50);
    tv_test_tensor in[32], out = tv_test_floats(device, all, output);
    double bytes = (double)tv_column_sums_scratch(tv_device_caps(device), most, columns_in_all, MOST_COLUMNS);
    tv_test_tensor scratch = tv_test_floats(device, (uint64_t)(bytes * scratch_share) / sizeof(float), NULL);
    tv_column_sums sums = {.scratch = scratch.tensor};
    tv_recorder *recorder = tv_test_begin(device);
    for (uint64_t i = 0; i < all; i++)
        expected[i] = (double)output[i];
    for (size_t g = 0; g < count; g++) {
        uint64_t rows = shapes[g][0], columns = shapes[g][1];
        assert_true(columns <= MOST_COLUMNS);
        x[g] = malloc(rows * columns * sizeof **x);
        tv_test_random(x[g], rows * columns, g);
        in[g] = tv_test_floats(device, rows * columns, x[g]);
        tv_tensor gradient = out.tensor;
        gradient.span = tv_span_part(gradient.span, places[g] * sizeof(float), columns * sizeof(float));
        assert_ok(tv_column_sums_rows(recorder, &sums, rows, columns, in[g].tensor, gradient));
        oracle_sum_rows(rows, columns, x[g], expected + places[g]);
    }
    assert_ok(tv_column_sums_add(recorder, &sums));
    assert_ok(tv_column_sums_add(recorder, &sums)); /* of nothing */
    tv_test_run(device, recorder);
    tv_test_read(&out, output);
    tv_test_compare("gradients", output, expected, all, 8e-6 * sqrt((double)most), 1e-7);
    check_bands(&scratch);
    tv_test_free(&out);
    for (size_t g = 0; g < count; g++) {
        tv_test_free(&in[g]);
        free(x[g]);
    }
    tv_free_all(output, expected);
}

/* Tried, each fails: one chunk left out; what is pending forgotten where the scratch is full. */
static void gradients_are_added_together(void **state) {
    static const uint64_t layer[][2] = {{300, 768}, {300, 5},   {300, 96}, {300, 1}, {300, 17}, {300, 64},
                                        {300, 3},   {300, 512}, {300, 2},  {300, 8}, {300, 33}, {300, 7}},
                          mixed[][2] = {{1, 1}, {65, 4}, {20001, 3}, {9, 1100}, {9000, 8}};
    tv_device *devices[] = {*state, tv_test_open_lowered("cpu_kernels=0"),
                            tv_test_open_lowered("storage_range=65536,group_count_x=64")};
    for (size_t d = 0; d < TV_COUNT(devices); d++) {
        check_gradients(devices[d], layer, TV_COUNT(layer), 1);
        check_gradients(devices[d], layer, TV_COUNT(layer), 0.6);
        check_gradients(devices[d], mixed, TV_COUNT(mixed), 1);
        if (d > 0)
            tv_device_close(&devices[d]);
    }
}

/* On a device of small limits every path splits and folds. A sum and blocks that fit give the same bits
 * there. */
static void small_limits_give_the_same(void **state) {
    tv_device *small = NULL;
    tv_device_options options = {.select = getenv("TRIVIUM_TEST_DEVICE")};
    assert_int_equal(setenv("TRIVIUM_CAPS_MAX", "storage_range=65536,group_count_x=64", 1), 0);
    assert_ok(tv_device_open(&options, &small));
    assert_int_equal(unsetenv("TRIVIUM_CAPS_MAX"), 0);

    uint64_t count = 1600003;
    float *x = malloc(count * sizeof *x);
    tv_test_random(x, count, 7);
    float one = run_sum(*state, count, x, NULL), other = run_sum(small, count, x, NULL);
    assert_memory_equal(&one, &other, sizeof one);

    /* Whole blocks per part, with and without vectors; the last two shapes cut blocks of 64 and 32 rows. */
    const uint64_t shapes[][2] = {{10007, 12}, {10007, 11}, {3000, 512}, {900, 1000}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        uint64_t rows = shapes[s][0], columns = shapes[s][1];
        float *a = calloc(columns, sizeof *a), *b = calloc(columns, sizeof *b);
        double *expected = calloc(columns, sizeof *expected);
        run_sum_rows(*state, rows, columns, x, a);
        run_sum_rows(small, rows, columns, x, b);
        oracle_sum_rows(rows, columns, x, expected);
        tv_test_compare("column sums", b, expected, columns, 8e-6 * sqrt((double)rows), 1e-7);
        if (columns < 100)
            assert_memory_equal(a, b, columns * sizeof *a);
        tv_free_all(a, b, expected);
    }
    free(x);
    tv_device_close(&small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sum_equals_the_oracle),      cmocka_unit_test(sum_of_integers_is_exact),
        cmocka_unit_test(sum_of_nothing_is_zero),     cmocka_unit_test(column_sums_equal_the_oracle),
        cmocka_unit_test(small_limits_give_the_same), cmocka_unit_test(gradients_are_added_together),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
