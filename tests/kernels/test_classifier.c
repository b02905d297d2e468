/* kernels/classifier against the oracle.
 *
 * Tolerance, with e = 2^-24: logits lie within +-32, so l - m is rounded by 64 e = 4e-6, which is the
 * relative error of a probability and, with the logarithm of the sum, at most twice that the absolute error
 * of a loss: 8e-6. Sums of 200,003 positive terms over the lanes add (V / lanes)^(1/2) e, below 1e-5 for 8
 * lanes. Gradients are probabilities times the scale. Hits are exact: tried with a target within 0.01 of the
 * maximum taken for one, which fails here.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "kernels/classifier.h"
#include "oracle/classifier.h"
#include "push_constants.h"

static const float scale = 1.0f / 48;

typedef struct fixture {
    uint64_t rows, vocab;
    float *logits, *losses, *hits, *result;
    uint32_t *targets;
    tv_test_tensor device_logits, device_targets, device_losses, device_hits, step;
} fixture;

static fixture make(uint64_t rows, uint64_t vocab) {
    fixture f = {.rows = rows, .vocab = vocab};
    f.logits = malloc(rows * vocab * sizeof *f.logits);
    f.result = malloc(rows * vocab * sizeof *f.result);
    f.losses = malloc(rows * sizeof *f.losses);
    f.hits = malloc(rows * sizeof *f.hits);
    f.targets = malloc(rows * sizeof *f.targets);
    assert_true(f.logits && f.result && f.losses && f.hits && f.targets);
    tv_test_random(f.logits, rows * vocab, vocab);
    tv_rng rng = {.seed = rows, .stream = TV_STREAM_TEST};
    /* Peaked rows, and flat ones in which every element counts. */
    for (uint64_t i = 0; i < rows * vocab; i++)
        f.logits[i] *= i / vocab % 2 ? 32 : 1;
    for (uint64_t r = 0; r < rows; r++)
        f.targets[r] =
            r % 5 == 3 ? TV_IGNORED_TARGET : (uint32_t)(tv_uniform(&rng, r) * (float)vocab) % (uint32_t)vocab;
    /* The first and the last element, which loops over lanes and vec4s may miss. */
    f.targets[0] = (uint32_t)vocab - 1;
    if (rows > 1)
        f.targets[1] = 0;
    /* Targets that are the maximum, alone and together with the first element. */
    for (uint64_t r = 2; r < rows; r += 4) {
        float *row = f.logits + r * vocab;
        uint32_t best = 0;
        for (uint32_t v = 1; v < vocab; v++)
            best = row[v] > row[best] ? v : best;
        f.targets[r] = f.targets[r] == TV_IGNORED_TARGET ? TV_IGNORED_TARGET : best;
        if (r % 8 == 6)
            row[0] = row[best];
    }
    return f;
}

static void run(tv_device *device, fixture *f, bool gradient) {
    const tv_step_constants constants = {.loss_scale = scale};
    f->device_logits = tv_test_floats(device, f->rows * f->vocab, f->logits);
    f->device_targets = tv_test_uints(device, f->rows, f->targets);
    f->device_losses = tv_test_floats(device, f->rows, NULL);
    f->device_hits = tv_test_floats(device, f->rows, NULL);
    f->step = tv_test_bytes(device, sizeof constants, &constants);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_cross_entropy_record(recorder, &(tv_cross_entropy){.rows = f->rows,
                                                                    .vocab = f->vocab,
                                                                    .gradient = gradient,
                                                                    .logits = f->device_logits.tensor,
                                                                    .targets = f->device_targets.tensor,
                                                                    .losses = f->device_losses.tensor,
                                                                    .hits = f->device_hits.tensor,
                                                                    .step = f->step.tensor}));
    tv_test_run(device, recorder);
    tv_test_read(&f->device_losses, f->losses);
    tv_test_read(&f->device_hits, f->hits);
    tv_test_read(&f->device_logits, f->result);
    tv_test_free(&f->device_logits);
    tv_test_free(&f->device_targets);
    tv_test_free(&f->device_losses);
    tv_test_free(&f->device_hits);
    tv_test_free(&f->step);
}

static void release(fixture *f) {
    tv_free_all(f->logits, f->result, f->losses, f->hits, f->targets);
}

static void check(tv_device *device, uint64_t rows, uint64_t vocab) {
    fixture f = make(rows, vocab);
    double *losses = malloc(rows * sizeof *losses), *gradient = malloc(rows * vocab * sizeof *gradient);
    double *hits = malloc(rows * sizeof *hits);
    assert_true(losses && gradient && hits);
    oracle_cross_entropy(rows, vocab, (double)scale, f.logits, f.targets, losses, gradient);
    oracle_hits(rows, vocab, f.logits, f.targets, hits);
    run(device, &f, false);
    tv_test_compare("hits without gradient", f.hits, hits, rows, 0, 0);
    tv_test_compare("loss without gradient", f.losses, losses, rows, 1e-5, 1e-6);
    assert_memory_equal(f.result, f.logits, rows * vocab * sizeof *f.logits);
    run(device, &f, true);
    tv_test_compare("loss", f.losses, losses, rows, 1e-5, 1e-6);
    tv_test_compare("hits", f.hits, hits, rows, 0, 0);
    tv_test_compare("gradient", f.result, gradient, rows * vocab, 2e-7 * (double)scale, 1.5e-5);
    for (uint64_t r = 3; r < rows; r += 5) {
        assert_true(f.losses[r] == 0);
        for (uint64_t v = 0; v < vocab; v++)
            assert_true(f.result[r * vocab + v] == 0);
    }
    release(&f);
    tv_free_all(losses, gradient, hits);
}

static void cross_entropy_equals_the_oracle(void **state) {
    const uint64_t shapes[][2] = {{1, 1},   {3, 2},     {7, 3},     {6, 17},    {11, 64},   {65, 129},
                                  {9, 512}, {17, 1028}, {5, 50257}, {6, 50304}, {3, 200003}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        check(*state, shapes[s][0], shapes[s][1]);
}

static void many_rows_equal_the_oracle(void **state) {
    check(*state, 70000, 3);
    check(*state, 66001, 4);
}

/* Rows are cut into several dispatches, grids are folded. */
static void small_limits_equal_the_oracle(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=65536,group_count_x=5");
    check(device, 700, 65);
    check(device, 300, 128);
    check(device, 20000, 1);
    /* Parts that start on any byte: 3 odd rows in a binding, then a single one. */
    check(device, 131, 5021);
    check(device, 130, 5020);
    check(device, 5, 16001);
    tv_device_close(&device);
}

/* The form for GPUs, in which workgroups have barriers. */
static void workgroups_of_several_subgroups_equal_the_oracle(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("cpu_kernels=0");
    check(device, 7, 3);
    check(device, 65, 129);
    check(device, 9, 512);
    check(device, 5, 50257);
    check(device, 6, 50304);
    tv_device_close(&device);
}

/* Logits of an ignored row may be anything; masked logits are -inf; a large logit does not overflow. */
static void extreme_logits_are_exact(void **state) {
    tv_device *device = *state;
    const uint64_t vocabs[] = {37, 64};
    for (int i = 0; i < 2; i++) {
        uint64_t vocab = vocabs[i];
        fixture f = make(4, vocab);
        const uint32_t targets[] = {5, TV_IGNORED_TARGET, 6, 7};
        for (int r = 0; r < 4; r++)
            f.targets[r] = targets[r];
        for (uint64_t v = 0; v < vocab; v++) {
            f.logits[v] = v == 5 ? 1e30f : -1e30f;
            f.logits[vocab + v] = v % 3 == 0 ? INFINITY : v % 3 == 1 ? -INFINITY : NAN;
            f.logits[2 * vocab + v] = v == 6 || v == 9 ? 3 : -INFINITY;
            f.logits[3 * vocab + v] = v == 20 ? INFINITY : 0;
        }
        run(device, &f, true);
        assert_true(f.losses[0] == 0 && f.losses[1] == 0);
        assert_near(f.losses[2], 0.69314718, 1e-6);
        assert_true(isnan(f.losses[3]));
        assert_true(f.hits[0] == 1 && f.hits[1] == 0 && f.hits[2] == 1 && f.hits[3] == 0);
        for (uint64_t v = 0; v < vocab; v++) {
            assert_true(f.result[v] == 0 && f.result[vocab + v] == 0);
            assert_near(f.result[2 * vocab + v], v == 6 ? -0.5f * scale : v == 9 ? 0.5f * scale : 0, 1e-8);
        }
        release(&f);
    }
}

/* The host checks targets; one that slipped through reads nothing outside and makes its row NaN, no other. */
static void a_target_outside_of_the_vocabulary_is_nan(void **state) {
    tv_device *device = *state;
    fixture f = make(3, 40);
    f.targets[0] = 1;
    f.targets[1] = 40;
    f.targets[2] = UINT32_MAX - 1;
    run(device, &f, true);
    for (uint64_t r = 0; r < 3; r++) {
        assert_int_equal(isnan(f.losses[r]) != 0, r > 0);
        for (uint64_t v = 0; v < 40; v++)
            assert_int_equal(isnan(f.result[r * 40 + v]) != 0, r > 0);
    }
    release(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cross_entropy_equals_the_oracle),
        cmocka_unit_test(many_rows_equal_the_oracle),
        cmocka_unit_test(small_limits_equal_the_oracle),
        cmocka_unit_test(workgroups_of_several_subgroups_equal_the_oracle),
        cmocka_unit_test(extreme_logits_are_exact),
        cmocka_unit_test(a_target_outside_of_the_vocabulary_is_nan),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
