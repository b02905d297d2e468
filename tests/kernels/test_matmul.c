/* kernels/matmul against the oracle, in all forms and variants, whole and cut.
 *
 * Tolerance: values are uniform in [-1, 1), so a partial sum of i products is about sqrt(i)/3 and its
 * rounding error about 2^-25 sqrt(i)/3; over k of them, independent, that is 2^-25 k / (3 sqrt 2) = 7e-9 k as
 * the deviation, and 3e-8 k for the largest of 10^5 results. 1e-7 (k + 8) is three times that, with a term
 * for the bias and the result itself. GELU's slope is at most 1.13, and it errs by 1e-6 of its own
 * (test_activation.c).
 *
 * In a matrix tier operands are rounded, by u = 2^-11 or 2^-8 of each at most. A value's own error is then on
 * average 0.44 u / 2, so that of a product of two 0.36 u / 2 as the deviation, of a sum of k 0.18 u sqrt(k),
 * and 0.8 u sqrt(k) for the largest of 10^5; u (sqrt(k) + 2) leaves room for small k, where the two whole
 * errors add up.
 *
 * A scale is at most 1, so it only makes the errors smaller. Multiples of 4 go through texels on CPU devices.
 * Tried: a column or row of a lane off by one, texels of k or of rows exchanged, tiles counted by the other
 * side, GELU of each part of a product that is cut along k.
 */
#include "support/device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/activation.h"
#include "kernels/matmul.h"
#include "oracle/activation.h"
#include "oracle/matmul.h"
#include "sizes.h"

typedef struct shape {
    uint64_t m, n, k;
    bool bias, accumulate;
    uint64_t pad;   /* elements between the end of a stored row and the next */
    uint64_t batch; /* 0: no batch */
    bool shared_b;  /* one B for the batch */
    uint64_t shift; /* the operands start this many elements into their tensors */
    bool gelu;
    float scale;
} shape;

static float *random_floats(uint64_t count, uint64_t seed) {
    float *values = malloc((count ? count : 1) * sizeof *values);
    assert_non_null(values);
    tv_test_random(values, count, seed);
    return values;
}

static double tolerance_of(tv_device *device, uint64_t k) {
    return 1e-7 * (double)(k + 8) + tv_test_rounding(device) * (sqrt((double)k) + 2);
}

/* The tensor without its first `shift` elements. */
static tv_tensor shifted(tv_tensor tensor, uint64_t shift) {
    tensor.span = tv_span_part(tensor.span, shift * sizeof(float), tensor.span.bytes - shift * sizeof(float));
    return tensor;
}

static void check(tv_device *device, const shape *s, bool transpose_a, bool transpose_b) {
    uint64_t batch = s->batch ? s->batch : 1;
    uint64_t rows_a = transpose_a ? s->k : s->m, lda = (transpose_a ? s->m : s->k) + s->pad;
    uint64_t rows_b = transpose_b ? s->n : s->k, ldb = (transpose_b ? s->k : s->n) + s->pad;
    uint64_t ldc = s->n + s->pad;
    uint64_t stride_a = rows_a * lda, stride_b = s->shared_b ? 0 : rows_b * ldb,
             stride_c = (s->m + (s->pad ? 2 : 0)) * ldc;
    uint64_t count_a = s->shift + batch * stride_a, count_c = s->shift + batch * stride_c;
    uint64_t count_b = s->shift + (s->shared_b ? 1 : batch) * rows_b * ldb;
    float *a = random_floats(count_a, 1), *b = random_floats(count_b, 2), *bias = random_floats(s->n, 3);
    float *before = random_floats(count_c, 4), *c = malloc(count_c * sizeof *c);
    double *expected = malloc(count_c * sizeof *expected);

    /* What lies between rows and between products must stay as it was: drivers drop writes past a binding, so
     * those would not show in the guard bands. */
    for (uint64_t i = 0; i < count_c; i++)
        expected[i] = (double)before[i];
    for (uint64_t i = 0; i < batch; i++)
        oracle_matmul_run(&(oracle_matmul){.m = s->m,
                                           .n = s->n,
                                           .k = s->k,
                                           .transpose_a = transpose_a,
                                           .transpose_b = transpose_b,
                                           .lda = lda,
                                           .ldb = ldb,
                                           .ldc = ldc,
                                           .scale = (double)s->scale,
                                           .a = a + s->shift + i * stride_a,
                                           .b = b + s->shift + i * stride_b,
                                           .bias = s->bias ? bias : NULL,
                                           .before = s->accumulate ? before + s->shift + i * stride_c : NULL,
                                           .c = expected + s->shift + i * stride_c});
    if (s->gelu)
        for (uint64_t i = 0; i < count_c; i++)
            expected[i] = oracle_gelu(expected[i]);
    tv_test_tensor in_a = tv_test_floats(device, count_a, a), in_b = tv_test_floats(device, count_b, b);
    tv_test_tensor in_bias = tv_test_floats(device, s->n, bias);
    tv_test_tensor scratch = tv_test_floats(device, 2 * s->m * s->n, NULL); /* two slices at once */
    /* A result that fills its tensor starts as NaN, to show what was read or left out. */
    bool from_nan = !s->accumulate && s->pad == 0 && s->shift == 0;
    tv_test_tensor out = tv_test_floats(device, count_c, from_nan ? NULL : before);
    tv_matmul product = {.m = s->m,
                         .n = s->n,
                         .k = s->k,
                         .transpose_a = transpose_a,
                         .transpose_b = transpose_b,
                         .accumulate = s->accumulate,
                         .gelu = s->gelu,
                         .scale = s->scale,
                         .lda = s->pad ? lda : 0,
                         .ldb = s->pad ? ldb : 0,
                         .ldc = s->pad ? ldc : 0,
                         .batch = s->batch,
                         .stride_a = stride_a,
                         .stride_b = stride_b,
                         .stride_c = stride_c,
                         .a = shifted(in_a.tensor, s->shift),
                         .b = shifted(in_b.tensor, s->shift),
                         .c = shifted(out.tensor, s->shift),
                         .scratch = scratch.tensor};
    if (s->bias)
        product.bias = in_bias.tensor;
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_matmul_record(recorder, &product));
    tv_test_run(device, recorder);
    tv_test_read(&out, c);
    char what[96];
    snprintf(what, sizeof what, "%c%c %llux%llux%llu bias %d accumulate %d pad %llu batch %llu shift %llu",
             transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', (unsigned long long)s->m,
             (unsigned long long)s->n, (unsigned long long)s->k, s->bias, s->accumulate,
             (unsigned long long)s->pad, (unsigned long long)s->batch, (unsigned long long)s->shift);
    double tolerance = tolerance_of(device, s->k);
    tv_test_compare(what, c, expected, count_c, s->gelu ? 1.13 * tolerance + 1e-6 : tolerance, 1e-6);
    tv_test_free(&in_a);
    tv_test_free(&in_b);
    tv_test_free(&in_bias);
    tv_test_free(&out);
    tv_test_free(&scratch);
    tv_free_all(a, b, bias, before, c, expected);
}

static void check_forms(tv_device *device, const shape *s) {
    for (int form = 0; form < 4; form++)
        check(device, s, form & 1, form & 2);
}

static const shape shapes[] = {
    {.m = 1, .n = 1, .k = 1},
    {.m = 3, .n = 5, .k = 7, .bias = true},
    {.m = 17, .n = 65, .k = 33, .accumulate = true},
    {.m = 65, .n = 17, .k = 130, .bias = true, .pad = 3},
    {.m = 64, .n = 64, .k = 64, .bias = true},
    {.m = 31, .n = 68, .k = 29, .accumulate = true, .pad = 4},
    {.m = 130, .n = 200, .k = 72},
    {.m = 128, .n = 192, .k = 48, .accumulate = true},
    {.m = 20, .n = 36, .k = 12, .bias = true, .shift = 1},
    {.m = 1, .n = 300, .k = 257, .bias = true},
    {.m = 5, .n = 70, .k = 128, .accumulate = true},
    {.m = 8, .n = 64, .k = 64, .pad = 4, .shift = 4},
    {.m = 40, .n = 24, .k = 0, .bias = true},
    {.m = 9, .n = 66, .k = 18, .batch = 5, .bias = true},
    {.m = 33, .n = 20, .k = 16, .batch = 3, .accumulate = true, .pad = 1, .shared_b = true},
    {.m = 2, .n = 40, .k = 24, .batch = 4, .pad = 4},
    {.m = 3, .n = 21, .k = 40, .batch = 3, .pad = 1, .bias = true},
    {.m = 36, .n = 52, .k = 20, .bias = true},
    {.m = 4, .n = 100, .k = 44, .bias = true, .gelu = true},
    {.m = 100, .n = 4, .k = 12, .accumulate = true, .pad = 4, .shift = 4},
    {.m = 20, .n = 36, .k = 4, .batch = 3, .accumulate = true, .pad = 8, .shared_b = true},
    {.m = 33, .n = 35, .k = 21, .bias = true, .gelu = true},
    {.m = 19, .n = 36, .k = 16, .accumulate = true, .scale = 0.5f},
    {.m = 3, .n = 33, .k = 7, .scale = -0.75f, .pad = 2, .accumulate = true, .shift = 1},
    {.m = 70, .n = 20, .k = 16, .scale = 0.25f},
    {.m = 5, .n = 8, .k = 12, .gelu = true, .scale = 0.3f},
    {.m = 1, .n = 12, .k = 12, .scale = 0.7f},
    {.m = 70, .n = 68, .k = 1100, .bias = true, .gelu = true},
    {.m = 12, .n = 132, .k = 513, .accumulate = true, .scale = 0.5f},
    {.m = 3, .n = 21, .k = 4500, .bias = true},
    {.m = 7, .n = 12, .k = 1024, .batch = 2, .accumulate = true, .pad = 4},
};

static void forms_equal_the_oracle(void **state) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_forms(*state, &shapes[i]);
}

/* One head out of several that lie side by side in each row: the stride is less than a row. */
static void interleaved_batches_equal_the_oracle(void **state) {
    tv_device *device = *state;
    enum { HEADS = 3, T = 21, D = 20, ROW = HEADS * D };
    float *q = random_floats(T * ROW, 5), *k = random_floats(T * ROW, 6),
          *scores = random_floats(HEADS * T * T, 7);
    double *expected = malloc(HEADS * T * T * sizeof *expected);
    for (int head = 0; head < HEADS; head++)
        oracle_matmul_run(&(oracle_matmul){.m = T,
                                           .n = T,
                                           .k = D,
                                           .transpose_b = true,
                                           .lda = ROW,
                                           .ldb = ROW,
                                           .ldc = T,
                                           .a = q + head * D,
                                           .b = k + head * D,
                                           .c = expected + head * T * T});
    tv_test_tensor in_q = tv_test_floats(device, T * ROW, q), in_k = tv_test_floats(device, T * ROW, k);
    tv_test_tensor out = tv_test_floats(device, HEADS * T * T, NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_matmul_record(recorder, &(tv_matmul){.m = T,
                                                      .n = T,
                                                      .k = D,
                                                      .transpose_b = true,
                                                      .lda = ROW,
                                                      .ldb = ROW,
                                                      .batch = HEADS,
                                                      .stride_a = D,
                                                      .stride_b = D,
                                                      .stride_c = T * T,
                                                      .a = in_q.tensor,
                                                      .b = in_k.tensor,
                                                      .c = out.tensor}));
    tv_test_run(device, recorder);
    tv_test_read(&out, scores);
    tv_test_compare("scores", scores, expected, HEADS * T * T, tolerance_of(device, D), 1e-6);
    tv_test_free(&in_q);
    tv_test_free(&in_k);
    tv_test_free(&out);
    tv_free_all(q, k, scores, expected);
}

static void many_rows_equal_the_oracle(void **state) {
    check(*state, &(shape){.m = 70001, .n = 5, .k = 6, .bias = true}, false, true);
    check(*state, &(shape){.m = 5, .n = 70001, .k = 3}, false, false);
    check(*state, &(shape){.m = 4, .n = 6, .k = 70001, .accumulate = true}, true, false);
}

static void small_ranges_equal_the_oracle(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=65536,group_count_x=3");
    const shape cut[] = {
        {.m = 300, .n = 70, .k = 65, .bias = true},
        {.m = 300, .n = 260, .k = 280, .bias = true},
        {.m = 257, .n = 259, .k = 261, .accumulate = true},
        {.m = 70, .n = 33, .k = 600, .bias = true, .pad = 5, .shift = 3},
        {.m = 60, .n = 40, .k = 50, .batch = 20, .bias = true},
        {.m = 3, .n = 60, .k = 50, .batch = 200, .shared_b = true},
        {.m = 150, .n = 151, .k = 152, .batch = 2, .accumulate = true},
        {.m = 2, .n = 900, .k = 300, .bias = true},
        {.m = 300, .n = 260, .k = 280, .bias = true, .gelu = true},
        {.m = 68, .n = 36, .k = 600, .accumulate = true, .pad = 4, .shift = 4},
        {.m = 68, .n = 36, .k = 600, .accumulate = true, .scale = 0.3f},
    };
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++)
        check_forms(device, &cut[i]);
    tv_device_close(&device);
}

static void check_lowered(const char *caps) {
    tv_device *device = tv_test_open_lowered(caps);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_forms(device, &shapes[i]);
    tv_device_close(&device);
}

static void without_shuffles_equals_the_oracle(void **state) {
    (void)state;
    check_lowered("subgroup_shuffle=0");
    check_lowered("subgroup_shuffle=0,compute_units=1"); /* large tiles */
}

static void without_texels_equals_the_oracle(void **state) {
    (void)state;
    check_lowered("texels=0");
    check_lowered("texels=300"); /* some of the operands, but not all */
}

/* GELU in the product or after it, in every kind of kernel: the same bits. */
static void gelu_keeps_its_bits(void **state) {
    enum { M = 37, N = 68, K = 52 };
    float *a = random_floats(M * K, 1), *b = random_floats(N * K, 2), *bias = random_floats(N, 3);
    float *first = malloc(M * N * sizeof *first), *other = malloc(M * N * sizeof *other);
    tv_device *devices[] = {*state, tv_test_open_lowered("texels=0"),
                            tv_test_open_lowered("subgroup_shuffle=0")};
    for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
        tv_test_tensor in_a = tv_test_floats(devices[d], M * K, a),
                       in_b = tv_test_floats(devices[d], N * K, b),
                       in_bias = tv_test_floats(devices[d], N, bias);
        for (int apart = 0; apart < 2; apart++) {
            tv_test_tensor out = tv_test_floats(devices[d], M * N, NULL);
            tv_recorder *recorder = tv_test_begin(devices[d]);
            assert_ok(tv_matmul_record(recorder, &(tv_matmul){.m = M,
                                                              .n = N,
                                                              .k = K,
                                                              .transpose_b = true,
                                                              .gelu = !apart,
                                                              .a = in_a.tensor,
                                                              .b = in_b.tensor,
                                                              .bias = in_bias.tensor,
                                                              .c = out.tensor}));
            if (apart)
                assert_ok(tv_gelu_forward(recorder, M * N, out.tensor, out.tensor));
            tv_test_run(devices[d], recorder);
            tv_test_read(&out, apart ? other : first);
            tv_test_free(&out);
        }
        assert_memory_equal(first, other, M * N * sizeof *first);
        tv_test_free(&in_a);
        tv_test_free(&in_b);
        tv_test_free(&in_bias);
        if (d > 0)
            tv_device_close(&devices[d]);
    }
    tv_free_all(a, b, bias, first, other);
}

/* The first `m` rows of one product, as bits. */
static void first_rows(tv_device *device, const float *a, const float *b, const float *bias, uint64_t m,
                       uint64_t n, uint64_t k, uint64_t slices, float *c) {
    tv_test_tensor in_a = tv_test_floats(device, m * k, a), in_b = tv_test_floats(device, n * k, b),
                   in_bias = tv_test_floats(device, n, bias), out = tv_test_floats(device, m * n, NULL),
                   scratch = tv_test_floats(device, slices ? slices * m * n : 1, NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_matmul_record(recorder, &(tv_matmul){.m = m,
                                                      .n = n,
                                                      .k = k,
                                                      .transpose_b = true,
                                                      .a = in_a.tensor,
                                                      .b = in_b.tensor,
                                                      .bias = in_bias.tensor,
                                                      .scratch = slices ? scratch.tensor : TV_ABSENT,
                                                      .c = out.tensor}));
    tv_test_run(device, recorder);
    tv_test_read(&out, c);
    double *expected = malloc(m * n * sizeof *expected);
    oracle_matmul_run(&(oracle_matmul){.m = m,
                                       .n = n,
                                       .k = k,
                                       .transpose_b = true,
                                       .lda = k,
                                       .ldb = k,
                                       .ldc = n,
                                       .a = a,
                                       .b = b,
                                       .bias = bias,
                                       .c = expected});
    tv_test_compare("rows", c, expected, m * n, tolerance_of(device, k), 1e-6);
    free(expected);
    tv_test_free(&in_a);
    tv_test_free(&in_b);
    tv_test_free(&in_bias);
    tv_test_free(&out);
    tv_test_free(&scratch);
}

/* A decoder's rows come and go, and a training batch is wide or narrow and its head is cut into chunks:
 * whatever the number of rows, all bits of a row stay. Devices are cut and tiled differently, and those with
 * the kernels of GPUs agree with each other: few rows, small tiles, large ones, sums that are cut along k. */
static void rows_keep_their_bits(void **state) {
    enum { M = 300, N = 132, K = 1100 };
    float *a = random_floats(M * K, 1), *b = random_floats(N * K, 2), *bias = random_floats(N, 3);
    float *all = malloc(M * N * sizeof *all), *some = malloc(M * N * sizeof *some),
          *gpu[2] = {malloc(M * N * sizeof **gpu), malloc(M * N * sizeof **gpu)};
    const struct {
        const char *caps; /* NULL: the device as it is */
        bool gpu;
    } devices[] = {{NULL, false},
                   {"storage_range=65536", false},
                   {"subgroup_shuffle=0", true},
                   {"cpu_kernels=0,compute_units=1", true},
                   {"cpu_kernels=0,storage_range=65536", true}};
    const uint64_t rows[] = {1, 2, 5, 7, 8, 9, 17, 64, 65};
    for (size_t d = 0; d < TV_COUNT(devices); d++) {
        tv_device *device = devices[d].caps ? tv_test_open_lowered(devices[d].caps) : *state;
        for (uint64_t odd = 0; odd < 2; odd++) { /* K, N: texels, vectors */
            uint64_t k = K - odd, n = N - odd;
            first_rows(device, a, b, bias, M, n, k, 0, all);
            for (size_t i = 0; i < TV_COUNT(rows); i++) {
                /* Slices apart where there is scratch for two or more. */
                first_rows(device, a, b, bias, rows[i], n, k, i % 4, some);
                assert_memory_equal(some, all, rows[i] * n * sizeof *all);
            }
            if (!devices[d].gpu)
                continue;
            if (devices[d - 1].gpu)
                assert_memory_equal(all, gpu[odd], M * n * sizeof *all);
            memcpy(gpu[odd], all, M * n * sizeof *all);
        }
        if (devices[d].caps)
            tv_device_close(&device);
    }
    tv_free_all(a, b, bias, all, some, gpu[0], gpu[1]);
}

static void mistakes_are_refused(void **state) {
    tv_device *device = *state;
    tv_test_tensor t = tv_test_floats(device, 64, NULL);
    tv_matmul good = {.m = 4, .n = 4, .k = 4, .a = t.tensor, .b = t.tensor, .c = t.tensor};
    tv_matmul large = good, narrow = good, biased = good, typed = good, stacked = good, bent = good,
              scaled = good;
    large.k = 17;
    narrow.ldb = 3;
    biased.bias = t.tensor;
    biased.accumulate = true;
    scaled.bias = t.tensor;
    scaled.scale = 2;
    typed.a.dtype = TV_Q8_0;
    stacked.batch = 2;
    bent.gelu = true;
    bent.accumulate = true;
    const tv_matmul *bad[] = {&large, &narrow, &biased, &typed, &stacked, &bent, &scaled};
    tv_recorder *recorder = tv_test_begin(device);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(tv_matmul_record(recorder, bad[i]), TV_E_USAGE);
    tv_recorder_abort(&recorder);
    tv_test_free(&t);

    tv_device *small = tv_test_open_lowered("storage_range=65536");
    tv_test_tensor wide = tv_test_floats(small, 40000, NULL);
    recorder = tv_test_begin(small);
    assert_int_equal(
        tv_matmul_record(
            recorder,
            &(tv_matmul){.m = 1, .n = 20000, .k = 1, .a = wide.tensor, .b = wide.tensor, .c = wide.tensor}),
        TV_E_FIT);
    tv_recorder_abort(&recorder);
    tv_test_free(&wide);
    tv_device_close(&small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_equal_the_oracle),
        cmocka_unit_test(interleaved_batches_equal_the_oracle),
        cmocka_unit_test(many_rows_equal_the_oracle),
        cmocka_unit_test(small_ranges_equal_the_oracle),
        cmocka_unit_test(without_shuffles_equals_the_oracle),
        cmocka_unit_test(without_texels_equals_the_oracle),
        cmocka_unit_test(gelu_keeps_its_bits),
        cmocka_unit_test(rows_keep_their_bits),
        cmocka_unit_test(mistakes_are_refused),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
