/* Products and lookups with weights stored as f16, bf16, q8_0 and q4_0, against the oracle over the rounded
 * weights.
 *
 * A weight is its stored value exactly (base/dtype.h), so the tolerance is that of fp32 sums (test_matmul.c),
 * times the size of the weights; where a product of floats runs the same kernel it must give the same bits.
 * Blocks differ in size, so that a scale or a nibble of the wrong place shows. Tried on 2026-11-29, fails
 * here: the scale of another block.
 */
#include "support/device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "base/rng.h"
#include "kernels/embedding.h"
#include "kernels/matmul.h"
#include "oracle/activation.h"
#include "oracle/embedding.h"
#include "oracle/matmul.h"

static const tv_dtype types[] = {TV_F16, TV_BF16, TV_Q8_0, TV_Q4_0};

/* Weights as a type keeps them: the bytes, and the floats that they stand for. */
typedef struct weights {
    uint64_t bytes;
    uint8_t *stored;
    float *values;
} weights;

/* Blocks of very different sizes, so that a scale of the wrong block shows, some with subnormal scales. */
static weights draw(tv_dtype type, uint64_t rows, uint64_t columns, uint64_t seed) {
    weights w = {.bytes = rows * tv_dtype_row_bytes(type, columns)};
    w.stored = malloc(w.bytes);
    w.values = malloc(rows * columns * sizeof *w.values);
    assert_true(w.stored && w.values);
    tv_test_random(w.values, rows * columns, seed);
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < columns; c++) {
            uint64_t block = r * 7 + c / TV_DTYPE_BLOCK;
            w.values[r * columns + c] *= block % 5 == 4 ? 1e-4f : 1.0f / (float)(1 + block % 5);
        }
    tv_dtype_from_f32(type, columns, rows, w.values, w.stored);
    tv_dtype_to_f32(type, columns, rows, w.stored, w.values);
    return w;
}

static tv_test_tensor upload(tv_device *device, const weights *w, tv_dtype type) {
    tv_test_tensor tensor = tv_test_bytes(device, w->bytes, w->stored);
    tensor.tensor.dtype = type;
    return tensor;
}

typedef struct shape {
    uint64_t m, n, k;
    bool bias, accumulate, gelu;
    float scale;
} shape;

static void run(tv_device *device, const tv_matmul *product, const float *before, tv_test_tensor *out,
                float *c) {
    uint64_t count = product->m * product->n;
    *out = tv_test_floats(device, count, product->accumulate ? before : NULL);
    tv_matmul p = *product;
    p.c = out->tensor;
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_matmul_record(recorder, &p));
    tv_test_run(device, recorder);
    tv_test_read(out, c);
    tv_test_free(out);
}

static void check(tv_device *device, const shape *s, tv_dtype type, bool transpose_b) {
    uint64_t rows = transpose_b ? s->n : s->k, columns = transpose_b ? s->k : s->n, count = s->m * s->n;
    if (!tv_dtype_takes(type, columns))
        return;
    weights w = draw(type, rows, columns, 2);
    float *a = malloc((s->m * s->k + s->n + 3 * count) * sizeof *a), *bias = a + s->m * s->k,
          *before = bias + s->n, *c = before + count, *plain = c + count;
    double *expected = malloc(count * sizeof *expected);
    assert_true(a && expected);
    tv_test_random(a, s->m * s->k + s->n + count, 1);
    oracle_matmul_run(&(oracle_matmul){.m = s->m,
                                       .n = s->n,
                                       .k = s->k,
                                       .transpose_b = transpose_b,
                                       .lda = s->k,
                                       .ldb = columns,
                                       .ldc = s->n,
                                       .scale = (double)s->scale,
                                       .a = a,
                                       .b = w.values,
                                       .bias = s->bias ? bias : NULL,
                                       .before = s->accumulate ? before : NULL,
                                       .c = expected});
    for (uint64_t i = 0; i < count && s->gelu; i++)
        expected[i] = oracle_gelu(expected[i]);
    tv_test_tensor in_a = tv_test_floats(device, s->m * s->k, a),
                   in_bias = tv_test_floats(device, s->n, bias), typed = upload(device, &w, type),
                   floats = tv_test_floats(device, rows * columns, w.values), out;
    tv_matmul product = {.m = s->m,
                         .n = s->n,
                         .k = s->k,
                         .transpose_b = transpose_b,
                         .accumulate = s->accumulate,
                         .gelu = s->gelu,
                         .scale = s->scale,
                         .a = in_a.tensor,
                         .b = typed.tensor,
                         .bias = s->bias ? in_bias.tensor : TV_ABSENT};
    char what[96];
    snprintf(what, sizeof what, "%s N%c %llux%llux%llu", tv_dtype_name(type), transpose_b ? 'T' : 'N',
             (unsigned long long)s->m, (unsigned long long)s->n, (unsigned long long)s->k);
    run(device, &product, before, &out, c);
    double tolerance = 1e-7 * (double)(s->k + 8);
    tv_test_compare(what, c, expected, count, s->gelu ? 1.13 * tolerance + 1e-6 : tolerance, 1e-6);
    bool cut = tv_device_caps(device)->storage_range < 1 << 20; /* along k at other places */
    if (!cut) {
        product.b = floats.tensor;
        run(device, &product, before, &out, plain);
        if (memcmp(c, plain, count * sizeof *c) != 0)
            fail_msg("%s: other bits than floats of the same values give", what);
    }
    tv_test_free(&in_a);
    tv_test_free(&in_bias);
    tv_test_free(&typed);
    tv_test_free(&floats);
    tv_free_all(w.stored, w.values, a, expected);
}

static void check_shapes(tv_device *device, const shape *shapes, size_t count) {
    for (size_t i = 0; i < count; i++)
        for (size_t t = 0; t < TV_COUNT(types); t++) {
            check(device, &shapes[i], types[t], false);
            check(device, &shapes[i], types[t], true);
        }
}

static const shape shapes[] = {
    {.m = 3, .n = 32, .k = 32, .bias = true},         {.m = 17, .n = 65, .k = 33},
    {.m = 20, .n = 37, .k = 7, .bias = true},         {.m = 65, .n = 96, .k = 160, .bias = true},
    {.m = 130, .n = 224, .k = 64, .scale = 0.3f},     {.m = 1, .n = 70, .k = 1056},
    {.m = 11, .n = 96, .k = 544, .accumulate = true}, {.m = 67, .n = 70, .k = 602},
};

static void products_equal_the_oracle(void **state) {
    check_shapes(*state, shapes, TV_COUNT(shapes));
}

static void kernels_of_gpus_equal_the_oracle(void **state) {
    (void)state;
    const char *caps[] = {"subgroup_shuffle=0", "subgroup_shuffle=0,compute_units=1"}; /* 1: large tiles */
    for (size_t i = 0; i < TV_COUNT(caps); i++) {
        tv_device *device = tv_test_open_lowered(caps[i]);
        check_shapes(device, shapes, TV_COUNT(shapes));
        tv_device_close(&device);
    }
}

static void small_ranges_and_many_rows_equal_the_oracle(void **state) {
    tv_device *device = tv_test_open_lowered("storage_range=65536,group_count_x=3");
    const shape cut[] = {
        {.m = 20, .n = 640, .k = 288, .bias = true},
        {.m = 20, .n = 288, .k = 640, .accumulate = true},
    };
    check_shapes(device, cut, TV_COUNT(cut));
    tv_device_close(&device);
    const shape tall = {.m = 70001, .n = 32, .k = 32}, wide = {.m = 2, .n = 70001, .k = 32};
    check(*state, &tall, TV_Q8_0, false);
    check(*state, &wide, TV_BF16, true);
}

/* ---- lookups ---- */

static void look_up(tv_device *device, tv_dtype type, uint64_t rows, uint64_t vocab, uint64_t channels) {
    if (!tv_dtype_takes(type, channels))
        return;
    weights w = draw(type, vocab, channels, 8);
    uint32_t *tokens = malloc(rows * sizeof *tokens);
    float *y = malloc(rows * channels * sizeof *y);
    assert_true(tokens && y);
    tv_rng rng = {.seed = 4, .stream = TV_STREAM_TEST};
    for (uint64_t r = 0; r < rows; r++)
        tokens[r] = r == 0 ? (uint32_t)vocab - 1 : (uint32_t)tv_uniform_below(&rng, r, vocab);
    tv_test_tensor in = tv_test_uints(device, rows, tokens), table = upload(device, &w, type),
                   out = tv_test_floats(device, rows * channels, NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_embedding_forward(recorder, &(tv_embedding){.rows = rows,
                                                             .tokens_per_row = rows,
                                                             .channels = channels,
                                                             .vocab = vocab,
                                                             .max_positions = rows,
                                                             .tokens = in.tensor,
                                                             .token_table = table.tensor,
                                                             .output = out.tensor}));
    tv_test_run(device, recorder);
    tv_test_read(&out, y);
    for (uint64_t i = 0; i < rows * channels; i++) {
        float expected = w.values[tokens[i / channels] * channels + i % channels];
        if (!(fabsf(y[i] - expected) <= 0))
            fail_msg("%s: element %llu of the lookup is %g, expected %g", tv_dtype_name(type),
                     (unsigned long long)i, (double)y[i], (double)expected);
    }
    tv_test_free(&in);
    tv_test_free(&table);
    tv_test_free(&out);
    tv_free_all(w.stored, w.values, tokens, y);
}

static void lookups_give_the_stored_values(void **state) {
    tv_device *lowered = tv_test_open_lowered("storage_range=65536,group_count_x=5");
    for (size_t t = 0; t < TV_COUNT(types); t++) {
        look_up(*state, types[t], 50, 61, 96);
        look_up(*state, types[t], 50, 61, 35);
        look_up(*state, types[t], 70001, 300, 32);
        look_up(lowered, types[t], 90, 2100, 96);
    }
    tv_device_close(&lowered);
}

static void what_no_kernel_takes_is_refused(void **state) {
    tv_test_tensor t = tv_test_floats(*state, 4096, NULL);
    tv_tensor typed = t.tensor;
    tv_recorder *recorder = tv_test_begin(*state);
    typed.dtype = TV_Q8_0;
    tv_matmul p = {.m = 8, .n = 8, .k = 8, .transpose_b = true, .a = t.tensor, .b = typed, .c = t.tensor};
    assert_int_equal(tv_matmul_record(recorder, &p), TV_E_USAGE); /* 8 is no multiple of 32 */
    p = (tv_matmul){.m = 32, .n = 32, .k = 32, .transpose_a = true, .a = t.tensor, .b = typed, .c = t.tensor};
    assert_int_equal(tv_matmul_record(recorder, &p), TV_E_USAGE);
    p = (tv_matmul){.m = 32, .n = 32, .k = 32, .a = typed, .b = t.tensor, .c = t.tensor};
    assert_int_equal(tv_matmul_record(recorder, &p), TV_E_USAGE);
    p = (tv_matmul){.m = 4, .n = 500, .k = 32, .transpose_b = true, .a = t.tensor, .b = typed, .c = t.tensor};
    assert_int_equal(tv_matmul_record(recorder, &p), TV_E_USAGE); /* 500 rows are more than there is */
    tv_recorder_abort(&recorder);
    tv_test_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_equal_the_oracle),
        cmocka_unit_test(kernels_of_gpus_equal_the_oracle),
        cmocka_unit_test(small_ranges_and_many_rows_equal_the_oracle),
        cmocka_unit_test(lookups_give_the_stored_values),
        cmocka_unit_test(what_no_kernel_takes_is_refused),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
