/* kernels/sample against the oracle.
 *
 * Sets (greedy, top-k, ties) are compared exactly. A draw is compared through its uniform number, which
 * base/rng.c gives: u must lie in the drawn token's interval of the oracle's cumulative probabilities, give
 * or take 1e-5. An exponential of x in fp32 errs by (3 + 2|x|) units, and where there is weight to speak of
 * |x| < 16: 35 * 6e-8 = 2e-6; the sums, about 200 additions on a path, add as much; twice for the quotient.
 * Log-probabilities: the same error, plus half a unit of a value up to 64: 1e-5 + 4e-6.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/sample.h"
#include "oracle/sample.h"
#include "push_constants.h"

static const double u_tolerance = 1e-5, logprob_tolerance = 1.4e-5;

typedef struct draws {
    uint64_t rows, vocab;
    float *logits;
    uint32_t *sequences, *positions, *tokens;
    float *logprobs;
} draws;

static draws make_draws(uint64_t rows, uint64_t vocab, uint64_t seed) {
    draws d = {.rows = rows, .vocab = vocab};
    tv_rng rng = {.seed = seed, .stream = TV_STREAM_TEST, .step = 1};
    d.logits = malloc(rows * vocab * sizeof *d.logits);
    d.sequences = malloc(rows * sizeof *d.sequences);
    d.positions = malloc(rows * sizeof *d.positions);
    d.tokens = malloc(rows * sizeof *d.tokens);
    d.logprobs = malloc(rows * sizeof *d.logprobs);
    assert_true(d.logits && d.sequences && d.positions && d.tokens && d.logprobs);
    tv_test_random(d.logits, rows * vocab, seed);
    for (uint64_t i = 0; i < rows * vocab; i++)
        d.logits[i] *= 8;
    for (uint64_t r = 0; r < rows; r++) {
        uint32_t words[4];
        tv_philox(&rng, r, words);
        d.sequences[r] = words[0];
        d.positions[r] = words[1];
    }
    return d;
}

static void free_draws(draws *d) {
    tv_free_all(d->logits, d->sequences, d->positions, d->tokens, d->logprobs);
}

static tv_sample_settings settings_of(uint64_t seed, float temperature, uint32_t top_k, float top_p) {
    return (tv_sample_settings){(uint32_t)seed, (uint32_t)(seed >> 32), temperature, top_k, top_p};
}

static void run_draws(tv_device *device, draws *d, tv_sample_settings settings, bool with_logprobs) {
    tv_test_tensor logits = tv_test_floats(device, d->rows * d->vocab, d->logits);
    tv_test_tensor sequences = tv_test_uints(device, d->rows, d->sequences);
    tv_test_tensor positions = tv_test_uints(device, d->rows, d->positions);
    tv_test_tensor tokens = tv_test_uints(device, d->rows, NULL);
    tv_test_tensor logprobs = tv_test_floats(device, d->rows, NULL);
    tv_test_tensor constants = tv_test_bytes(device, sizeof settings, &settings);
    tv_sample sample = {.rows = d->rows,
                        .vocab = d->vocab,
                        .logits = logits.tensor,
                        .settings = constants.tensor,
                        .sequences = sequences.tensor,
                        .positions = positions.tensor,
                        .tokens = tokens.tensor};
    if (with_logprobs)
        sample.logprobs = logprobs.tensor;
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_sample_record(recorder, &sample));
    tv_test_run(device, recorder);
    tv_test_read(&tokens, d->tokens);
    tv_test_read(&logprobs, d->logprobs);
    tv_test_free(&logits);
    tv_test_free(&sequences);
    tv_test_free(&positions);
    tv_test_free(&tokens);
    tv_test_free(&logprobs);
    tv_test_free(&constants);
}

static void check_logprobs(const draws *d, double temperature) {
    for (uint64_t r = 0; r < d->rows; r++)
        assert_near(d->logprobs[r],
                    oracle_sample_logprob(d->vocab, d->logits + r * d->vocab, temperature, d->tokens[r]),
                    logprob_tolerance);
}

/* ---- greedy ---- */

static void greedy_takes_the_first_of_the_largest(void **state) {
    const uint64_t shapes[][2] = {{1, 1},  {3, 2},    {5, 17},    {4, 65},
                                  {6, 68}, {3, 1000}, {2, 50257}, {70001, 3}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        draws d = make_draws(shapes[s][0], shapes[s][1], s);
        for (uint64_t r = 0; r < d.rows; r++) {
            float *row = d.logits + r * d.vocab;
            /* All negative in some rows, and in some the largest twice, far apart or side by side. */
            for (uint64_t i = 0; r % 3 == 0 && i < d.vocab; i++)
                row[i] -= 20;
            row[(r * 7919) % d.vocab] = row[(r * 31 + 5) % d.vocab] = r % 3 == 0 ? -1.0f : 9.0f;
        }
        for (int with_logprobs = 0; with_logprobs < 2; with_logprobs++) {
            run_draws(*state, &d, settings_of(1, 0, 5, 0.5f), with_logprobs);
            for (uint64_t r = 0; r < d.rows; r++) {
                const float *row = d.logits + r * d.vocab;
                uint64_t best = 0;
                for (uint64_t i = 1; i < d.vocab; i++)
                    best = row[i] > row[best] ? i : best;
                assert_int_equal(d.tokens[r], best);
            }
        }
        check_logprobs(&d, 1);
        free_draws(&d);
    }
}

static void the_two_zeros_tie(void **state) {
    draws d = make_draws(1, 9, 0);
    for (int i = 0; i < 9; i++)
        d.logits[i] = i == 3 ? -0.0f : i == 5 ? 0.0f : -1.0f;
    run_draws(*state, &d, settings_of(1, 0, 0, 1), false);
    assert_int_equal(d.tokens[0], 3);
    free_draws(&d);
}

/* ---- draws ---- */

/* `d` was drawn with these settings. The set of top-p may be any between that of p - 1e-5 and that of p +
 * 1e-5; what the second has more moves every interval by as much. Rows where that is over a thousandth must
 * be few. */
static void check_intervals(const draws *d, uint64_t seed, double temperature, uint64_t top_k, double top_p) {
    double *inner = malloc(d->vocab * sizeof *inner), *outer = malloc(d->vocab * sizeof *outer);
    assert_true(inner && outer);
    uint64_t loose = 0;
    for (uint64_t r = 0; r < d->rows; r++) {
        const float *logits = d->logits + r * d->vocab;
        double blur = top_p < 1 ? u_tolerance : 0, u, below = 0, slack = 0;
        oracle_sample_probabilities(d->vocab, logits, temperature, top_k, top_p - blur, inner);
        oracle_sample_probabilities(d->vocab, logits, temperature, top_k, top_p + blur, outer);
        tv_rng rng = {.seed = seed, .stream = TV_STREAM_SAMPLE, .step = d->sequences[r]};
        u = (double)tv_uniform(&rng, d->positions[r]);
        uint32_t token = d->tokens[r];
        assert_true(token < d->vocab);
        for (uint32_t i = 0; i < d->vocab; i++) {
            below += i < token ? inner[i] : 0;
            slack += inner[i] > 0 ? 0 : outer[i];
        }
        loose += slack > 1e-3;
        if (!(outer[token] > 0))
            fail_msg("row %llu: token %u is outside the set", (unsigned long long)r, token);
        double tolerance = u_tolerance + slack;
        if (!(u >= below - tolerance && u <= below + inner[token] + tolerance))
            fail_msg("row %llu: u = %.9g drew token %u, whose interval is [%.9g, %.9g) within %g",
                     (unsigned long long)r, u, token, below, below + inner[token], tolerance);
    }
    assert_true(loose <= d->rows / 10);
    free(inner);
    free(outer);
}

static void draws_lie_in_the_oracles_intervals(void **state) {
    static const struct {
        float temperature;
        uint32_t top_k;
        float top_p;
    } cases[] = {{1, 0, 1},  {0.7f, 0, 1},     {2, 0, 1},      {1, 1, 1},        {1, 5, 1},
                 {1, 40, 1}, {0.5f, 1000, 1},  {1, 0, 0.9f},   {1.3f, 0, 0.5f},  {1, 0, 0.03f},
                 {1, 0, 0},  {0.8f, 20, 0.8f}, {1, 3, 0.999f}, {0.01f, 0, 0.5f}, {50, 7, 0.6f}};
    const uint64_t shapes[][2] = {{1, 1},   {40, 3},  {40, 4},    {40, 17},
                                  {40, 65}, {40, 68}, {40, 1000}, {2, 50257}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        draws d = make_draws(shapes[s][0], shapes[s][1], 40 + s);
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
            uint64_t seed = 0x9E3779B97F4A7C15u * (c + 1);
            run_draws(*state, &d, settings_of(seed, cases[c].temperature, cases[c].top_k, cases[c].top_p),
                      true);
            check_intervals(&d, seed, (double)cases[c].temperature, cases[c].top_k, (double)cases[c].top_p);
            if (cases[c].temperature >= 0.5f)
                check_logprobs(&d, (double)cases[c].temperature);
        }
        free_draws(&d);
    }
}

/* Many draws from one row: exactly the expected tokens come up. */
static void check_set(tv_device *device, const float *logits, uint64_t vocab, tv_sample_settings settings,
                      const char *expected) {
    draws d = make_draws(600, vocab, 3);
    char *seen = calloc(vocab, 1);
    for (uint64_t r = 0; r < d.rows; r++)
        memcpy(d.logits + r * vocab, logits, vocab * sizeof *logits);
    run_draws(device, &d, settings, false);
    for (uint64_t r = 0; r < d.rows; r++)
        seen[d.tokens[r]] = 1;
    for (uint64_t i = 0; i < vocab; i++)
        if (seen[i] != (expected[i] == '+'))
            fail_msg("token %llu was %sdrawn", (unsigned long long)i, seen[i] ? "" : "not ");
    free(seen);
    free_draws(&d);
}

static void sets_include_their_ties(void **state) {
    tv_device *device = *state;
    /* Logits a unit in the last place apart, so that only exact comparison tells them; the fourth largest is
     * there three times. */
    const float a = nextafterf(1, 2), b = nextafterf(a, 2), c = nextafterf(b, 2);
    const float close[] = {1, a, c, 0.5f, b, 1, 0.25f, 1, nextafterf(1, 0)};
    check_set(device, close, 9, settings_of(5, 1, 1, 1), "--+------");
    check_set(device, close, 9, settings_of(5, 1, 2, 1), "--+-+----");
    check_set(device, close, 9, settings_of(5, 1, 3, 1), "-++-+----");
    check_set(device, close, 9, settings_of(5, 1, 4, 1), "+++-++-+-");
    check_set(device, close, 9, settings_of(5, 1, 6, 1), "+++-++-+-");
    check_set(device, close, 9, settings_of(5, 1, 7, 1), "+++-++-++");
    check_set(device, close, 9, settings_of(5, 1, 9, 1), "+++++++++");
    check_set(device, close, 9, settings_of(5, 1, 1000, 1), "+++++++++");
    /* Two of a half each, the rest nowhere near: half of them is reached by the first, and its tie comes
     * along. */
    const float tied[] = {-50, 0, -50, 0, -50};
    check_set(device, tied, 5, settings_of(6, 1, 0, 0.3f), "-+-+-");
    check_set(device, tied, 5, settings_of(6, 1, 0, 0.7f), "-+-+-");
    check_set(device, tied, 5, settings_of(6, 1, 0, 0), "-+-+-");
    /* Probabilities 1/2, 1/4, 1/8, 1/8 in some order, scaled by a temperature of 2. */
    const float halves[] = {-2 * 3 * 0.6931472f, -2 * 0.6931472f, -2 * 3 * 0.6931472f, -2 * 2 * 0.6931472f};
    check_set(device, halves, 4, settings_of(7, 2, 0, 0.49f), "-+--");
    check_set(device, halves, 4, settings_of(7, 2, 0, 0.6f), "-+-+");
    check_set(device, halves, 4, settings_of(7, 2, 0, 0.8f), "++++");
    /* p counts within what top-k left: 1/2 of 3/4 is two thirds. */
    check_set(device, halves, 4, settings_of(7, 2, 2, 0.6f), "-+--");
    check_set(device, halves, 4, settings_of(7, 2, 2, 0.7f), "-+-+");
    /* A token without probability is never drawn. */
    const float masked[] = {-INFINITY, 0, -INFINITY, 0.5f, -INFINITY};
    check_set(device, masked, 5, settings_of(8, 1, 0, 1), "-+-+-");
    check_set(device, masked, 5, settings_of(8, 1, 4, 0.99f), "-+-+-");
}

/* With V equal logits the cumulative weights are the integers, so the token is floor(u V): for V = 2^16 the
 * upper sixteen bits of word 0, bit for bit. */
static void philox_draws_the_hosts_numbers(void **state) {
    const uint64_t seeds[] = {0, 1, UINT64_C(0xffffffffffffffff), UINT64_C(0x0123456789abcdef)};
    draws d = make_draws(33, 1 << 16, 1);
    memset(d.logits, 0, d.rows * d.vocab * sizeof *d.logits);
    d.sequences[0] = d.positions[0] = 0;
    d.sequences[1] = d.positions[1] = UINT32_MAX;
    d.sequences[2] = 0;
    for (size_t s = 0; s < sizeof seeds / sizeof *seeds; s++) {
        /* One draw that falls exactly between two of the 64 segments: the lower 18 of its 24 bits are 0. */
        tv_rng boundary = {.seed = seeds[s], .stream = TV_STREAM_SAMPLE, .step = d.sequences[3]};
        uint32_t block[4];
        for (d.positions[3] = 0; tv_philox(&boundary, d.positions[3], block), block[0] >> 8 & 0x3ffff;)
            d.positions[3]++;
        run_draws(*state, &d, settings_of(seeds[s], 1, 0, 1), false);
        for (uint64_t r = 0; r < d.rows; r++) {
            uint32_t words[4];
            tv_rng rng = {.seed = seeds[s], .stream = TV_STREAM_SAMPLE, .step = d.sequences[r]};
            tv_philox(&rng, d.positions[r], words);
            assert_int_equal(d.tokens[r], words[0] >> 16);
        }
    }
    free_draws(&d);
}

/* The draw belongs to the sequence and the position: alone, in a batch, or in another order. */
static void check_batch_and_order(tv_device *device, uint64_t vocab) {
    tv_sample_settings settings = settings_of(99, 0.9f, 50, 0.95f);
    draws d = make_draws(37, vocab, 8), one = make_draws(1, vocab, 8), reversed = make_draws(37, vocab, 8);
    run_draws(device, &d, settings, true);
    for (uint64_t r = 0; r < d.rows; r++) {
        uint64_t other = d.rows - 1 - r;
        memcpy(reversed.logits + other * d.vocab, d.logits + r * d.vocab, d.vocab * sizeof(float));
        reversed.sequences[other] = d.sequences[r];
        reversed.positions[other] = d.positions[r];
    }
    run_draws(device, &reversed, settings, true);
    for (uint64_t r = 0; r < d.rows; r++) {
        memcpy(one.logits, d.logits + r * d.vocab, d.vocab * sizeof(float));
        one.sequences[0] = d.sequences[r];
        one.positions[0] = d.positions[r];
        run_draws(device, &one, settings, true);
        assert_int_equal(one.tokens[0], d.tokens[r]);
        assert_memory_equal(one.logprobs, &d.logprobs[r], sizeof(float));
        assert_int_equal(reversed.tokens[d.rows - 1 - r], d.tokens[r]);
    }
    free_draws(&d);
    free_draws(&one);
    free_draws(&reversed);
}

static void batch_and_order_do_not_matter(void **state) {
    check_batch_and_order(*state, 311);
    check_batch_and_order(*state, 312); /* texels */
}

/* A model that diverged still gets tokens of its vocabulary. */
static void broken_logits_stay_in_the_vocabulary(void **state) {
    const uint32_t patterns[] = {0x7fc00000u, 0xffffffffu, 0x7f800000u, 0xff800000u};
    const tv_sample_settings settings[] = {settings_of(1, 0, 0, 1), settings_of(1, 1, 0, 1),
                                           settings_of(1, 1, 3, 0.5f), settings_of(1, 1e-45f, 0, 0.5f)};
    for (int pattern = 0; pattern < 4; pattern++)
        for (uint64_t stride = 1; stride < 20; stride += 6)
            for (int s = 0; s < 8; s++) {
                draws d = make_draws(3, s < 4 ? 71 : 72, 2); /* 72: texels */
                for (uint64_t i = 0; i < d.rows * d.vocab; i += stride)
                    memcpy(&d.logits[i], &patterns[pattern], sizeof(float));
                run_draws(*state, &d, settings[s % 4], true);
                for (uint64_t r = 0; r < d.rows; r++)
                    assert_true(d.tokens[r] < d.vocab);
                free_draws(&d);
            }
}

static void small_limits_give_the_same(void **state) {
    tv_device *small = tv_test_open_lowered("storage_range=65536,group_count_x=7");
    tv_sample_settings settings = settings_of(3, 1, 30, 0.9f);
    for (uint64_t vocab = 128; vocab < 130; vocab++) {
        draws d = make_draws(1003, vocab, 4), other = make_draws(1003, vocab, 4);
        run_draws(*state, &d, settings, true);
        run_draws(small, &other, settings, true);
        assert_memory_equal(d.tokens, other.tokens, d.rows * sizeof *d.tokens);
        assert_memory_equal(d.logprobs, other.logprobs, d.rows * sizeof *d.logprobs);
        free_draws(&d);
        free_draws(&other);
    }
    tv_device_close(&small);
}

static void impossible_vocabularies_are_refused(void **state) {
    tv_recorder *recorder = tv_test_begin(*state);
    assert_int_equal(tv_sample_record(recorder, &(tv_sample){.rows = 1, .vocab = 0}), TV_E_USAGE);
    assert_int_equal(tv_sample_record(recorder, &(tv_sample){.rows = 1, .vocab = 1 << 24}), TV_E_USAGE);
    tv_recorder_abort(&recorder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_first_of_the_largest),
        cmocka_unit_test(the_two_zeros_tie),
        cmocka_unit_test(draws_lie_in_the_oracles_intervals),
        cmocka_unit_test(sets_include_their_ties),
        cmocka_unit_test(philox_draws_the_hosts_numbers),
        cmocka_unit_test(batch_and_order_do_not_matter),
        cmocka_unit_test(broken_logits_stay_in_the_vocabulary),
        cmocka_unit_test(small_limits_give_the_same),
        cmocka_unit_test(impossible_vocabularies_are_refused),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
