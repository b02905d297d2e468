/* Products whose rows are normed in the same dispatch, beside the product and the norm in two: the bits are
 * equal, for any number of rows, because decoding takes the one and training the other (kernels/matmul.h).
 * Each case runs twice over the same counters.
 *
 * Tried: a group of rows whose last part is not waited for, a residual that is left out, counters that stay.
 */
#include "support/device.h"

#include <stdlib.h>

#include "kernels/matmul.h"
#include "kernels/texels.h"

typedef struct normed_case {
    uint64_t m, n, k;
    tv_norm_kind kind;
    bool residual, bias, from_one;
    bool lies_over; /* the norm goes where A is read */
} normed_case;

typedef struct operands {
    tv_test_tensor a, b, bias, residual, gain, shift, arrived;
} operands;

static operands make_operands(tv_device *device, const normed_case *t) {
    const uint64_t counts[] = {t->m * t->k, t->n * t->k, t->n, t->m * t->n, t->n, t->n};
    tv_test_tensor tensors[TV_COUNT(counts)];
    for (size_t i = 0; i < TV_COUNT(counts); i++) {
        float *values = malloc(counts[i] * sizeof *values);
        assert_non_null(values);
        tv_test_random(values, counts[i], i + 1);
        tensors[i] = tv_test_floats(device, counts[i], values);
        free(values);
    }
    uint32_t *zeros = calloc(tv_matmul_arrived(t->m), sizeof *zeros);
    assert_non_null(zeros);
    operands o = {tensors[0],
                  tensors[1],
                  tensors[2],
                  tensors[3],
                  tensors[4],
                  tensors[5],
                  tv_test_uints(device, tv_matmul_arrived(t->m), zeros)};
    free(zeros);
    return o;
}

/* Dispatches that it took. `counted`: with what a norm in the product wants. */
static uint32_t run(tv_device *device, const normed_case *t, const operands *o, bool counted, float *sum,
                    float *out) {
    tv_test_tensor c = tv_test_floats(device, t->m * t->n, NULL),
                   y = tv_test_floats(device, t->m * t->n, NULL),
                   statistics = tv_test_floats(device, t->m, NULL);
    const tv_norm_forward norm = {.kind = t->kind,
                                  .rows = t->m,
                                  .channels = t->n,
                                  .eps = 1e-5F,
                                  .gain_from_one = t->from_one,
                                  .input = c.tensor,
                                  .residual = t->residual ? o->residual.tensor : TV_ABSENT,
                                  .gain = o->gain.tensor,
                                  .bias = t->kind == TV_NORM_LAYER ? o->shift.tensor : TV_ABSENT,
                                  .sum = t->residual ? c.tensor : TV_ABSENT,
                                  .output = t->lies_over ? o->a.tensor : y.tensor,
                                  .mean = t->kind == TV_NORM_LAYER ? statistics.tensor : TV_ABSENT,
                                  .rstd = statistics.tensor};
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_matmul_record(recorder, &(tv_matmul){.m = t->m,
                                                      .n = t->n,
                                                      .k = t->k,
                                                      .transpose_b = true,
                                                      .a = o->a.tensor,
                                                      .b = o->b.tensor,
                                                      .bias = t->bias ? o->bias.tensor : TV_ABSENT,
                                                      .c = c.tensor,
                                                      .norm = &norm,
                                                      .arrived = counted ? o->arrived.tensor : TV_ABSENT}));
    tv_recording *recording = NULL;
    uint64_t value = 0;
    assert_ok(tv_recorder_end(&recorder, &recording));
    uint32_t dispatches = tv_recording_get_info(recording).dispatches;
    for (int i = 0; i < (counted && !t->lies_over ? 2 : 1); i++) {
        assert_ok(tv_submit(device, &recording, 1, &value));
        assert_ok(tv_wait(device, value));
    }
    tv_recording_destroy(&recording);
    tv_test_read(&c, sum);
    tv_test_read(t->lies_over ? &o->a : &y, out);
    tv_test_free(&c);
    tv_test_free(&y);
    tv_test_free(&statistics);
    return dispatches;
}

static void check(tv_device *device, const normed_case *t, bool in_one) {
    const uint64_t count = t->m * t->n, words = tv_matmul_arrived(t->m);
    float *sum[2], *out[2];
    uint32_t *arrived = malloc(words * sizeof *arrived), dispatches[2];
    assert_non_null(arrived);
    for (int i = 0; i < 2; i++) {
        operands o = make_operands(device, t);
        sum[i] = malloc(count * sizeof *sum[i]);
        out[i] = malloc(count * sizeof *out[i]);
        assert_true(sum[i] && out[i]);
        dispatches[i] = run(device, t, &o, i == 1, sum[i], out[i]);
        tv_test_read(&o.arrived, arrived);
        for (uint64_t w = 0; w < words; w++)
            assert_int_equal(arrived[w], 0);
        tv_test_tensor *const tensors[] = {&o.a, &o.b, &o.bias, &o.residual, &o.gain, &o.shift, &o.arrived};
        for (size_t j = 0; j < TV_COUNT(tensors); j++)
            tv_test_free(tensors[j]);
    }
    assert_int_equal(dispatches[0], 2);
    assert_int_equal(dispatches[1], in_one ? 1 : 2);
    assert_memory_equal(sum[0], sum[1], count * sizeof **sum);
    assert_memory_equal(out[0], out[1], count * sizeof **out);
    tv_free_all(sum[0], sum[1], out[0], out[1], arrived);
}

static bool has_kernels(tv_device *device) {
    tv_recorder *recorder = tv_test_begin(device);
    bool has = tv_cpu_lanes(tv_recorder_caps(recorder)) > 0 && tv_recorder_texels(recorder) > 0;
    tv_recorder_abort(&recorder);
    return has;
}

static void one_dispatch_gives_the_bits_of_two(void **state) {
    tv_device *device = *state;
    const uint64_t rows[] = {1, 2, 4, 5, 17, 33, 64, 300};
    const bool has = has_kernels(device);
    for (size_t i = 0; i < TV_COUNT(rows); i++) {
        check(device, &(normed_case){rows[i], 128, 96, TV_NORM_LAYER, true, true, false, false}, has);
        check(device, &(normed_case){rows[i], 36, 64, TV_NORM_RMS, true, false, true, false}, has);
    }
    check(device, &(normed_case){40, 128, 128, TV_NORM_LAYER, false, true, false, false}, has);
}

/* Where C is not in fours, a row is too wide for registers, or the norm would write over what is read. */
static void others_take_two(void **state) {
    tv_device *device = *state;
    check(device, &(normed_case){20, 37, 64, TV_NORM_LAYER, true, true, false, false}, false);
    check(device, &(normed_case){3, 516, 32, TV_NORM_RMS, true, false, false, false}, false);
    check(device, &(normed_case){40, 64, 64, TV_NORM_LAYER, true, true, false, true}, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_dispatch_gives_the_bits_of_two),
                                       cmocka_unit_test(others_take_two)};
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
