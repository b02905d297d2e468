/* kernels/logprobs against the oracle.
 *
 * Tolerance, with e = 2^-24: logits lie within +-32, so l / tau lies within +-46 and is rounded by 64 e / 2 =
 * 2e-6, its difference to the maximum by as much again; the logarithm of the sum has the relative error of
 * the terms. A log-probability is off by less than 1e-5 absolutely, an entropy (a mean of log-probabilities)
 * by that and 1e-5 of itself. A gradient's probability has the relative error of the exponent's absolute one,
 * 1e-5, times d / tau.
 *
 * Tried, each fails here: the temperature left out of the gradient's softmax or of its factor, W not moved
 * with the maximum, lse of the row before or at the row's own place, the target's element in the neighbouring
 * place of its vec4, ignored rows left as they are, -inf logits without a bound in W.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/logprobs.h"
#include "oracle/logprobs.h"

static const float inverse_temperature = 1 / 0.7f;

typedef struct fixture {
    uint64_t rows, vocab;
    float *logits, *d_logprobs;                   /* inputs */
    float *logprobs, *lse, *entropies, *d_logits; /* results */
    uint32_t *targets;
} fixture;

static float *floats(uint64_t count) {
    float *values = calloc(count, sizeof *values);
    assert_non_null(values);
    return values;
}

static fixture make(uint64_t rows, uint64_t vocab) {
    fixture f = {rows,
                 vocab,
                 floats(rows * vocab),
                 floats(rows),
                 floats(rows),
                 floats(2 * rows),
                 floats(rows),
                 floats(rows * vocab),
                 calloc(rows, sizeof(uint32_t))};
    assert_non_null(f.targets);
    tv_test_random(f.logits, rows * vocab, vocab);
    tv_test_random(f.d_logprobs, rows, vocab + 1);
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
    return f;
}

static void release(fixture *f) {
    float *all[] = {f->logits, f->d_logprobs, f->logprobs, f->lse, f->entropies, f->d_logits};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(f->targets);
}

static void run(tv_device *device, fixture *f, bool entropy) {
    tv_test_tensor logits = tv_test_floats(device, f->rows * f->vocab, f->logits),
                   targets = tv_test_uints(device, f->rows, f->targets),
                   logprobs = tv_test_floats(device, f->rows, NULL),
                   lse = tv_test_floats(device, 2 * f->rows, NULL),
                   entropies = tv_test_floats(device, f->rows, NULL),
                   d_logprobs = tv_test_floats(device, f->rows, f->d_logprobs);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_token_logprobs_record(
        recorder, &(tv_token_logprobs){.rows = f->rows,
                                       .vocab = f->vocab,
                                       .inverse_temperature = inverse_temperature,
                                       .logits = logits.tensor,
                                       .targets = targets.tensor,
                                       .logprobs = logprobs.tensor,
                                       .lse = lse.tensor,
                                       .entropies = entropy ? entropies.tensor : TV_ABSENT}));
    tv_test_run(device, recorder);
    tv_test_read(&logits, f->d_logits);
    assert_memory_equal(f->d_logits, f->logits, f->rows * f->vocab * sizeof *f->logits);
    recorder = tv_test_begin(device);
    assert_ok(
        tv_token_gradient_record(recorder, &(tv_token_gradient){.rows = f->rows,
                                                                .vocab = f->vocab,
                                                                .inverse_temperature = inverse_temperature,
                                                                .logits = logits.tensor,
                                                                .targets = targets.tensor,
                                                                .lse = lse.tensor,
                                                                .d_logprobs = d_logprobs.tensor}));
    tv_test_run(device, recorder);
    tv_test_read(&logprobs, f->logprobs);
    tv_test_read(&lse, f->lse);
    tv_test_read(&entropies, f->entropies);
    tv_test_read(&logits, f->d_logits);
    tv_test_tensor *all[] = {&logits, &targets, &logprobs, &lse, &entropies, &d_logprobs};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        tv_test_free(all[i]);
}

static void check(tv_device *device, uint64_t rows, uint64_t vocab) {
    fixture f = make(rows, vocab);
    double *logprobs = calloc(2 * rows + rows * vocab, sizeof *logprobs);
    assert_non_null(logprobs);
    double *entropies = logprobs + rows, *gradient = entropies + rows, tau = 1 / (double)inverse_temperature;
    oracle_token_logprobs(rows, vocab, tau, f.logits, f.targets, logprobs, entropies);
    oracle_token_gradient(rows, vocab, tau, f.logits, f.targets, f.d_logprobs, gradient);
    run(device, &f, true);
    tv_test_compare("logprob", f.logprobs, logprobs, rows, 1e-5, 1e-6);
    tv_test_compare("entropy", f.entropies, entropies, rows, 1e-5, 1e-5);
    tv_test_compare("gradient", f.d_logits, gradient, rows * vocab, 3e-7, 1.5e-5);
    for (uint64_t r = 3; r < rows; r += 5) {
        assert_true(f.logprobs[r] == 0 && f.entropies[r] == 0);
        for (uint64_t v = 0; v < vocab; v++)
            assert_true(f.d_logits[r * vocab + v] == 0);
    }
    release(&f);
    free(logprobs);
}

static void logprobs_equal_the_oracle(void **state) {
    const uint64_t shapes[][2] = {{1, 1},   {3, 2},     {7, 3},     {6, 17},    {11, 64},   {65, 129},
                                  {9, 512}, {17, 1028}, {5, 50257}, {6, 50304}, {3, 200003}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        check(*state, shapes[s][0], shapes[s][1]);
}

static void many_rows_equal_the_oracle(void **state) {
    check(*state, 70000, 3);
    check(*state, 66001, 4);
}

/* Rows are cut into several dispatches, at any byte, and grids are folded. */
static void small_limits_equal_the_oracle(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=65536,group_count_x=5");
    check(device, 700, 65);
    check(device, 300, 128);
    check(device, 131, 5021);
    check(device, 5, 16001);
    fixture f = make(1, 17000);
    tv_test_tensor logits = tv_test_floats(device, f.vocab, f.logits);
    tv_recorder *recorder = tv_test_begin(device);
    assert_fails(tv_token_logprobs_record(
                     recorder, &(tv_token_logprobs){.rows = 1, .vocab = f.vocab, .logits = logits.tensor}),
                 TV_E_FIT, "68000 bytes");
    tv_recorder_abort(&recorder);
    tv_test_free(&logits);
    release(&f);
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
    tv_device_close(&device);
}

/* What PPO's ratios of exactly 1 rest on: a row gives the same bits among other rows, at another place, and
 * whether its entropy is asked for or not. */
static void a_row_gives_the_same_bits_in_any_company(void **state) {
    const uint64_t vocabs[] = {129, 512};
    for (int i = 0; i < 2; i++) {
        uint64_t vocab = vocabs[i];
        fixture many = make(77, vocab), one = make(1, vocab);
        run(*state, &many, true);
        for (uint64_t r = 0; r < many.rows; r += 7) {
            memcpy(one.logits, many.logits + r * vocab, vocab * sizeof *one.logits);
            one.targets[0] = many.targets[r];
            one.d_logprobs[0] = many.d_logprobs[r];
            run(*state, &one, r % 2);
            assert_memory_equal(one.logprobs, many.logprobs + r, sizeof *one.logprobs);
            assert_memory_equal(one.lse, many.lse + 2 * r, 2 * sizeof *one.lse);
            assert_memory_equal(one.d_logits, many.d_logits + r * vocab, vocab * sizeof *one.d_logits);
        }
        release(&many);
        release(&one);
    }
}

/* Logits of an ignored row may be anything; masked logits are -inf; large logits keep their differences. */
static void extreme_logits_are_exact(void **state) {
    const uint64_t vocabs[] = {37, 64};
    for (int i = 0; i < 2; i++) {
        uint64_t vocab = vocabs[i];
        fixture f = make(5, vocab);
        const uint32_t targets[] = {5, TV_IGNORED_TARGET, 6, 7, 3};
        for (int r = 0; r < 5; r++) {
            f.targets[r] = targets[r];
            f.d_logprobs[r] = 1;
        }
        for (uint64_t v = 0; v < vocab; v++) {
            f.logits[v] = v == 5 ? 1e30f : -1e30f;
            f.logits[vocab + v] = v % 3 == 0 ? INFINITY : v % 3 == 1 ? -INFINITY : NAN;
            f.logits[2 * vocab + v] = v == 6 || v == 9 ? 3 : -INFINITY;
            f.logits[3 * vocab + v] = v == 20 ? INFINITY : 0;
            f.logits[4 * vocab + v] = 3000; /* lse 4290 holds log V to 2.4e-4 only, its two parts exactly */
        }
        f.d_logprobs[1] = NAN;
        run(*state, &f, true);
        assert_true(f.logprobs[0] == 0 && f.entropies[0] == 0);
        assert_true(f.logprobs[1] == 0 && f.entropies[1] == 0);
        assert_near(f.logprobs[2], -0.69314718, 1e-6);
        assert_near(f.entropies[2], 0.69314718, 1e-6);
        assert_true(isnan(f.logprobs[3]) && isnan(f.entropies[3]));
        assert_near(f.logprobs[4], -log((double)vocab), 1e-6);
        assert_near(f.entropies[4], log((double)vocab), 1e-6);
        for (uint64_t v = 0; v < vocab; v++) {
            assert_true(f.d_logits[v] == 0 && f.d_logits[vocab + v] == 0);
            assert_near(f.d_logits[2 * vocab + v],
                        inverse_temperature * (v == 6   ? 0.5f
                                               : v == 9 ? -0.5f
                                                        : 0),
                        1e-6);
            assert_near(f.d_logits[4 * vocab + v],
                        (double)inverse_temperature * ((v == 3) - 1.0 / (double)vocab), 1e-6);
        }
        release(&f);
    }
}

/* The host checks targets; one that slipped through reads nothing outside and makes its row NaN, no other. */
static void a_target_outside_of_the_vocabulary_is_nan(void **state) {
    fixture f = make(3, 40);
    f.targets[0] = 1;
    f.targets[1] = 40;
    f.targets[2] = UINT32_MAX - 1;
    run(*state, &f, true);
    for (uint64_t r = 0; r < 3; r++) {
        assert_int_equal(isnan(f.logprobs[r]) != 0, r > 0);
        assert_int_equal(isnan(f.entropies[r]) != 0, r > 0);
        for (uint64_t v = 0; v < 40; v++)
            assert_int_equal(isnan(f.d_logits[r * 40 + v]) != 0, r > 0);
    }
    release(&f);
}

/* The oracle's gradient is the slope of the oracle's log-probabilities. Central differences at h = 1/64, an
 * exact step: h^2 / 6 of a third derivative below 1 / tau^3 = 3 is 1.2e-4; fp32 logits keep all of h. */
static void the_oracle_s_gradient_is_a_slope(void **state) {
    (void)state;
    enum { VOCAB = 11 };
    const float h = 1.0f / 64;
    fixture f = make(1, VOCAB);
    double gradient[VOCAB], logprob[2], entropy;
    for (int v = 0; v < VOCAB; v++)
        f.logits[v] = (float)(int)(f.logits[v] * 256) / 256;
    f.d_logprobs[0] = 1;
    oracle_token_gradient(1, VOCAB, 0.7, f.logits, f.targets, f.d_logprobs, gradient);
    for (int v = 0; v < VOCAB; v++) {
        float origin = f.logits[v];
        for (int side = 0; side < 2; side++) {
            f.logits[v] = side ? origin + h : origin - h;
            oracle_token_logprobs(1, VOCAB, 0.7, f.logits, f.targets, &logprob[side], &entropy);
        }
        f.logits[v] = origin;
        assert_near((logprob[1] - logprob[0]) / (2 * (double)h), gradient[v], 1.2e-4);
    }
    release(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oracle_s_gradient_is_a_slope),
        cmocka_unit_test(logprobs_equal_the_oracle),
        cmocka_unit_test(many_rows_equal_the_oracle),
        cmocka_unit_test(small_limits_equal_the_oracle),
        cmocka_unit_test(workgroups_of_several_subgroups_equal_the_oracle),
        cmocka_unit_test(a_row_gives_the_same_bits_in_any_company),
        cmocka_unit_test(extreme_logits_are_exact),
        cmocka_unit_test(a_target_outside_of_the_vocabulary_is_nan),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
