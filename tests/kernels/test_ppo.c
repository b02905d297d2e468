/* kernels/ppo against the oracle.
 *
 * Tolerance, with e = 2^-24: both get the same fp32 inputs, so a difference of log-probabilities, of values
 * or of returns is off by e of itself. An exponential errs by about 3 e plus 2 e |x|, |x| below 1 for the
 * random rows, a square doubles that: all below 1e-5 of the result, and 1e-6 beside 0 for what is a
 * difference of numbers near 1.
 *
 * Tried, each fails here: the sign of the advantage, min for max, a wider lower bound, a gradient where the
 * loss is flat, exp - 1 for expm1, no bound on the ratio, the value clipped around the return, clipped
 * counted inside the range, loss_scale or the coefficient dropped, ignored rows that are read.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/ppo.h"
#include "oracle/ppo.h"
#include "push_constants.h"

static const float scale = 1.0f / 48, clip = 0.2f, coefficient = 0.1f;

enum { INPUTS = 4 };
/* Of the policy: logprobs, old logprobs, advantages, entropies. Of the value: values, old values, returns. */
typedef struct fixture {
    uint64_t rows;
    uint32_t *targets;
    float *in[INPUTS];
    float *gradient, *stats;
} fixture;

static fixture make(uint64_t rows) {
    fixture f = {.rows = rows, .targets = calloc(rows, sizeof *f.targets)};
    f.gradient = calloc(rows, sizeof *f.gradient);
    f.stats = calloc(rows * TV_PPO_POLICY_STATS, sizeof *f.stats);
    for (int i = 0; i < INPUTS; i++) {
        f.in[i] = calloc(rows, sizeof *f.in[i]);
        assert_non_null(f.in[i]);
        tv_test_random(f.in[i], rows, rows + (uint64_t)i);
    }
    assert_true(f.targets && f.gradient && f.stats);
    for (uint64_t r = 0; r < rows; r++) {
        f.targets[r] = r % 3 == 1 ? TV_IGNORED_TARGET : (uint32_t)r;
        for (int i = 0; i < INPUTS && r % 3 == 1; i++)
            f.in[i][r] = NAN;
    }
    return f;
}

static void release(fixture *f) {
    tv_free_all(f->targets, f->gradient, f->stats);
    for (int i = 0; i < INPUTS; i++)
        free(f->in[i]);
}

static void run(tv_device *device, fixture *f, bool policy, float range) {
    const struct tv_step_constants constants = {.loss_scale = scale};
    uint64_t columns = policy ? TV_PPO_POLICY_STATS : TV_PPO_VALUE_STATS;
    tv_test_tensor in[INPUTS], targets = tv_test_uints(device, f->rows, f->targets),
                               step = tv_test_bytes(device, sizeof constants, &constants),
                               gradient = tv_test_floats(device, f->rows, NULL),
                               stats = tv_test_floats(device, f->rows * columns, NULL);
    for (int i = 0; i < INPUTS; i++)
        in[i] = tv_test_floats(device, f->rows, f->in[i]);
    tv_recorder *recorder = tv_test_begin(device);
    if (policy)
        assert_ok(tv_ppo_policy_record(recorder, &(tv_ppo_policy){.rows = f->rows,
                                                                  .clip = range,
                                                                  .targets = targets.tensor,
                                                                  .logprobs = in[0].tensor,
                                                                  .old_logprobs = in[1].tensor,
                                                                  .advantages = in[2].tensor,
                                                                  .entropies = in[3].tensor,
                                                                  .step = step.tensor,
                                                                  .d_logprobs = gradient.tensor,
                                                                  .stats = stats.tensor}));
    else
        assert_ok(tv_ppo_value_record(recorder, &(tv_ppo_value){.rows = f->rows,
                                                                .clip = range,
                                                                .coefficient = coefficient,
                                                                .targets = targets.tensor,
                                                                .values = in[0].tensor,
                                                                .old_values = in[1].tensor,
                                                                .returns = in[2].tensor,
                                                                .step = step.tensor,
                                                                .d_values = gradient.tensor,
                                                                .stats = stats.tensor}));
    tv_test_run(device, recorder);
    tv_test_read(&gradient, f->gradient);
    tv_test_read(&stats, f->stats);
    for (int i = 0; i < INPUTS; i++)
        tv_test_free(&in[i]);
    tv_test_tensor *rest[] = {&targets, &step, &gradient, &stats};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        tv_test_free(rest[i]);
}

static void check_policy(tv_device *device, uint64_t rows) {
    fixture f = make(rows);
    /* Ratios from e^-1 to e, half of them near 1; log-probabilities of some size. */
    for (uint64_t r = 0; r < rows; r++) {
        float difference = f.in[0][r] * (r % 2 ? 1.0f : 0.1f);
        f.in[1][r] = 4 * f.in[1][r] - 4;
        f.in[0][r] = f.in[1][r] + difference;
    }
    run(device, &f, true, clip);
    double *gradient = calloc(rows * (1 + TV_PPO_POLICY_STATS), sizeof *gradient), *stats = gradient + rows;
    assert_non_null(gradient);
    for (uint64_t r = 0; r < rows; r++) {
        if (f.targets[r] == TV_IGNORED_TARGET)
            continue;
        double log_ratio = (double)f.in[0][r] - (double)f.in[1][r], *row = stats + r * TV_PPO_POLICY_STATS;
        oracle_ppo expected =
            oracle_ppo_policy((double)f.in[0][r], (double)f.in[1][r], (double)f.in[2][r], (double)clip);
        gradient[r] = (double)scale * expected.gradient;
        row[TV_PPO_POLICY_LOSS] = expected.loss;
        row[TV_PPO_APPROX_KL] = log_ratio * log_ratio / 2;
        row[TV_PPO_CLIPPED] = expected.clipped;
        row[TV_PPO_RATIO_MINUS_1] = expected.ratio - 1;
        row[TV_PPO_RATIO_MINUS_1_SQ] = (expected.ratio - 1) * (expected.ratio - 1);
        row[TV_PPO_ENTROPY] = (double)f.in[3][r];
    }
    tv_test_compare("gradient", f.gradient, gradient, rows, 1e-8, 1e-5);
    tv_test_compare("statistics", f.stats, stats, rows * TV_PPO_POLICY_STATS, 1e-8, 1e-5);
    free(gradient);
    release(&f);
}

static void check_value(tv_device *device, uint64_t rows, float range) {
    fixture f = make(rows);
    run(device, &f, false, range);
    double *gradient = calloc(rows * (1 + TV_PPO_VALUE_STATS), sizeof *gradient), *stats = gradient + rows;
    assert_non_null(gradient);
    for (uint64_t r = 0; r < rows; r++) {
        if (f.targets[r] == TV_IGNORED_TARGET)
            continue;
        oracle_ppo expected =
            oracle_ppo_value((double)f.in[0][r], (double)f.in[1][r], (double)f.in[2][r], (double)range);
        gradient[r] = (double)scale * (double)coefficient * expected.gradient;
        stats[r * TV_PPO_VALUE_STATS + TV_PPO_VALUE_LOSS] = expected.loss;
        stats[r * TV_PPO_VALUE_STATS + TV_PPO_VALUE_CLIPPED] = expected.clipped;
    }
    tv_test_compare("gradient", f.gradient, gradient, rows, 1e-9, 1e-5);
    tv_test_compare("statistics", f.stats, stats, rows * TV_PPO_VALUE_STATS, 1e-7, 1e-5);
    free(gradient);
    release(&f);
}

static void losses_equal_the_oracle(void **state) {
    const uint64_t rows[] = {1, 3, 64, 65, 1000, 70001};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_policy(*state, rows[i]);
        check_value(*state, rows[i], clip);
        check_value(*state, rows[i], 0);
    }
}

static void small_bindings_split_rows(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=16384,group_count_x=3");
    check_policy(device, 5003);
    check_value(device, 9001, clip);
    tv_device_close(&device);
}

/* Equal log-probabilities: every statistic of the change is exactly 0 and the ratio exactly 1, whatever they
 * are. */
static void an_untouched_policy_is_exact(void **state) {
    fixture f = make(300);
    for (uint64_t r = 0; r < f.rows; r++) {
        f.in[0][r] = f.in[1][r] = r % 3 == 1 ? NAN : -(float)r * 1.7f;
        f.in[2][r] = r % 3 == 1 ? NAN : f.in[2][r];
    }
    run(*state, &f, true, clip);
    for (uint64_t r = 0; r < f.rows; r++) {
        const float *row = f.stats + r * TV_PPO_POLICY_STATS;
        for (int c = TV_PPO_APPROX_KL; c <= TV_PPO_RATIO_MINUS_1_SQ; c++)
            assert_true(row[c] == 0);
        if (r % 3 == 1)
            assert_true(row[TV_PPO_POLICY_LOSS] == 0 && f.gradient[r] == 0);
        else
            assert_true(row[TV_PPO_POLICY_LOSS] == -f.in[2][r] && f.gradient[r] == scale * -f.in[2][r]);
    }
    release(&f);
}

/* Ratios of e^+-100 stay numbers; an advantage of 0 teaches nothing; what is not finite poisons its row
 * alone. */
static void extreme_ratios_are_numbers(void **state) {
    enum { ROWS = 7 };
    static const float logprob[ROWS] = {0, -100, 0, -100, 0, NAN, -1},
                       old[ROWS] = {-100, 0, -100, 0, -100, -1, -INFINITY},
                       advantage[ROWS] = {2, 2, -2, -2, 0, 1, 1};
    fixture f = make(ROWS);
    for (int r = 0; r < ROWS; r++) {
        f.targets[r] = 0;
        f.in[0][r] = logprob[r];
        f.in[1][r] = old[r];
        f.in[2][r] = advantage[r];
        f.in[3][r] = 0;
    }
    run(*state, &f, true, clip);
    const float *loss = f.stats;
    assert_near(loss[0 * TV_PPO_POLICY_STATS], -2.4, 1e-6);
    assert_true(f.gradient[0] == 0);
    assert_true(loss[1 * TV_PPO_POLICY_STATS] <= 0 && loss[1 * TV_PPO_POLICY_STATS] > -1e-6f);
    assert_true(isfinite(loss[2 * TV_PPO_POLICY_STATS]) && loss[2 * TV_PPO_POLICY_STATS] > 1e17f);
    assert_true(isfinite(f.gradient[2]) && f.gradient[2] > 1e15f);
    assert_near(loss[3 * TV_PPO_POLICY_STATS], 1.6, 1e-6);
    assert_true(f.gradient[3] == 0);
    assert_true(loss[4 * TV_PPO_POLICY_STATS] == 0 && f.gradient[4] == 0);
    for (int r = 0; r < 5; r++)
        for (int c = 0; c < TV_PPO_POLICY_STATS; c++)
            assert_true(isfinite(f.stats[r * TV_PPO_POLICY_STATS + c]));
    assert_true(isnan(f.gradient[5]) && isnan(f.gradient[6]));
    release(&f);
}

/* Inside the range old + (V - old) differs from V by rounding: that is no clipping, and has a gradient. */
static void a_value_inside_the_range_is_not_clipped(void **state) {
    fixture f = make(999);
    for (int i = 0; i < 3; i++) {
        static const float width[] = {0.13f, 0.06f, 2};
        tv_test_random(f.in[i], f.rows, 50 + (uint64_t)i);
        for (uint64_t r = 0; r < f.rows; r++)
            f.in[i][r] *= width[i];
    }
    for (uint64_t r = 0; r < f.rows; r++)
        f.targets[r] = 0;
    run(*state, &f, false, clip);
    for (uint64_t r = 0; r < f.rows; r++) {
        assert_true(f.stats[r * TV_PPO_VALUE_STATS + TV_PPO_VALUE_CLIPPED] == 0);
        assert_near(f.gradient[r], scale * coefficient * (f.in[0][r] - f.in[2][r]), 1e-8);
    }
    release(&f);
}

/* The oracle's gradients are slopes of the oracle's losses, away from the kinks: central differences at 1e-5
 * in double. */
static void the_oracle_s_gradients_are_slopes(void **state) {
    (void)state;
    const double h = 1e-5;
    for (int i = 0; i < 400; i++) {
        int row = i / 20;
        double x = (i % 20) * 0.07 - 0.6813, a = row * 0.3 - 2.87;
        oracle_ppo at = oracle_ppo_policy(x, 0.01, a, 0.2);
        double slope =
            (oracle_ppo_policy(x + h, 0.01, a, 0.2).loss - oracle_ppo_policy(x - h, 0.01, a, 0.2).loss) /
            (2 * h);
        assert_near(at.gradient, slope, 1e-8);
        at = oracle_ppo_value(x, 0.013, a, 0.2);
        slope = (oracle_ppo_value(x + h, 0.013, a, 0.2).loss - oracle_ppo_value(x - h, 0.013, a, 0.2).loss) /
                (2 * h);
        assert_near(at.gradient, slope, 1e-8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oracle_s_gradients_are_slopes),
        cmocka_unit_test(losses_equal_the_oracle),
        cmocka_unit_test(small_bindings_split_rows),
        cmocka_unit_test(an_untouched_policy_is_exact),
        cmocka_unit_test(extreme_ratios_are_numbers),
        cmocka_unit_test(a_value_inside_the_range_is_not_clipped),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
