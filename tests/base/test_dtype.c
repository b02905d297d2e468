/* Types of weights on the host: sizes, roundings against formulas written down again here, blocks of a GGUF.
 *
 * Q8_0 and Q4_0 are held to ggml's published definitions: d = amax / 127 and q = round(x / d); d = (the value
 * of largest size) / -8 and q = floor(x / d + 8.5), at most 15. The rounded value is at most d / 2 (plus the
 * f16 rounding of d, 2^-11 of the value) from the given one, for Q4_0 at most d at the end that is cut.
 */
#include "base/dtype.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "support/support.h"

enum { COLUMNS = 96, ROWS = 5, COUNT = COLUMNS * ROWS };
static const tv_dtype types[] = {TV_F32, TV_F16, TV_BF16, TV_Q8_0, TV_Q4_0};

static void draw(float *values, double size) {
    tv_rng rng = {.seed = 3, .stream = TV_STREAM_TEST};
    for (uint64_t i = 0; i < COUNT; i++)
        values[i] = (float)size * tv_normal(&rng, i);
}

static void sizes_are_those_of_the_layout(void **state) {
    (void)state;
    assert_int_equal(tv_dtype_row_bytes(TV_F32, 5), 20);
    assert_int_equal(tv_dtype_row_bytes(TV_BF16, 5), 12);
    assert_int_equal(tv_dtype_row_bytes(TV_F16, 6), 12);
    assert_int_equal(tv_dtype_row_bytes(TV_Q8_0, 32), 36);
    assert_int_equal(tv_dtype_row_bytes(TV_Q8_0, 64), 68);
    assert_int_equal(tv_dtype_row_bytes(TV_Q4_0, 32), 20);
    assert_int_equal(tv_dtype_row_bytes(TV_Q4_0, 64), 36);
    assert_false(tv_dtype_takes(TV_Q8_0, 48));
    assert_true(tv_dtype_takes(TV_Q4_0, 96));
    assert_true(tv_dtype_takes(TV_BF16, 7));
    assert_string_equal(tv_dtype_name(TV_Q4_0), "q4_0");
}

/* The value that a block's formula gives for x, written out. */
static double expected(tv_dtype dtype, const float *block, int i) {
    float largest = 0;
    for (int k = 0; k < 32; k++)
        largest = fabsf(block[k]) > fabsf(largest) ? block[k] : largest;
    if (dtype == TV_Q8_0) {
        float d = fabsf(largest) / 127, q = d > 0 ? roundf(block[i] * (1 / d)) : 0;
        return (double)tv_half_to_float(tv_float_to_half(d)) * (double)q;
    }
    float d = largest / -8, q = fminf(15, floorf(block[i] * (d != 0 ? 1 / d : 0) + 8.5f)) - 8;
    return (double)tv_half_to_float(tv_float_to_half(d)) * (double)q;
}

static void values_are_rounded_as_published(void **state) {
    (void)state;
    static const double sizes[] = {1, 0.02, 1e-6, 300};
    float values[COUNT], back[COUNT], again[COUNT];
    uint8_t rows[ROWS * COLUMNS * 4], second[sizeof rows];
    for (size_t s = 0; s < TV_COUNT(sizes); s++) {
        draw(values, sizes[s]);
        memset(values, 0, 32 * sizeof *values); /* a block of zeros has scale 0 */
        for (size_t t = 0; t < TV_COUNT(types); t++) {
            memset(rows, 0xff, sizeof rows);
            tv_dtype_from_f32(types[t], COLUMNS, ROWS, values, rows);
            tv_dtype_to_f32(types[t], COLUMNS, ROWS, rows, back);
            for (int i = 0; i < COUNT; i++) {
                double wanted = types[t] == TV_F32   ? (double)values[i]
                                : types[t] == TV_F16 ? (double)tv_half_to_float(tv_float_to_half(values[i]))
                                : types[t] == TV_BF16
                                    ? (double)tv_bfloat16_to_float(tv_float_to_bfloat16(values[i]))
                                    : expected(types[t], values + i / 32 * 32, i % 32);
                if (!(fabs((double)back[i] - wanted) <= 1e-7 * fabs(wanted)))
                    fail_msg("%s: %g became %g, expected %g", tv_dtype_name(types[t]), (double)values[i],
                             (double)back[i], wanted);
            }
            /* What was rounded once stays as it is: a checkpoint of floats gives the same bytes again. */
            tv_dtype_from_f32(types[t], COLUMNS, ROWS, back, second);
            tv_dtype_to_f32(types[t], COLUMNS, ROWS, second, again);
            if (sizes[s] > 1e-5)
                assert_memory_equal(back, again, sizeof back);
        }
    }
}

static void what_is_no_number_stays_none(void **state) {
    (void)state;
    float values[64] = {0}, back[64];
    uint8_t rows[64 * 4];
    values[3] = NAN;
    values[40] = 1;
    for (size_t t = 0; t < TV_COUNT(types); t++) {
        tv_dtype_from_f32(types[t], 64, 1, values, rows);
        tv_dtype_to_f32(types[t], 64, 1, rows, back);
        assert_true(isnan(back[3]));
        assert_near(back[40], 1, 2e-3);
        values[3] = INFINITY;
        tv_dtype_from_f32(types[t], 64, 1, values, rows);
        tv_dtype_to_f32(types[t], 64, 1, rows, back);
        assert_true(!isfinite(back[3]));
        values[3] = NAN;
    }
    assert_int_equal(tv_float_to_bfloat16(1.00390625f), 0x3f80); /* halfway, to even */
    assert_int_equal(tv_float_to_bfloat16(1.01171875f), 0x3f82);
    assert_int_equal(tv_float_to_bfloat16(-INFINITY), 0xff80);
    assert_true(isnan(tv_bfloat16_to_float(tv_float_to_bfloat16(tv_bits_to_float(0x7f800001)))));
}

/* A block by hand: scale 0.5 and the quants 0, 1, 2, ... */
static void blocks_of_a_file_become_rows(void **state) {
    (void)state;
    uint8_t blocks[3 * TV_Q8_0_BLOCK_BYTES], rows[128];
    float values[96];
    for (int b = 0; b < 3; b++) {
        uint16_t scale = tv_float_to_half(0.5f * (float)(b + 1));
        memcpy(blocks + b * TV_Q8_0_BLOCK_BYTES, &scale, 2);
        for (int i = 0; i < 32; i++)
            blocks[b * TV_Q8_0_BLOCK_BYTES + 2 + i] = (uint8_t)(int8_t)(i - 16);
    }
    tv_dtype_from_blocks(TV_Q8_0, 96, 1, blocks, rows);
    tv_dtype_to_f32(TV_Q8_0, 96, 1, rows, values);
    for (int b = 0; b < 3; b++)
        for (int i = 0; i < 32; i++)
            assert_near(values[32 * b + i], 0.5 * (b + 1) * (i - 16), 0);

    uint8_t small[2 * TV_Q4_0_BLOCK_BYTES];
    for (int b = 0; b < 2; b++) {
        uint16_t scale = tv_float_to_half(b ? -2.0f : 0.25f);
        memcpy(small + b * TV_Q4_0_BLOCK_BYTES, &scale, 2);
        for (int i = 0; i < 16; i++)
            small[b * TV_Q4_0_BLOCK_BYTES + 2 + i] = (uint8_t)(i | (15 - i) << 4);
    }
    /* Two rows of one block. */
    tv_dtype_from_blocks(TV_Q4_0, 32, 2, small, rows);
    tv_dtype_to_f32(TV_Q4_0, 32, 2, rows, values);
    for (int i = 0; i < 64; i++) {
        int nibble = i % 32 < 16 ? i % 16 : 15 - i % 16;
        assert_near(values[i], (i < 32 ? 0.25 : -2) * (nibble - 8), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_those_of_the_layout),
        cmocka_unit_test(values_are_rounded_as_published),
        cmocka_unit_test(what_is_no_number_stays_none),
        cmocka_unit_test(blocks_of_a_file_become_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
