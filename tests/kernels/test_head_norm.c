/* kernels/head_norm against the oracle of RMSNorm, head by head.
 *
 * Tolerances as in test_norm.c, for heads in [-1, 1) whose rstd stays below 20: 2e-6 * 20 of a normed value,
 * 20 times three of these of a gradient; a gain's gradient adds up to 1,300 of them as a random walk.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/head_norm.h"
#include "oracle/norm.h"

static const double eps = 1e-5;

typedef struct shape {
    uint64_t rows, heads, kv_heads, head_size;
    bool from_one, gains_alone, no_q_gain;
} shape;

/* Heads first to first + count of each row, as rows of their own. */
static float *take_heads(const shape *s, const float *qkv, uint64_t first, uint64_t count) {
    uint64_t D = s->head_size, stride = (s->heads + 2 * s->kv_heads) * D;
    float *heads = malloc(s->rows * count * D * sizeof *heads);
    assert_non_null(heads);
    for (uint64_t r = 0; r < s->rows; r++)
        memcpy(heads + r * count * D, qkv + r * stride + first * D, count * D * sizeof *heads);
    return heads;
}

/* The same of what the oracle expects, back in place. */
static void put_heads(const shape *s, double *qkv, const double *heads, uint64_t first, uint64_t count) {
    uint64_t D = s->head_size, stride = (s->heads + 2 * s->kv_heads) * D;
    for (uint64_t r = 0; r < s->rows; r++)
        memcpy(qkv + r * stride + first * D, heads + r * count * D, count * D * sizeof *heads);
}

/* Of heads first to first + count with their gain: values, gradients and the gain's gradient. */
static void expect_heads(const shape *s, const float *qkv, const float *d_qkv, const float *gain,
                         uint64_t first, uint64_t count, double *y, double *d_x, double *d_gain) {
    uint64_t rows = s->rows * count, D = s->head_size;
    float *x = take_heads(s, qkv, first, count), *d_y = take_heads(s, d_qkv, first, count);
    double *sum = calloc(rows * D, sizeof *sum), *normed = calloc(rows * D, sizeof *normed),
           *mean = calloc(rows, sizeof *mean), *rstd = calloc(rows, sizeof *rstd),
           *gradient = calloc(rows * D, sizeof *gradient), *unused = calloc(D, sizeof *unused);
    oracle_norm_forward(true, rows, D, eps, x, NULL, gain, NULL, sum, normed, mean, rstd);
    oracle_norm_backward(true, rows, D, eps, sum, gain, d_y, gradient, d_gain, unused);
    put_heads(s, y, normed, first, count);
    if (!s->gains_alone)
        put_heads(s, d_x, gradient, first, count);
    void *all[] = {x, d_y, sum, normed, mean, rstd, gradient, unused};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void check(tv_device *device, const shape *s) {
    uint64_t D = s->head_size, both = s->heads + s->kv_heads, count = s->rows * (both + s->kv_heads) * D;
    float *values = malloc((2 * count + 4 * D) * sizeof *values), *found = malloc(count * sizeof *found);
    assert_true(values && found);
    tv_test_random(values, 2 * count + 4 * D, 11);
    float *qkv = values, *d_qkv = values + count, *gains = d_qkv + count, *starts = gains + 2 * D;
    double *y = calloc(count, sizeof *y), *d_x = calloc(count, sizeof *d_x), d_gain[2][256];
    tv_test_tensor heads = tv_test_floats(device, count, qkv), d_heads = tv_test_floats(device, count, d_qkv);
    tv_test_tensor q_gain = tv_test_floats(device, D, gains), k_gain = tv_test_floats(device, D, gains + D);
    tv_test_tensor raw = tv_test_floats(device, s->rows * both * D, NULL),
                   rstd = tv_test_floats(device, s->rows * both, NULL);
    tv_test_tensor d_q = tv_test_floats(device, D, starts), d_k = tv_test_floats(device, D, starts + D);
    tv_test_tensor scratch = tv_test_floats(
        device,
        tv_column_sums_scratch(tv_device_caps(device), s->rows, 2 * D, (both + s->kv_heads) * D) /
            sizeof(float),
        NULL);
    tv_column_sums sums = {.scratch = scratch.tensor};
    const tv_head_norm norm = {.rows = s->rows,
                               .heads = s->heads,
                               .kv_heads = s->kv_heads,
                               .head_size = D,
                               .eps = (float)eps,
                               .gain_from_one = s->from_one,
                               .qkv = heads.tensor,
                               .q_gain = q_gain.tensor,
                               .k_gain = k_gain.tensor,
                               .raw = raw.tensor,
                               .rstd = rstd.tensor};
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_head_norm_forward(recorder, &norm));
    assert_ok(tv_head_norm_backward_record(
        recorder, &(tv_head_norm_backward){.forward = norm,
                                           .d_qkv = d_heads.tensor,
                                           .gains_alone = s->gains_alone,
                                           .d_q_gain = s->no_q_gain ? TV_ABSENT : d_q.tensor,
                                           .d_k_gain = d_k.tensor,
                                           .sums = &sums}));
    assert_ok(tv_column_sums_add(recorder, &sums));
    tv_test_run(device, recorder);

    for (uint64_t i = 0; i < count; i++) { /* v stays */
        y[i] = (double)qkv[i];
        d_x[i] = (double)d_qkv[i];
    }
    for (uint64_t i = 0; i < 2 * D; i++) {
        d_gain[i / D][i % D] = (double)starts[i];
        gains[i] += s->from_one ? 1 : 0;
    }
    expect_heads(s, qkv, d_qkv, gains, 0, s->heads, y, d_x, d_gain[0]);
    expect_heads(s, qkv, d_qkv, gains + D, s->heads, s->kv_heads, y, d_x, d_gain[1]);
    for (uint64_t i = 0; i < D && s->no_q_gain; i++)
        d_gain[0][i] = (double)starts[i];
    tv_test_read(&heads, found);
    tv_test_compare("heads", found, y, count, 4e-5, 0);
    tv_test_read(&d_heads, found);
    tv_test_compare("gradients", found, d_x, count, 2e-3, 0);
    tv_test_read(&d_q, found);
    tv_test_compare("query gain", found, d_gain[0], D, 1e-3, 0);
    tv_test_read(&d_k, found);
    tv_test_compare("key gain", found, d_gain[1], D, 1e-3, 0);
    tv_test_tensor *all[] = {&heads, &d_heads, &q_gain, &k_gain, &raw, &rstd, &d_q, &d_k, &scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        tv_test_free(all[i]);
    tv_free_all(values, found, y, d_x);
}

static void check_shapes(tv_device *device) {
    const shape shapes[] = {{1, 1, 1, 2, false, false, false},   {3, 3, 1, 7, true, false, false},
                            {65, 4, 2, 32, false, false, false}, {130, 2, 2, 10, true, false, true},
                            {33, 2, 1, 80, false, true, false},  {9, 1, 1, 256, true, false, false}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check(device, &shapes[i]);
}

static void head_norms_equal_the_oracle(void **state) {
    check_shapes(*state);
}

/* The form for GPUs, and rows that are cut into several dispatches and folded. */
static void other_devices_equal_the_oracle(void **state) {
    (void)state;
    const char *const caps[] = {"cpu_kernels=0", "storage_range=65536,group_count_x=5"};
    for (int i = 0; i < 2; i++) {
        tv_device *device = tv_test_open_lowered(caps[i]);
        check_shapes(device);
        check(device, &(shape){700, 4, 2, 16, true, false, false});
        tv_device_close(&device);
    }
}

static void many_rows_equal_the_oracle(void **state) {
    check(*state, &(shape){33000, 2, 1, 2, false, true, false});
}

static void a_small_scratch_is_refused(void **state) {
    tv_device *device = *state;
    tv_test_tensor a = tv_test_floats(device, 64, NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_int_equal(tv_head_norm_backward_record(
                         recorder,
                         &(tv_head_norm_backward){
                             .forward = {.rows = 1,
                                         .heads = 1,
                                         .kv_heads = 1,
                                         .head_size = 16,
                                         .q_gain = a.tensor,
                                         .k_gain = a.tensor,
                                         .raw = a.tensor,
                                         .rstd = a.tensor},
                             .d_qkv = a.tensor,
                             .d_q_gain = a.tensor,
                             .sums = &(tv_column_sums){.scratch = tv_tensor_rows(a.tensor, 1, 0, 15)}}),
                     TV_E_USAGE);
    tv_recorder_abort(&recorder);
    tv_test_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_norms_equal_the_oracle),
        cmocka_unit_test(other_devices_equal_the_oracle),
        cmocka_unit_test(many_rows_equal_the_oracle),
        cmocka_unit_test(a_small_scratch_is_refused),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
