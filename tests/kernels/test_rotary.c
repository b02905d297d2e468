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
    tv_rotary_table(max_positions, s->head_size, 10000, table);
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
    free(qkv);
    free(table);
    free(expected);
    free(positions);
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
    tv_rotary_table(POSITIONS, D, 500000, table);
    for (int i = 0; i < D / 2; i++) {
        double angle = 4999 / exp(log(500000.0) * 2 * i / D);
        assert_near(table[2 * (4999 * D / 2 + i)], cos(angle), 6e-8);
        assert_near(table[2 * (4999 * D / 2 + i) + 1], sin(angle), 6e-8);
    }
    free(table);
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
        cmocka_unit_test(an_odd_head_size_is_refused),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
