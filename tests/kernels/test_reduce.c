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
        cmocka_unit_test(small_limits_give_the_same),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
