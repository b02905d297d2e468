/* kernels/gae against the oracle.
 *
 * Tolerance, with e = 2^-24: an advantage is a recurrence of n steps with a factor of at most 1, so its error
 * is n roundings of its own scale at worst, sqrt(n) as they come: below 20 e = 1.2e-6 of the largest
 * advantage for n = 300. Whitening subtracts a mean that has the error of a sum, and divides: twice that.
 * Everything is asked for within 1e-5 of the largest number of its kind.
 *
 * Tried, each fails here: gamma left out, lambda left out, the value behind the last token not 0, the score
 * at the first token, beta's sign, n - 1 for n in the mean and in the variance, a mean over all rows instead
 * of the response's, k3 of -d, values outside the response left as they are, returns summed without the
 * values.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/gae.h"
#include "oracle/gae.h"

enum { GRIDS = 5 }; /* old, ref, values; advantages, returns */

typedef struct fixture {
    uint64_t sequences, tokens;
    oracle_gae_settings settings;
    bool whiten;
    tv_gae_extent *extents;
    float *grid[GRIDS]; /* (S, T) */
    float *sums, *totals;
} fixture;

static fixture make(uint64_t sequences, uint64_t tokens) {
    fixture f = {.sequences = sequences, .tokens = tokens, .settings = {1, 0.05, 1, 0.95}};
    uint64_t count = sequences * tokens;
    f.extents = calloc(sequences, sizeof *f.extents);
    f.sums = calloc(sequences * TV_GAE_SUMS, sizeof *f.sums);
    f.totals = calloc(TV_GAE_SUMS, sizeof *f.totals);
    assert_true(f.extents && f.sums && f.totals);
    for (int i = 0; i < GRIDS; i++) {
        f.grid[i] = calloc(count, sizeof *f.grid[i]);
        assert_non_null(f.grid[i]);
        tv_test_random(f.grid[i], count, count + (uint64_t)i);
    }
    const tv_rng rng = {.seed = count, .stream = TV_STREAM_TEST};
    for (uint64_t s = 0; s < sequences; s++) {
        uint64_t first = tv_uniform_below(&rng, 2 * s, tokens);
        f.extents[s] = (tv_gae_extent){
            .first = (uint32_t)first,
            .count = (uint32_t)tv_uniform_below(&rng, 2 * s + 1, tokens - first + 1),
            .score = 3 * (float)(s % 7) / 7 - 1,
        };
    }
    f.extents[0] = (tv_gae_extent){.first = 0, .count = (uint32_t)tokens, .score = 1}; /* the whole row */
    for (uint64_t i = 0; i < count; i++) {
        const tv_gae_extent *e = &f.extents[i / tokens];
        bool in = i % tokens >= e->first && i % tokens < e->first + e->count;
        f.grid[0][i] = 4 * f.grid[0][i] - 4;
        f.grid[1][i] = f.grid[0][i] + f.grid[1][i];
        for (int g = 0; g < 3 && !in; g++)
            f.grid[g][i] = NAN;
    }
    return f;
}

static void release(fixture *f) {
    tv_free_all(f->extents, f->sums, f->totals);
    for (int i = 0; i < GRIDS; i++)
        free(f->grid[i]);
}

static void run(tv_device *device, fixture *f) {
    uint64_t count = f->sequences * f->tokens;
    float beta = (float)f->settings.beta;
    tv_test_tensor grid[GRIDS],
        extents = tv_test_bytes(device, f->sequences * sizeof *f->extents, f->extents),
        coefficient = tv_test_floats(device, 1, &beta),
        sums = tv_test_floats(device, f->sequences * TV_GAE_SUMS, NULL),
        totals = tv_test_floats(device, TV_GAE_SUMS, NULL),
        scratch = tv_test_floats(device, tv_gae_scratch(f->sequences) / 4, NULL);
    for (int i = 0; i < GRIDS; i++)
        grid[i] = tv_test_floats(device, count, i < 3 ? f->grid[i] : NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_gae_record(recorder, &(tv_gae){.sequences = f->sequences,
                                                .tokens = f->tokens,
                                                .estimator = (uint32_t)f->settings.estimator,
                                                .gamma = (float)f->settings.gamma,
                                                .lambda = (float)f->settings.lambda,
                                                .whiten = f->whiten,
                                                .extents = extents.tensor,
                                                .beta = coefficient.tensor,
                                                .old_logprobs = grid[0].tensor,
                                                .ref_logprobs = grid[1].tensor,
                                                .values = grid[2].tensor,
                                                .advantages = grid[3].tensor,
                                                .returns = grid[4].tensor,
                                                .sums = sums.tensor,
                                                .totals = totals.tensor,
                                                .scratch = scratch.tensor}));
    tv_test_run(device, recorder);
    for (int i = 0; i < GRIDS; i++) {
        tv_test_read(&grid[i], f->grid[i]);
        tv_test_free(&grid[i]);
    }
    tv_test_read(&sums, f->sums);
    tv_test_read(&totals, f->totals);
    float *unread = calloc(scratch.count, sizeof *unread);
    tv_test_read(&scratch, unread);
    free(unread);
    tv_test_tensor *rest[] = {&extents, &coefficient, &sums, &totals, &scratch};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        tv_test_free(rest[i]);
}

static double largest(const double *numbers, uint64_t count) {
    double most = 0;
    for (uint64_t i = 0; i < count; i++)
        most = fmax(most, fabs(numbers[i]));
    return most;
}

static void compare(const char *what, const float *actual, const double *expected, uint64_t count) {
    tv_test_compare(what, actual, expected, count, 1e-5 * largest(expected, count), 0);
}

/* What the oracle says, with whitening over the responses gathered one behind the other. */
static void check(tv_device *device, fixture *f) {
    uint64_t count = f->sequences * f->tokens, responses = 0;
    double *memory = calloc(5 * count + (f->sequences + 1) * TV_GAE_SUMS, sizeof *memory);
    assert_non_null(memory);
    double *advantages = memory, *returns = memory + count, *values = memory + 2 * count;
    double *gathered = memory + 3 * count, *each = memory + 5 * count,
           *totals = each + f->sequences * TV_GAE_SUMS;
    for (uint64_t s = 0; s < f->sequences; s++) {
        const tv_gae_extent *e = &f->extents[s];
        uint64_t at = s * f->tokens + e->first;
        double sums[4], *row = each + s * TV_GAE_SUMS;
        oracle_gae(&f->settings, e->count, (double)e->score, f->grid[0] + at, f->grid[1] + at,
                   f->grid[2] + at, advantages + at, returns + at, sums);
        row[TV_GAE_KL] = sums[0];
        row[TV_GAE_ENTROPY] = sums[1];
        row[TV_GAE_NON_SCORE_REWARD] = sums[2];
        row[TV_GAE_LOG_RATIO] = sums[3];
        row[TV_GAE_TOKENS] = e->count;
        for (uint64_t t = 0; t < e->count; t++) {
            values[at + t] = (double)f->grid[2][at + t];
            row[TV_GAE_ADVANTAGE] += advantages[at + t];
            row[TV_GAE_RETURN] += returns[at + t];
            gathered[responses++] = advantages[at + t];
        }
        for (int c = 0; c < TV_GAE_SUMS; c++)
            totals[c] += row[c];
    }
    if (f->whiten) {
        oracle_whiten(responses, gathered);
        responses = 0;
        for (uint64_t s = 0; s < f->sequences; s++)
            for (uint64_t t = 0; t < f->extents[s].count; t++)
                advantages[s * f->tokens + f->extents[s].first + t] = gathered[responses++];
    }
    run(device, f);
    compare("advantages", f->grid[3], advantages, count);
    compare("returns", f->grid[4], returns, count);
    tv_test_compare("values", f->grid[2], values, count, 0, 0);
    compare("sums", f->sums, each, f->sequences * TV_GAE_SUMS);
    compare("totals", f->totals, totals, TV_GAE_SUMS);
    free(memory);
}

static void check_all(tv_device *device, uint64_t sequences, uint64_t tokens) {
    for (int i = 0; i < 4; i++) {
        fixture f = make(sequences, tokens);
        f.settings.estimator = i < 3 ? i + 1 : 3;
        f.settings.gamma = i == 1 ? 0.9 : 1;
        f.settings.lambda = i == 2 ? 1 : 0.95;
        f.whiten = i % 2;
        check(device, &f);
        release(&f);
    }
}

static void advantages_equal_the_oracle(void **state) {
    const uint64_t shapes[][2] = {{1, 1}, {3, 2}, {7, 33}, {65, 17}, {5, 300}, {130, 64}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        check_all(*state, shapes[s][0], shapes[s][1]);
}

static void many_sequences_equal_the_oracle(void **state) {
    fixture f = make(66001, 3);
    f.whiten = true;
    check(*state, &f);
    release(&f);
}

static void small_bindings_split_sequences(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=65536,group_count_x=4");
    fixture f = make(3001, 37);
    f.whiten = true;
    check(device, &f);
    release(&f);
    tv_device_close(&device);
}

/* Before whitening a sequence gives the same bits alone and among others. */
static void a_sequence_depends_on_itself(void **state) {
    fixture many = make(70, 19), one = make(1, 19);
    fixture fresh = make(70, 19);
    run(*state, &many);
    for (uint64_t s = 0; s < many.sequences; s += 9) {
        one.extents[0] = fresh.extents[s];
        for (int i = 0; i < 3; i++)
            memcpy(one.grid[i], fresh.grid[i] + s * 19, 19 * sizeof(float));
        run(*state, &one);
        for (int i = 2; i < GRIDS; i++)
            assert_memory_equal(one.grid[i], many.grid[i] + s * 19, 19 * sizeof(float));
        assert_memory_equal(one.sums, many.sums + s * TV_GAE_SUMS, TV_GAE_SUMS * sizeof(float));
    }
    release(&many);
    release(&fresh);
    release(&one);
}

/* No response at all, a single token, an extent past the row, equal models, equal advantages: zeros, not NaN.
 */
static void edges_are_numbers(void **state) {
    fixture f = make(4, 5);
    f.whiten = true;
    for (int s = 0; s < 4; s++)
        f.extents[s] = (tv_gae_extent){.first = s == 3 ? 9 : 2, .count = 0, .score = 5};
    run(*state, &f);
    for (int i = 0; i < 20; i++)
        assert_true(f.grid[2][i] == 0 && f.grid[3][i] == 0 && f.grid[4][i] == 0);
    for (int c = 0; c < TV_GAE_SUMS; c++)
        assert_true(f.totals[c] == 0);
    f.extents[1] = (tv_gae_extent){.first = 3, .count = 7, .score = 0.5f}; /* two of them lie in the row */
    for (int i = 0; i < 20; i++) {
        f.grid[0][i] = f.grid[1][i] = -2;
        f.grid[2][i] = 0;
    }
    f.settings.gamma = f.settings.lambda = 1;
    f.settings.estimator = 3;
    run(*state, &f);
    assert_true(f.totals[TV_GAE_TOKENS] == 2 && f.totals[TV_GAE_KL] == 0 && f.totals[TV_GAE_LOG_RATIO] == 0);
    assert_true(f.totals[TV_GAE_NON_SCORE_REWARD] == 0 && f.totals[TV_GAE_ENTROPY] == 4);
    /* Whitened, two equal advantages of 0 are 0. The score of an extent that leaves the row belongs to its
     * end. */
    for (int i = 0; i < 20; i++)
        assert_true(isfinite(f.grid[3][i]));
    assert_true(f.grid[3][8] == 0 && f.grid[3][9] == 0 && f.grid[4][8] == 0.5f && f.grid[4][9] == 0.5f);
    release(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(advantages_equal_the_oracle),
        cmocka_unit_test(many_sequences_equal_the_oracle),
        cmocka_unit_test(small_bindings_split_sequences),
        cmocka_unit_test(a_sequence_depends_on_itself),
        cmocka_unit_test(edges_are_numbers),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
