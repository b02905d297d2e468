/* kernels/matmul in the matrix tiers, with every type of operand, against the oracle: skipped where the
 * device has no such tier.
 *
 * A, B and what is added to C are rounded to their types on the host, and the oracle takes what they then
 * are, so that T costs nothing and a wrong place, half or scale shows. What the kernel itself rounds is a
 * float, or a weight of another type, on its way to T: u of it at most (2^-11 for f16, 2^-8 for bf16), in a
 * sum of k products below u (sqrt(k) + 2) as test_matmul.c has it, twice that for weights up to 2. A C of
 * halves is rounded once more, by u of itself. fp32 sums: 1e-7 (k + 8).
 * Tried, each fails: one of four rows of k not turned, k past the end not zeroed (turned or as stored),
 * scales of the wrong block. In the bits of rows alone: slices of few rows added backwards, one chain over
 * all slices in the tiles; there and in the self-test: at most 8 rows left to fp32, a last slice without its
 * last step.
 */
#include "support/device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "kernels/matmul.h"
#include "kernels/matrices.h"
#include "oracle/activation.h"
#include "oracle/matmul.h"

typedef struct shape {
    uint64_t m, n, k, pad, shift, batch;
    bool bias, accumulate, gelu;
    float scale;
} shape;

/* Of values on the host, and the same as the type has them. */
typedef struct typed {
    tv_test_tensor tensor;
    float *values;
    void *image;
} typed;

static typed make(tv_device *device, tv_dtype dtype, uint64_t rows, uint64_t columns, uint64_t seed) {
    uint64_t count = rows * columns;
    bool blocks = tv_dtype_is_blocks(dtype), floats = dtype == TV_F32;
    uint64_t bytes = blocks ? rows * tv_dtype_row_bytes(dtype, columns) : count * tv_dtype_bytes(dtype);
    typed made = {.values = malloc((count + 1) * sizeof(float)), .image = malloc(bytes + 8)};
    tv_test_random(made.values, count, seed);
    for (uint64_t i = 0; !blocks && i < count; i++) {
        if (floats) {
            ((float *)made.image)[i] = made.values[i];
            continue;
        }
        uint16_t half =
            dtype == TV_F16 ? tv_float_to_half(made.values[i]) : tv_float_to_bfloat16(made.values[i]);
        ((uint16_t *)made.image)[i] = half;
        made.values[i] = dtype == TV_F16 ? tv_half_to_float(half) : tv_bfloat16_to_float(half);
    }
    if (blocks) {
        tv_dtype_from_f32(dtype, columns, rows, made.values, made.image);
        tv_dtype_to_f32(dtype, columns, rows, made.image, made.values);
    }
    made.tensor = tv_test_bytes(device, tv_align_up(bytes, 4), made.image);
    made.tensor.tensor.dtype = dtype;
    if (!blocks) /* which tv_test_read counts by */
        made.tensor.count = tv_align_up(bytes, 4) / tv_dtype_bytes(dtype);
    return made;
}

static void release(typed *t) {
    tv_test_free(&t->tensor);
    tv_free_all(t->values, t->image);
}

static tv_tensor shifted(const typed *t, uint64_t elements) {
    tv_tensor tensor = t->tensor.tensor;
    uint64_t bytes = elements * tv_dtype_bytes(tensor.dtype);
    tensor.span = tv_span_part(tensor.span, bytes, tensor.span.bytes - bytes);
    return tensor;
}

static void check(tv_device *device, const shape *s, bool transpose_a, bool transpose_b, tv_dtype type_a,
                  tv_dtype type_b, tv_dtype type_c) {
    tv_dtype type = tv_tier_dtype(tv_device_caps(device)->tier);
    uint64_t batch = s->batch ? s->batch : 1, rows_a = transpose_a ? s->k : s->m,
             rows_b = transpose_b ? s->n : s->k;
    bool blocks = tv_dtype_is_blocks(type_b);
    uint64_t lda = (transpose_a ? s->m : s->k) + s->pad,
             ldb = (transpose_b ? s->k : s->n) + (blocks ? 0 : s->pad), ldc = s->n + s->pad;
    uint64_t shift_b = blocks ? 0 : s->shift;
    /* A row more, for what the shift takes. */
    typed a = make(device, type_a, batch * rows_a + 1, lda, 1),
          b = make(device, type_b, batch * rows_b + (blocks ? 0 : 1), ldb, 2),
          c = make(device, type_c, batch * s->m + 1, ldc, 3), bias = make(device, TV_F32, 1, s->n, 4);
    uint64_t count_c = (batch * s->m + 1) * ldc;
    double *expected = malloc(count_c * sizeof *expected);
    for (uint64_t i = 0; i < count_c; i++)
        expected[i] = (double)c.values[i];
    for (uint64_t i = 0; i < batch; i++) {
        uint64_t at_c = s->shift + i * s->m * ldc;
        oracle_matmul_run(&(oracle_matmul){.m = s->m,
                                           .n = s->n,
                                           .k = s->k,
                                           .transpose_a = transpose_a,
                                           .transpose_b = transpose_b,
                                           .lda = lda,
                                           .ldb = ldb,
                                           .ldc = ldc,
                                           .scale = (double)s->scale,
                                           .a = a.values + s->shift + i * rows_a * lda,
                                           .b = b.values + shift_b + i * rows_b * ldb,
                                           .bias = s->bias ? bias.values : NULL,
                                           .before = s->accumulate ? c.values + at_c : NULL,
                                           .c = expected + at_c});
        for (uint64_t v = 0; s->gelu && v < s->m * s->n; v++)
            expected[at_c + v / s->n * ldc + v % s->n] =
                oracle_gelu(expected[at_c + v / s->n * ldc + v % s->n]);
    }
    tv_matmul product = {.m = s->m,
                         .n = s->n,
                         .k = s->k,
                         .transpose_a = transpose_a,
                         .transpose_b = transpose_b,
                         .accumulate = s->accumulate,
                         .gelu = s->gelu,
                         .scale = s->scale,
                         .lda = lda,
                         .ldb = blocks ? 0 : ldb,
                         .ldc = ldc,
                         .batch = s->batch,
                         .stride_a = rows_a * lda,
                         .stride_b = rows_b * ldb,
                         .stride_c = s->m * ldc,
                         .a = shifted(&a, s->shift),
                         .b = shift_b ? shifted(&b, shift_b) : b.tensor.tensor,
                         .c = shifted(&c, s->shift),
                         .bias = s->bias ? bias.tensor.tensor : TV_ABSENT};
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_matmul_record(recorder, &product));
    tv_test_run(device, recorder);
    tv_test_read(&c.tensor, c.image);
    for (uint64_t i = 0; i < count_c; i++) {
        uint16_t half = ((uint16_t *)c.image)[i];
        c.values[i] = type_c == TV_F32   ? ((float *)c.image)[i]
                      : type_c == TV_F16 ? tv_half_to_float(half)
                                         : tv_bfloat16_to_float(half);
    }
    char what[128];
    snprintf(what, sizeof what, "%c%c %s %s %s %llux%llux%llu pad %llu shift %llu batch %llu",
             transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', tv_dtype_name(type_a), tv_dtype_name(type_b),
             tv_dtype_name(type_c), (unsigned long long)s->m, (unsigned long long)s->n,
             (unsigned long long)s->k, (unsigned long long)s->pad, (unsigned long long)s->shift,
             (unsigned long long)s->batch);
    double u = tv_test_rounding(device), rounded = (type_a != type) + (type_b != type) * (blocks ? 2 : 1);
    double tolerance = 1e-7 * (double)(s->k + 8) + rounded / 2 * u * (sqrt((double)s->k) + 2);
    tv_test_compare(what, c.values, expected, count_c, s->gelu ? 1.13 * tolerance + 1e-6 : tolerance,
                    type_c == TV_F32 ? 1e-6 : 1.001 * u);
    release(&a);
    release(&b);
    release(&c);
    release(&bias);
    free(expected);
}

/* Drivers compile for each set of types and alignments, seconds for some, so that these are few. */
static const shape shapes[] = {
    {.m = 17, .n = 65, .k = 33, .pad = 3},
    {.m = 72, .n = 80, .k = 520, .scale = 0.5f},
    {.m = 20, .n = 37, .k = 13, .bias = true, .shift = 1},
    {.m = 24, .n = 72, .k = 40, .pad = 8, .shift = 8},
    {.m = 9, .n = 66, .k = 1100, .batch = 3},
    {.m = 40, .n = 24, .k = 0, .bias = true},
};

static void types_equal_the_oracle(void **state) {
    tv_dtype t = tv_tier_dtype(tv_device_caps(*state)->tier);
    for (size_t i = 0; i < TV_COUNT(shapes); i++)
        for (int form = 0; form < 4; form++)
            check(*state, &shapes[i], form & 1, form & 2, t, t, t);
    for (int form = 0; form < 4; form++)
        check(*state, &(shape){.m = 33, .n = 70, .k = 530, .accumulate = true, .pad = 2}, form & 1, form & 2,
              form & 1 ? t : TV_F32, form & 1 ? TV_F32 : t, TV_F32);
    check(*state, &(shape){.m = 70, .n = 20, .k = 136, .bias = true, .gelu = true}, false, true, TV_F32,
          TV_F32, t);
}

static void weights_equal_the_oracle(void **state) {
    tv_dtype t = tv_tier_dtype(tv_device_caps(*state)->tier);
    const tv_dtype weights[] = {TV_F16, TV_BF16, TV_Q8_0, TV_Q4_0};
    for (size_t w = 0; w < TV_COUNT(weights); w++) {
        check(*state, &(shape){.m = 20, .n = 64, .k = 544, .bias = true}, false, true, TV_F32, weights[w], t);
        check(*state, &(shape){.m = 70, .n = 96, .k = 32}, false, false, t, weights[w], TV_F32);
    }
    check(*state, &(shape){.m = 70, .n = 96, .k = 32, .pad = 2}, true, true, t, TV_Q4_0, TV_F32);
}

static void large_tiles_equal_the_oracle(void **state) {
    tv_device *device = tv_test_open_lowered("compute_units=1");
    tv_dtype t = tv_tier_dtype(tv_device_caps(*state)->tier);
    check(device, &(shape){.m = 136, .n = 200, .k = 72, .bias = true}, false, true, t, t, t);
    check(device, &(shape){.m = 131, .n = 129, .k = 77, .accumulate = true}, true, false, TV_F32, t, TV_F32);
    check(device, &(shape){.m = 140, .n = 160, .k = 64}, false, true, TV_F32, TV_Q4_0, t);
    tv_device_close(&device);
}

/* `rows` rows of one product A B^T from row `first` on, `apart`: with scratch for the sums of its slices. The
 * caller frees what it gets. */
static void *rows_of(tv_device *device, tv_dtype type_a, tv_dtype type_b, tv_dtype type_c, uint64_t first,
                     uint64_t rows, uint64_t n, uint64_t k, bool apart) {
    enum { MOST = 300 };
    tv_test_tensor scratch =
        tv_test_floats(device, apart ? tv_matmul_scratch(rows, n, k) / sizeof(float) : 1, NULL);
    typed a = make(device, type_a, MOST, k, 1), b = make(device, type_b, n, k, 2),
          bias = make(device, TV_F32, 1, n, 3), c = make(device, type_c, rows, n, 4);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_matmul_record(recorder, &(tv_matmul){.m = rows,
                                                      .n = n,
                                                      .k = k,
                                                      .transpose_b = true,
                                                      .a = shifted(&a, first * k),
                                                      .b = b.tensor.tensor,
                                                      .bias = bias.tensor.tensor,
                                                      .scratch = apart ? scratch.tensor : TV_ABSENT,
                                                      .c = c.tensor.tensor}));
    tv_test_run(device, recorder);
    tv_test_read(&c.tensor, c.image);
    tv_test_free(&scratch);
    void *image = c.image;
    c.image = NULL;
    release(&a);
    release(&b);
    release(&bias);
    release(&c);
    return image;
}

/* Alone, among some and among all, at either end: one set of bits, from tiles of either size and the kernel
 * of few rows. */
static void rows_keep_their_bits(void **state) {
    enum { M = 300 };
    static const uint64_t rows[] = {1, 7, 9, 17, 64};
    const tv_dtype t = tv_tier_dtype(tv_device_caps(*state)->tier);
    const struct {
        tv_dtype a, b, c;
        uint64_t n, k;
    } products[] = {{TV_F32, TV_F32, TV_F32, 140, 1100},
                    {t, TV_F32, t, 139, 1101},
                    {t, t, TV_F32, 16, 544},
                    {TV_F32, TV_Q8_0, TV_F32, 132, 2624}};
    tv_device *devices[] = {*state, tv_test_open_lowered("compute_units=1"),
                            tv_test_open_lowered("compute_units=1000")};
    for (size_t i = 0; i < TV_COUNT(products); i++) {
        uint64_t row_bytes = products[i].n * tv_dtype_bytes(products[i].c);
        char *all = NULL;
        for (size_t d = 0; d < TV_COUNT(devices); d++) {
#define ROWS(first, count)                                                                                   \
    rows_of(devices[d], products[i].a, products[i].b, products[i].c, first, count, products[i].n,            \
            products[i].k, (count) == 64)
            char *again = ROWS(0, M);
            if (all)
                assert_memory_equal(again, all, M * row_bytes);
            free(all);
            all = again;
            for (size_t r = 0; r < TV_COUNT(rows); r++) {
                /* Parts begin aligned. */
                uint64_t last = (M - rows[r]) / 64 * 64;
                char *first_rows = ROWS(0, rows[r]), *last_rows = ROWS(last, rows[r]);
                assert_memory_equal(first_rows, all, rows[r] * row_bytes);
                assert_memory_equal(last_rows, all + last * row_bytes, rows[r] * row_bytes);
                tv_free_all(first_rows, last_rows);
            }
#undef ROWS
        }
        free(all);
    }
    tv_device_close(&devices[1]);
    tv_device_close(&devices[2]);
}

/* What a device that is opened stands on is right here, and by every kernel: with large tiles too. */
static void the_self_tests_pass(void **state) {
    tv_device *devices[] = {*state, tv_test_open_lowered("compute_units=1")};
    for (size_t d = 0; d < TV_COUNT(devices); d++) {
        bool sound = false;
        assert_ok(tv_matrices_test(devices[d], &sound));
        assert_true(sound);
        sound = false;
        assert_ok(tv_matrix_rows_test(devices[d], &sound));
        assert_true(sound);
    }
    tv_device_close(&devices[1]);
}

/* Found once, in a process of its own, and read from then on; where it is bad, a lower tier is taken. */
static void the_verdict_is_kept(void **state) {
    tv_device_options options = {.select = getenv("TRIVIUM_TEST_DEVICE"),
                                 .tier = tv_tier_name(tv_device_caps(*state)->tier)};
    static const char other[] = "{\"matrices_are_sound\": false}";
    char *dir = tv_test_dir(), *path = NULL, *text = NULL;
    uint64_t size;
    tv_device *device = NULL;
    assert_int_equal(setenv("TRIVIUM_CACHE_DIR", dir, 1), 0);
    assert_ok(tv_device_open(&options, &device));
    assert_int_equal(tv_device_caps(device)->tier, tv_device_caps(*state)->tier);
    tv_device_close(&device);
    path = tv_test_only_file(dir, "matrices-");
    assert_ok(tv_read_file(path, &text, &size));
    assert_non_null(strstr(text, "true"));
    assert_ok(tv_write_file(path, other, sizeof other - 1));
    assert_ok(tv_device_open(&options, &device));
    assert_true(tv_device_caps(device)->tier < tv_device_caps(*state)->tier);
    tv_device_close(&device);
    unsetenv("TRIVIUM_CACHE_DIR");
    tv_free_all(path, text);
    tv_test_dir_remove(&dir);
}

/* In the tier that the environment names, else in the lowest that has matrices. */
static int open_device(void **state) {
    int status = tv_test_open_device(state);
    if (status != 0 || tv_device_caps(*state)->tier != TV_TIER_FP32)
        return status;
    tv_tier tier =
        tv_caps_has_tier(tv_device_caps(*state), TV_TIER_CM_F16) ? TV_TIER_CM_F16 : TV_TIER_CM_BF16;
    if (!tv_caps_has_tier(tv_device_caps(*state), tier)) {
        fprintf(stderr, "skipped: no matrix tier (%s)\n", tv_device_caps(*state)->tier_reason);
        exit(TV_TEST_SKIPPED);
    }
    tv_test_close_device(state);
    char entry[32];
    snprintf(entry, sizeof entry, "tier=%s", tv_tier_name(tier));
    assert_int_equal(setenv("TRIVIUM_CAPS_MAX", entry, 1), 0);
    return tv_test_open_device(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_equal_the_oracle),       cmocka_unit_test(weights_equal_the_oracle),
        cmocka_unit_test(large_tiles_equal_the_oracle), cmocka_unit_test(rows_keep_their_bits),
        cmocka_unit_test(the_self_tests_pass),          cmocka_unit_test(the_verdict_is_kept),
    };
    return cmocka_run_group_tests(tests, open_device, tv_test_close_device);
}
