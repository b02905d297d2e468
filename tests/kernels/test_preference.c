/* kernels/preference against the oracle.
 *
 * Tolerance, with e = 2^-24: values lie within +-4 (or +-40), so a difference of two has an error of e of
 * itself and the exponential, the logarithm and up to 36 terms of a group bring some 10 e each: below 1e-5 of
 * the largest loss or slope. Sums of up to 300 log-probabilities in [-8, 0] are off by 1,200 * 8 e at worst;
 * times beta that is 6e-5, within 1e-5 of the largest reward.
 *
 * Tried, each fails here: ranks the other way round, the margin's sign, a margin for ties, ties counted in
 * kwise, the sum of a group's pairs for their mean, center without its factor 2, a denominator over all
 * members for Plackett-Luce, its tie rule with >= for >, slopes of absent members, d_values not cleared; for
 * DPO beta left out of the slope, chosen and rejected exchanged, the reference added, a row left out of a
 * sum, lanes dealt out by the place in the batch, slopes not cleared; softplus as log(1 + e^x).
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/preference.h"
#include "oracle/preference.h"

static const float scale = 1.0f / 48;

/* ---- groups of ranked responses ---- */

typedef struct groups {
    uint64_t count, size, rows;
    uint32_t mode;
    float center;
    uint32_t *members, *ranks;
    float *margins, *values, *d_values, *stats;
} groups;

static float *floats(uint64_t count) {
    float *values = calloc(count, sizeof *values);
    assert_non_null(values);
    return values;
}

/* Members on every third row in a shuffled order; some absent, some groups with one member or none. */
static groups make_groups(uint64_t count, uint64_t size, uint32_t mode, float spread) {
    groups g = {count,
                size,
                3 * count * size + 1,
                mode,
                mode == TV_PREFERENCE_LISTWISE ? 0 : 0.01f,
                calloc(count * size, sizeof(uint32_t)),
                calloc(count * size, sizeof(uint32_t)),
                floats(count),
                NULL,
                NULL,
                floats(count * TV_PREFERENCE_STATS)};
    assert_true(g.members && g.ranks);
    g.values = floats(g.rows);
    g.d_values = floats(g.rows);
    tv_test_random(g.values, g.rows, count + size);
    tv_test_random(g.margins, count, size);
    const tv_rng rng = {.seed = count * 10 + size, .stream = TV_STREAM_TEST};
    uint64_t total = count * size;
    for (uint64_t i = 0; i < total; i++)
        g.members[i] = (uint32_t)(3 * i + 1);
    for (uint64_t i = total; i-- > 1;) {
        uint64_t j = tv_uniform_below(&rng, i, i + 1);
        uint32_t other = g.members[j];
        g.members[j] = g.members[i];
        g.members[i] = other;
    }
    for (uint64_t i = 0; i < total; i++) {
        g.ranks[i] = (uint32_t)tv_uniform_below(&rng, total + i, size);
        bool absent = i / size % 5 == 2 ? i % size > 0 : i / size % 11 == 3 || (size > 2 && i % 7 == 4);
        if (absent)
            g.members[i] = TV_IGNORED_TARGET;
    }
    for (uint64_t i = 0; i < g.rows; i++)
        g.values[i] *= spread;
    return g;
}

static void free_groups(groups *g) {
    tv_free_all(g->members, g->ranks, g->margins, g->values, g->d_values, g->stats);
}

static void run_groups(tv_device *device, groups *g, bool gradient) {
    const struct tv_step_constants constants = {.loss_scale = scale};
    tv_test_tensor members = tv_test_uints(device, g->count * g->size, g->members),
                   ranks = tv_test_uints(device, g->count * g->size, g->ranks),
                   margins = tv_test_floats(device, g->count, g->margins),
                   values = tv_test_floats(device, g->rows, g->values),
                   step = tv_test_bytes(device, sizeof constants, &constants),
                   d_values = tv_test_floats(device, g->rows, NULL),
                   stats = tv_test_floats(device, g->count * TV_PREFERENCE_STATS, NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_preference_loss_record(
        recorder, &(tv_preference_loss){.groups = g->count,
                                        .group_size = g->size,
                                        .rows = g->rows,
                                        .mode = g->mode,
                                        .center = g->center,
                                        .members = members.tensor,
                                        .ranks = ranks.tensor,
                                        .margins = margins.tensor,
                                        .values = values.tensor,
                                        .step = step.tensor,
                                        .d_values = gradient ? d_values.tensor : TV_ABSENT,
                                        .stats = stats.tensor}));
    tv_test_run(device, recorder);
    tv_test_read(&d_values, g->d_values);
    tv_test_read(&stats, g->stats);
    tv_test_tensor *all[] = {&members, &ranks, &margins, &values, &step, &d_values, &stats};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        tv_test_free(all[i]);
}

static double loss_of(const groups *g, uint64_t count, const double *values, const uint32_t *ranks,
                      double margin, double *gradient) {
    if (g->mode == TV_PREFERENCE_LISTWISE)
        return oracle_plackett_luce(count, values, ranks, gradient);
    return oracle_bradley_terry(count, values, ranks, margin, (double)g->center,
                                g->mode == TV_PREFERENCE_PAIRS, gradient);
}

static double largest(const double *numbers, uint64_t count) {
    double most = 0;
    for (uint64_t i = 0; i < count; i++)
        most = fmax(most, fabs(numbers[i]));
    return most;
}

static void check_groups(tv_device *device, uint64_t count, uint64_t size, uint32_t mode, float spread) {
    groups g = make_groups(count, size, mode, spread);
    double *d_values = calloc(g.rows + count * TV_PREFERENCE_STATS, sizeof *d_values),
           *stats = d_values + g.rows;
    assert_non_null(d_values);
    for (uint64_t n = 0; n < count; n++) {
        double values[TV_PREFERENCE_MEMBERS], gradient[TV_PREFERENCE_MEMBERS],
            *row = stats + n * TV_PREFERENCE_STATS;
        uint32_t ranks[TV_PREFERENCE_MEMBERS], rows[TV_PREFERENCE_MEMBERS];
        uint64_t there = 0;
        for (uint64_t k = 0; k < size; k++) {
            uint32_t at = g.members[n * size + k];
            if (at == TV_IGNORED_TARGET)
                continue;
            rows[there] = at;
            ranks[there] = g.ranks[n * size + k];
            values[there] = (double)g.values[at];
            row[TV_PREFERENCE_LEAST] = there == 0 ? values[0] : fmin(row[TV_PREFERENCE_LEAST], values[there]);
            row[TV_PREFERENCE_MOST] = there == 0 ? values[0] : fmax(row[TV_PREFERENCE_MOST], values[there]);
            row[TV_PREFERENCE_VALUES] += values[there++];
        }
        row[TV_PREFERENCE_COUNT] = (double)there;
        row[TV_PREFERENCE_LOSS] = loss_of(&g, there, values, ranks, (double)g.margins[n], gradient);
        row[TV_PREFERENCE_STRICT] = oracle_ordered(there, values, ranks, &row[TV_PREFERENCE_ACCURACY],
                                                   &row[TV_PREFERENCE_MARGIN]) > 0;
        for (uint64_t k = 0; k < there; k++)
            d_values[rows[k]] = (double)scale * gradient[k];
    }
    run_groups(device, &g, true);
    tv_test_compare("d_values", g.d_values, d_values, g.rows, 1e-5 * largest(d_values, g.rows), 0);
    tv_test_compare("statistics", g.stats, stats, count * TV_PREFERENCE_STATS, 1e-6 * (double)spread, 1e-5);
    memset(g.stats, 0, count * TV_PREFERENCE_STATS * sizeof *g.stats);
    run_groups(device, &g, false);
    tv_test_compare("statistics alone", g.stats, stats, count * TV_PREFERENCE_STATS, 1e-6 * (double)spread,
                    1e-5);
    assert_true(isnan(g.d_values[0]));
    free(d_values);
    free_groups(&g);
}

static void groups_equal_the_oracle(void **state) {
    for (uint32_t mode = TV_PREFERENCE_PAIRS; mode <= TV_PREFERENCE_LISTWISE; mode++) {
        for (uint64_t size = 2; size <= TV_PREFERENCE_MEMBERS; size++)
            check_groups(*state, 61, size, mode, 4);
        check_groups(*state, 1, 2, mode, 4);
        check_groups(*state, 200, 5, mode, 40);
    }
    check_groups(*state, 70001, 2, TV_PREFERENCE_PAIRS, 4);
}

static void small_bindings_split_groups(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=16384,group_count_x=3");
    check_groups(device, 650, 2, TV_PREFERENCE_PAIRS, 4);
    check_groups(device, 150, 9, TV_PREFERENCE_LISTWISE, 4);
    tv_device_close(&device);
}

/* All values equal, as with a head of zeros: ln 2 for each pair and accuracy one half, exactly. */
static void equal_values_cost_ln_2(void **state) {
    groups g = make_groups(50, 4, TV_PREFERENCE_KWISE, 0);
    g.center = 0;
    memset(g.margins, 0, g.count * sizeof *g.margins);
    run_groups(*state, &g, true);
    for (uint64_t n = 0; n < g.count; n++) {
        const float *row = g.stats + n * TV_PREFERENCE_STATS;
        bool strict = row[TV_PREFERENCE_STRICT] != 0;
        assert_near(row[TV_PREFERENCE_LOSS], strict ? 0.69314718f : 0, 1e-7);
        assert_true(row[TV_PREFERENCE_ACCURACY] == (strict ? 0.5f : 0));
    }
    free_groups(&g);
}

/* Differences of 1e4 and 1e30: the loss is the difference, the slope 1; or both are next to 0. What is not
 * finite poisons its own group, and no other. */
static void extreme_values_are_numbers(void **state) {
    for (uint32_t mode = TV_PREFERENCE_PAIRS; mode <= TV_PREFERENCE_LISTWISE; mode++) {
        static const float pairs[][2] = {{1e4f, -1e4f}, {-1e4f, 1e4f}, {1e30f, -1e30f}, {-1e30f, 1e30f},
                                         {NAN, 0},      {INFINITY, 0}, {1, 1}};
        enum { COUNT = sizeof pairs / sizeof *pairs };
        groups g = make_groups(COUNT, 2, mode, 1);
        g.center = 0;
        for (uint32_t n = 0; n < COUNT; n++) {
            g.margins[n] = 0;
            for (uint32_t k = 0; k < 2; k++) {
                g.members[2 * n + k] = 2 * n + k;
                g.ranks[2 * n + k] = k;
                g.values[2 * n + k] = pairs[n][k];
            }
        }
        run_groups(*state, &g, true);
        const float *loss = g.stats;
        assert_near(loss[0], 0, 1e-37);
        assert_near(g.d_values[0], 0, 1e-37);
        assert_near(g.d_values[1], 0, 1e-37);
        assert_near(loss[TV_PREFERENCE_STATS], 2e4, 1e-2);
        assert_near(g.d_values[2], -scale, 1e-8);
        assert_near(g.d_values[3], scale, 1e-8);
        assert_near(loss[2 * TV_PREFERENCE_STATS], 0, 1e-37);
        assert_near(loss[3 * TV_PREFERENCE_STATS] / 2e30f, 1, 1e-6);
        assert_near(g.d_values[6], -scale, 1e-8);
        for (int n = 4; n < 6; n++)
            assert_true(isnan(loss[n * TV_PREFERENCE_STATS]) && isnan(g.d_values[2 * n]));
        assert_near(loss[6 * TV_PREFERENCE_STATS], 0.69314718, 1e-7);
        free_groups(&g);
    }
}

static void sizes_out_of_range_are_refused(void **state) {
    const uint64_t sizes[] = {0, 1, TV_PREFERENCE_MEMBERS + 1};
    for (int i = 0; i < 3; i++) {
        tv_recorder *recorder = tv_test_begin(*state);
        assert_fails(tv_preference_loss_record(recorder, &(tv_preference_loss){.group_size = sizes[i]}),
                     TV_E_CONFIG, "from 2 to 16");
        tv_recorder_abort(&recorder);
    }
}

/* ---- DPO ---- */

typedef struct pairs {
    uint64_t count, rows;
    tv_dpo_loss loss;
    tv_dpo_pair *table;
    float *logprobs, *d_logprobs, *stats;
} pairs;

/* Responses of 1 to `longest` rows one behind the other, a gap before each; every seventh pair absent, some
 * ties. */
static pairs make_pairs(uint64_t count, uint64_t longest) {
    pairs p = {.count = count, .loss = {.beta = 0.1f, .agree = 1}, .table = calloc(count, sizeof *p.table)};
    assert_non_null(p.table);
    const tv_rng rng = {.seed = count, .stream = TV_STREAM_TEST};
    for (uint64_t n = 0; n < count; n++) {
        uint32_t counts[2], firsts[2];
        for (uint32_t k = 0; k < 2; k++) {
            counts[k] = n % 7 == 6 ? 0 : 1 + (uint32_t)tv_uniform_below(&rng, 2 * n + k, longest);
            firsts[k] = (uint32_t)p.rows + 1;
            p.rows += counts[k] + 1;
        }
        p.table[n] = (tv_dpo_pair){firsts[0],
                                   counts[0],
                                   firsts[1],
                                   counts[1],
                                   -4.0f * (float)counts[0],
                                   -4.0f * (float)counts[1],
                                   n % 3 == 1 ? 0.5f : 1,
                                   1};
    }
    p.rows += 1;
    p.logprobs = floats(p.rows);
    p.d_logprobs = floats(p.rows);
    p.stats = floats(count * TV_DPO_STATS);
    tv_test_random(p.logprobs, p.rows, count);
    for (uint64_t i = 0; i < p.rows; i++)
        p.logprobs[i] = 4 * p.logprobs[i] - 4;
    return p;
}

static void free_pairs(pairs *p) {
    tv_free_all(p->table, p->logprobs, p->d_logprobs, p->stats);
}

static void run_pairs(tv_device *device, pairs *p, bool gradient) {
    const struct tv_step_constants constants = {.loss_scale = scale};
    tv_test_tensor table = tv_test_bytes(device, p->count * sizeof *p->table, p->table),
                   logprobs = tv_test_floats(device, p->rows, p->logprobs),
                   step = tv_test_bytes(device, sizeof constants, &constants),
                   d_logprobs = tv_test_floats(device, p->rows, NULL),
                   stats = tv_test_floats(device, p->count * TV_DPO_STATS, NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_dpo_record(recorder, &(tv_dpo){.pairs = p->count,
                                                .rows = p->rows,
                                                .loss = p->loss,
                                                .table = table.tensor,
                                                .logprobs = logprobs.tensor,
                                                .step = step.tensor,
                                                .d_logprobs = gradient ? d_logprobs.tensor : TV_ABSENT,
                                                .stats = stats.tensor}));
    tv_test_run(device, recorder);
    tv_test_read(&d_logprobs, p->d_logprobs);
    tv_test_read(&stats, p->stats);
    tv_test_tensor *all[] = {&table, &logprobs, &step, &d_logprobs, &stats};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        tv_test_free(all[i]);
}

static double sum_of(const pairs *p, uint32_t first, uint32_t count) {
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += (double)p->logprobs[first + i];
    return sum;
}

static void check_pairs(tv_device *device, uint64_t count, uint64_t longest) {
    pairs p = make_pairs(count, longest);
    double *d_logprobs = calloc(p.rows + count * TV_DPO_STATS, sizeof *d_logprobs),
           *stats = d_logprobs + p.rows;
    assert_non_null(d_logprobs);
    for (uint64_t n = 0; n < count; n++) {
        const tv_dpo_pair *pair = &p.table[n];
        double *row = stats + n * TV_DPO_STATS, slope;
        if (pair->chosen_count == 0)
            continue;
        row[TV_DPO_CHOSEN_LOGPROB] = sum_of(&p, pair->chosen_first, pair->chosen_count);
        row[TV_DPO_REJECTED_LOGPROB] = sum_of(&p, pair->rejected_first, pair->rejected_count);
        double chosen = row[TV_DPO_CHOSEN_LOGPROB] - (double)pair->chosen_reference;
        double rejected = row[TV_DPO_REJECTED_LOGPROB] - (double)pair->rejected_reference;
        row[TV_DPO_LOSS] = oracle_dpo(chosen, rejected, (double)p.loss.beta, (double)pair->target, &slope);
        row[TV_DPO_CHOSEN] = (double)p.loss.beta * chosen;
        row[TV_DPO_REJECTED] = (double)p.loss.beta * rejected;
        row[TV_DPO_MARGIN] = row[TV_DPO_CHOSEN] - row[TV_DPO_REJECTED];
        row[TV_DPO_ACCURACY] = row[TV_DPO_MARGIN] > 0;
        row[TV_DPO_NLL] = -row[TV_DPO_CHOSEN_LOGPROB] / pair->chosen_count;
        for (uint32_t i = 0; i < pair->chosen_count; i++)
            d_logprobs[pair->chosen_first + i] = (double)scale * slope;
        for (uint32_t i = 0; i < pair->rejected_count; i++)
            d_logprobs[pair->rejected_first + i] = -(double)scale * slope;
    }
    double reward = 0.1 * 8 * (double)longest;
    run_pairs(device, &p, true);
    tv_test_compare("d_logprobs", p.d_logprobs, d_logprobs, p.rows, 1e-5 * (double)scale * 0.1,
                    1e-5 * reward);
    tv_test_compare("statistics", p.stats, stats, count * TV_DPO_STATS, 1e-6 * reward, 1e-5);
    run_pairs(device, &p, false);
    tv_test_compare("statistics alone", p.stats, stats, count * TV_DPO_STATS, 1e-6 * reward, 1e-5);
    assert_true(isnan(p.d_logprobs[0]));
    free(d_logprobs);
    free_pairs(&p);
}

static void pairs_equal_the_oracle(void **state) {
    check_pairs(*state, 1, 1);
    check_pairs(*state, 29, 17);
    check_pairs(*state, 40, 300);
    check_pairs(*state, 66001, 2);
    tv_device *gpu = tv_test_open_lowered("cpu_kernels=0");
    check_pairs(gpu, 29, 300);
    tv_device_close(&gpu);
    tv_device *small = tv_test_open_lowered("storage_range=16384,group_count_x=3");
    check_pairs(small, 600, 1);
    tv_device_close(&small);
}

/* References that are the head's own sums: ln 2, no reward, accuracy one half, all exactly. */
static void an_untouched_policy_costs_ln_2(void **state) {
    pairs p = make_pairs(50, 40);
    run_pairs(*state, &p, false);
    for (uint64_t n = 0; n < p.count; n++) {
        p.table[n].chosen_reference = p.stats[n * TV_DPO_STATS + TV_DPO_CHOSEN_LOGPROB];
        p.table[n].rejected_reference = p.stats[n * TV_DPO_STATS + TV_DPO_REJECTED_LOGPROB];
    }
    run_pairs(*state, &p, true);
    for (uint64_t n = 0; n < p.count; n++) {
        const float *row = p.stats + n * TV_DPO_STATS;
        bool there = p.table[n].chosen_count > 0;
        assert_true(row[TV_DPO_LOSS] == (there ? 0.693147180559945f : 0));
        assert_true(row[TV_DPO_CHOSEN] == 0 && row[TV_DPO_REJECTED] == 0 && row[TV_DPO_MARGIN] == 0);
        assert_true(row[TV_DPO_ACCURACY] == (there ? 0.5f : 0));
    }
    free_pairs(&p);
}

/* The same responses three rows further on: the same bits. */
static void a_pair_does_not_depend_on_its_place(void **state) {
    enum { DISTANCE = 3 };
    pairs here = make_pairs(50, 40), there = make_pairs(50, 40);
    free(there.logprobs);
    free(there.d_logprobs);
    there.rows += DISTANCE;
    there.logprobs = floats(there.rows);
    there.d_logprobs = floats(there.rows);
    memcpy(there.logprobs + DISTANCE, here.logprobs, here.rows * sizeof *here.logprobs);
    for (uint64_t n = 0; n < there.count; n++) {
        there.table[n].chosen_first += DISTANCE;
        there.table[n].rejected_first += DISTANCE;
    }
    run_pairs(*state, &here, true);
    run_pairs(*state, &there, true);
    assert_memory_equal(here.stats, there.stats, here.count * TV_DPO_STATS * sizeof *here.stats);
    assert_memory_equal(here.d_logprobs, there.d_logprobs + DISTANCE, here.rows * sizeof *here.d_logprobs);
    free_pairs(&here);
    free_pairs(&there);
}

static void extreme_rewards_are_numbers(void **state) {
    pairs p = make_pairs(4, 3);
    const float references[][2] = {{-1e8f, 0}, {0, -1e8f}, {NAN, 0}, {0, 0}};
    for (int n = 0; n < 4; n++) {
        p.table[n].chosen_reference = references[n][0];
        p.table[n].rejected_reference = references[n][1];
        p.table[n].target = 1;
    }
    run_pairs(*state, &p, true);
    assert_near(p.stats[TV_DPO_LOSS], 0, 1e-37);
    assert_near(p.d_logprobs[p.table[0].chosen_first], 0, 1e-37);
    assert_near(p.stats[TV_DPO_STATS + TV_DPO_LOSS], 1e7, 10);
    assert_near(p.d_logprobs[p.table[1].chosen_first], -scale * p.loss.beta, 1e-9);
    assert_true(isnan(p.stats[2 * TV_DPO_STATS + TV_DPO_LOSS]));
    assert_true(isnan(p.d_logprobs[p.table[2].rejected_first]));
    assert_true(isfinite(p.stats[3 * TV_DPO_STATS + TV_DPO_LOSS]));
    free_pairs(&p);
}

/* The oracle's gradients are slopes of its losses: central differences at 1e-5 in double are good to 1e-9. */
static void the_oracle_s_gradients_are_slopes(void **state) {
    (void)state;
    const double h = 1e-5;
    groups g = {.center = 0.01f};
    for (uint32_t mode = TV_PREFERENCE_PAIRS; mode <= TV_PREFERENCE_LISTWISE; mode++) {
        static const uint32_t ranks[][5] = {
            {0, 1, 2, 3, 4}, {3, 1, 1, 0, 3}, {0, 0, 0, 0, 0}, {1, 0, 1, 0, 1}};
        g.mode = mode;
        for (int r = 0; r < 4; r++) {
            double values[5] = {0.3, -1.2, 2.1, 0.7, -0.4}, gradient[5], unused[5];
            loss_of(&g, 5, values, ranks[r], 0.25, gradient);
            for (int k = 0; k < 5; k++) {
                double origin = values[k], side[2];
                for (int s = 0; s < 2; s++) {
                    values[k] = s ? origin + h : origin - h;
                    side[s] = loss_of(&g, 5, values, ranks[r], 0.25, unused);
                }
                values[k] = origin;
                assert_near(gradient[k], (side[1] - side[0]) / (2 * h), 1e-8);
            }
        }
    }
    for (int i = 0; i < 21; i++) {
        double slope, unused, x = i - 10.2;
        oracle_dpo(x, 1, 0.1, i % 2 ? 1 : 0.5, &slope);
        double up = oracle_dpo(x + h, 1, 0.1, i % 2 ? 1 : 0.5, &unused);
        double down = oracle_dpo(x - h, 1, 0.1, i % 2 ? 1 : 0.5, &unused);
        assert_near(slope, (up - down) / (2 * h), 1e-9);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oracle_s_gradients_are_slopes),
        cmocka_unit_test(groups_equal_the_oracle),
        cmocka_unit_test(small_bindings_split_groups),
        cmocka_unit_test(equal_values_cost_ln_2),
        cmocka_unit_test(extreme_values_are_numbers),
        cmocka_unit_test(sizes_out_of_range_are_refused),
        cmocka_unit_test(pairs_equal_the_oracle),
        cmocka_unit_test(an_untouched_policy_costs_ln_2),
        cmocka_unit_test(a_pair_does_not_depend_on_its_place),
        cmocka_unit_test(extreme_rewards_are_numbers),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
