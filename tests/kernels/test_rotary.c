/* kernels/rotary against the oracle. Tolerance: two products and a sum of values below 1 whose cosine and
 * sine are rounded once each: 4 roundings of 6e-8 come to 2.4e-7; 5e-7 absolute. */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/rotary.h"
#include "oracle/rotary.h"

typedef struct shape {
    uint64_t rows, tokens, heads, kv_heads, head_size;
    bool positions;
} shape;

static void rotate(tv_device *device, const shape *s, bool inverse) {
    uint64_t stride = (s->heads + 2 * s->kv_heads) * s->head_size, count = s->rows * stride;
    uint64_t max_positions = 2 * s->tokens;
    float *qkv = malloc(count * sizeof *qkv), *table = malloc(max_positions * s->head_size * sizeof *table);
    double *expected = malloc(count * sizeof *expected);
    uint32_t *positions = malloc(s->rows * sizeof *positions);
    tv_test_random(qkv, count, 3);
    for (uint64_t i = 0; i < count; i++)
        expected[i] = (double)qkv[i];
    for (uint64_t r = 0; r < s->rows; r++)
        positions[r] = (uint32_t)(s->positions ? r * 7 % max_positions : r % s->tokens);
    oracle_rotary(s->rows, s->heads + s->kv_heads, s->head_size, stride, 10000, inverse ? -1 : 1, positions,
                  expected);
    tv_rotary_table(max_positions, s->head_size, &(tv_rotary_scaling){.theta = 10000}, table);
    tv_test_tensor in = tv_test_floats(device, count, qkv);
    tv_test_tensor angles = tv_test_floats(device, max_positions * s->head_size, table);
    tv_test_tensor at = tv_test_uints(device, s->rows, positions);
    tv_rotary rotary = {
        .rows = s->rows,
        .tokens_per_row = s->tokens,
        .heads = s->heads + s->kv_heads,
        .head_size = s->head_size,
        .row_stride = stride,
        .inverse = inverse,
        .table = angles.tensor,
        .qkv = in.tensor,
    };
    if (s->positions)
        rotary.positions = at.tensor;
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_rotary_record(recorder, &rotary));
    tv_test_run(device, recorder);
    tv_test_read(&in, qkv);
    tv_test_compare("rotary", qkv, expected, count, 5e-7, 0);
    tv_test_free(&in);
    tv_test_free(&angles);
    tv_test_free(&at);
    tv_free_all(qkv, table, expected, positions);
}

static void rotary_equals_the_oracle(void **state) {
    const shape shapes[] = {{1, 1, 1, 1, 2, false},      {3, 3, 3, 1, 6, true},    {130, 65, 4, 2, 8, false},
                            {34, 17, 2, 2, 80, false},   {17, 17, 4, 4, 64, true}, {9, 3, 1, 1, 256, true},
                            {70000, 100, 1, 1, 2, false}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        rotate(*state, &shapes[i], false);
        rotate(*state, &shapes[i], true);
    }
}

/* Parts begin in the middle of a sequence, and the grid is folded. */
static void splitting_keeps_the_result(void **state) {
    (void)state;
    setenv("TRIVIUM_CAPS_MAX", "storage_range=65536,group_count_x=64", 1);
    void *small = NULL;
    assert_int_equal(tv_test_open_device(&small), 0);
    unsetenv("TRIVIUM_CAPS_MAX");
    const shape shapes[] = {{1000, 100, 4, 2, 8, false}, {1000, 100, 3, 1, 6, true}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        rotate(small, &shapes[i], false);
    tv_test_close_device(&small);
}

/* Entries are rounded once from doubles. */
static void the_table_is_right_far_out(void **state) {
    (void)state;
    enum { POSITIONS = 5000, D = 8 };
    float *table = malloc(sizeof(float) * POSITIONS * D);
    tv_rotary_table(POSITIONS, D, &(tv_rotary_scaling){.theta = 500000}, table);
    for (int i = 0; i < D / 2; i++) {
        double angle = 4999 / exp(log(500000.0) * 2 * i / D);
        assert_near(table[2 * (4999 * D / 2 + i)], cos(angle), 6e-8);
        assert_near(table[2 * (4999 * D / 2 + i) + 1], sin(angle), 6e-8);
    }
    free(table);
}

/* Frequencies of transformers 5.12.1 (its modeling_rope_utils.py, in float32: 2e-7 relative), D 16. */
static void scaled_frequencies_are_the_published_ones(void **state) {
    (void)state;
    static const struct {
        tv_rotary_scaling scaling;
        double frequencies[8];
    } cases[] = {
        {{.kind = TV_ROTARY_LLAMA3,
          .theta = 500000,
          .factor = 8,
          .low_factor = 1,
          .high_factor = 4,
          .original_positions = 512},
         {1.0, 0.193922758, 0.0273441337, 0.000911583134, 0.000176776681, 3.42810235e-05, 6.64786967e-06,
          1.28917316e-06}},
        {{.kind = TV_ROTARY_YARN,
          .theta = 10000,
          .factor = 4,
          .original_positions = 512,
          .slow_rotations = 1,
          .fast_rotations = 32,
          .attention_factor = 1},
         {1.0, 0.25693506, 0.0625, 0.0138349654, 0.00249999994, 0.000790569466, 0.000250000012,
          7.90569466e-05}},
        {{.kind = TV_ROTARY_YARN,
          .theta = 10000,
          .factor = 4,
          .original_positions = 512,
          .slow_rotations = 2,
          .fast_rotations = 16,
          .exact_range = true,
          .attention_factor = 1},
         {1.0, 0.316227764, 0.0756644011, 0.0107961092, 0.00249999994, 0.000790569466, 0.000250000012,
          7.90569466e-05}},
        {{.kind = TV_ROTARY_LINEAR, .theta = 10000, .factor = 3},
         {0.333333343, 0.105409257, 0.0333333351, 0.0105409259, 0.00333333318, 0.00105409266, 0.000333333359,
          0.000105409265}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint64_t k = 0; k < 8; k++)
            assert_near(tv_rotary_frequency(&cases[i].scaling, 16, k) / cases[i].frequencies[k], 1, 4e-7);
    /* YaRN's factor is in cosines and sines; other kinds have none. */
    float table[2 * 16];
    tv_rotary_scaling scaling = cases[1].scaling;
    scaling.attention_factor = 1.25;
    tv_rotary_table(2, 16, &scaling, table);
    assert_near(table[0], 1.25, 0);
    assert_near(table[16 + 2], 1.25 * cos(0.25693506), 5e-7);
    assert_near(table[16 + 3], 1.25 * sin(0.25693506), 5e-7);
    scaling.kind = TV_ROTARY_LINEAR;
    tv_rotary_table(2, 16, &scaling, table);
    assert_near(table[0], 1, 0);
}

static void an_odd_head_size_is_refused(void **state) {
    tv_recorder *recorder = tv_test_begin(*state);
    assert_int_equal(
        tv_rotary_record(
            recorder,
            &(tv_rotary){.rows = 1, .tokens_per_row = 1, .heads = 1, .head_size = 3, .row_stride = 9}),
        TV_E_USAGE);
    tv_recorder_abort(&recorder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotary_equals_the_oracle),
        cmocka_unit_test(splitting_keeps_the_result),
        cmocka_unit_test(the_table_is_right_far_out),
        cmocka_unit_test(scaled_frequencies_are_the_published_ones),
        cmocka_unit_test(an_odd_head_size_is_refused),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
