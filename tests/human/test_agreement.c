/* Measures of agreement against published worked examples and against brute force, and the whole report on
 * judgments whose figures were computed by hand.
 *
 * Tried: ranks instead of middle ranks, n for n - 1, whole counts at the ends of the ordinal distance,
 * repeats counted among others. Each fails.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "human/agreement.h"

/* Four observers and twelve units: K. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011,
 * section E; the values for the four levels of measurement are 0.743 (nominal), 0.815 (ordinal), 0.849
 * (interval), 0.797 (ratio). */
static void alpha_of_krippendorffs_example(void **state) {
    (void)state;
    static const char *const observers[] = {"123321412...", "1233224125.3", ".3332342251.", "12332441251."};
    double values[12][4], alpha;
    for (int unit = 0; unit < 12; unit++)
        for (int observer = 0; observer < 4; observer++)
            values[unit][observer] = observers[observer][unit] == '.' ? NAN : observers[observer][unit] - '0';
    assert_ok(tv_krippendorff_alpha(&values[0][0], 12, 4, &alpha));
    assert_near(alpha, 0.8153875037548814, 1e-12); /* 0.815; the further digits are from exact fractions */
}

/* The ordinal distance by counting; `counts` of values 0 to 9. */
static double distance(const double *counts, int c, int k) {
    double sum = 0;
    for (int g = c < k ? c : k; g <= (c < k ? k : c); g++)
        sum += counts[g];
    sum -= (counts[c] + counts[k]) / 2;
    return sum * sum;
}

/* From the definition, without a coincidence matrix: disagreement within units over disagreement among all
 * values. */
static double brute_alpha(const double *values, int units, int coders) {
    double counts[10] = {0}, n = 0, observed = 0, expected = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int u = 0; u < units; u++) {
            const double *unit = values + u * coders;
            int m = 0;
            for (int i = 0; i < coders; i++)
                m += isnan(unit[i]) ? 0 : 1;
            for (int i = 0; m > 1 && i < coders; i++) {
                if (isnan(unit[i]))
                    continue;
                if (pass == 0) {
                    counts[(int)unit[i]]++;
                    n++;
                    continue;
                }
                for (int j = 0; j < coders; j++)
                    if (j != i && !isnan(unit[j]))
                        observed += distance(counts, (int)unit[i], (int)unit[j]) / (m - 1);
            }
        }
    for (int c = 0; c < 10; c++)
        for (int k = 0; k < 10; k++)
            expected += counts[c] * counts[k] * distance(counts, c, k);
    return 1 - observed / n / (expected / (n * (n - 1)));
}

static void alpha_by_brute_force(void **state) {
    (void)state;
    for (uint32_t trial = 0; trial < 50; trial++) {
        const tv_rng rng = {.seed = 3, .stream = TV_STREAM_TEST, .step = trial};
        int units = 2 + (int)tv_uniform_below(&rng, 0, 20), coders = 2 + (int)tv_uniform_below(&rng, 1, 5);
        double values[200], alpha;
        for (int i = 0; i < units * coders; i++) {
            uint64_t draw = tv_uniform_below(&rng, (uint64_t)i + 2, 12);
            values[i] = draw >= 10 ? NAN : (double)draw;
        }
        assert_ok(tv_krippendorff_alpha(values, (uint64_t)units, (uint64_t)coders, &alpha));
        double expected = brute_alpha(values, units, coders);
        if (isnan(expected))
            assert_true(isnan(alpha));
        else
            assert_near(alpha, expected, 1e-12);
    }
    /* Nothing to agree on. */
    const double same[] = {1, 1, 1, 1}, single[] = {1, NAN, NAN, 2};
    double alpha;
    assert_ok(tv_krippendorff_alpha(same, 2, 2, &alpha));
    assert_true(isnan(alpha));
    assert_ok(tv_krippendorff_alpha(single, 2, 2, &alpha));
    assert_true(isnan(alpha));
}

/* Through the numbers of equal values: (nc - nd) / sqrt((n0 - n1)(n0 - n2)). */
static double brute_tau(const double *x, const double *y, int n) {
    double difference = 0, n0 = n * (n - 1) / 2.0, ties[2] = {0};
    const double *both[2] = {x, y};
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) {
            double product = (x[i] - x[j]) * (y[i] - y[j]);
            difference += (product > 0) - (product < 0);
        }
    for (int which = 0; which < 2; which++)
        for (double value = 0; value < 10; value++) {
            double equal = 0;
            for (int i = 0; i < n; i++)
                equal += both[which][i] == value;
            ties[which] += equal * (equal - 1) / 2;
        }
    return difference / sqrt((n0 - ties[0]) * (n0 - ties[1]));
}

static void tau_b_of_examples(void **state) {
    (void)state;
    /* The example of SciPy's documentation of kendalltau (tau-b): -0.47140452079103173. */
    const double x[] = {12, 2, 1, 12, 2}, y[] = {1, 4, 7, 1, 0}, constant[] = {3, 3, 3, 3, 3};
    assert_near(tv_kendall_tau_b(x, y, 5), -0.47140452079103173, 1e-15);
    assert_near(tv_kendall_tau_b(x, x, 5), 1, 1e-15);
    assert_true(isnan(tv_kendall_tau_b(x, constant, 5)));
    for (uint32_t trial = 0; trial < 100; trial++) {
        const tv_rng rng = {.seed = 4, .stream = TV_STREAM_TEST, .step = trial};
        int n = 2 + (int)tv_uniform_below(&rng, 0, 8);
        double a[10], b[10];
        for (int i = 0; i < n; i++) {
            a[i] = (double)tv_uniform_below(&rng, (uint64_t)i + 1, 10);
            b[i] = (double)tv_uniform_below(&rng, (uint64_t)i + 20, 4);
        }
        double expected = brute_tau(a, b, n), found = tv_kendall_tau_b(a, b, (uint64_t)n);
        if (isnan(expected))
            assert_true(isnan(found));
        else
            assert_near(found, expected, 1e-14);
    }
}

static void ties_count_half(void **state) {
    (void)state;
    const uint8_t strict[] = {0, 1, 2}, tied[] = {0, 1, 1}, reversed[] = {2, 1, 0}, all[] = {0, 0, 0};
    assert_near(tv_pairwise_agreement(strict, strict, 3), 3, 0);
    assert_near(tv_pairwise_agreement(strict, tied, 3), 2.5, 0);
    assert_near(tv_pairwise_agreement(strict, reversed, 3), 0, 0);
    assert_near(tv_pairwise_agreement(tied, tied, 3), 3, 0);
    assert_near(tv_pairwise_agreement(tied, all, 3), 2, 0);
}

#define RESPONSES                                                                                            \
    "\"responses\":[{\"id\":\"r0\",\"text\":\"aaaa\"},{\"id\":\"r1\",\"text\":\"bb\"},{\"id\":\"r2\","       \
    "\"text\":\"cc\"}]"
#define LINE(id, order, ranking, annotator, flags)                                                           \
    "{\"id\":\"" id "\",\"prompt\":\"p\"," RESPONSES ",\"order\":" order ",\"ranking\":" ranking             \
    ",\"annotator\":\"" annotator "\",\"flags\":[" flags "]}\n"
#define ABC "[\"r0\",\"r1\",\"r2\"]"
#define CBA "[\"r2\",\"r1\",\"r0\"]"

static void a_report_by_hand(void **state) {
    (void)state;
    static const char lines[] = LINE("i", ABC, "[[\"r0\"],[\"r1\"],[\"r2\"]]", "ann", "")
        LINE("i", CBA, "[[\"r0\"],[\"r1\",\"r2\"]]", "bob", "")
            LINE("j", ABC, "[[\"r2\"],[\"r1\"],[\"r0\"]]", "ann", "")
                LINE("j", CBA, "[[\"r0\"],[\"r1\"],[\"r2\"]]", "ann", "\"repeat\"")
                    LINE("k", ABC, "null", "bob", "\"skip\"");
    tv_rankings *rankings = NULL;
    tv_agreement *a = NULL;
    assert_ok(tv_rankings_read_bytes(lines, sizeof lines - 1, "r", &rankings));
    assert_ok(tv_agreement_measure(rankings, &a));
    assert_int_equal(a->judgments, 5);
    assert_int_equal(a->skipped, 1);
    assert_int_equal(a->items, 2);
    assert_int_equal(a->shared_items, 1);
    assert_int_equal(a->annotator_count, 2);
    /* One item in common: two pairs alike, one tied by one of them. */
    assert_int_equal(a->row_count, 1);
    assert_string_equal(a->rows[0].a, "ann");
    assert_string_equal(a->rows[0].b, "bob");
    assert_int_equal(a->rows[0].pairs, 3);
    assert_near(a->rows[0].agreement, 2.5 / 3, 1e-15);
    assert_near(a->all.agreement, 2.5 / 3, 1e-15);
    assert_near(a->all.tau, 2 / sqrt(3 * 2), 1e-15);
    /* Ranks 1 1, 2 2.5, 3 2.5 as 0 0, 1 2, 3 2. */
    const double ranks[] = {0, 0, 1, 2, 3, 2};
    assert_near(a->all.alpha, brute_alpha(ranks, 3, 2), 1e-12);
    assert_near(a->rows[0].alpha, a->all.alpha, 0);
    /* The repeat says the opposite. */
    assert_int_equal(a->repeats.items, 1);
    assert_near(a->repeats.agreement, 0, 0);
    assert_near(a->repeats.tau, -1, 1e-15);
    /* Earlier won 3 of 3, 0 of 2, 0 of 3, 0 of 3. */
    assert_int_equal(a->strict_pairs, 11);
    assert_near(a->earlier_won, 3.0 / 11, 1e-15);
    assert_near(a->first_place[0], 1.0 / 4, 1e-15);
    assert_near(a->first_place[2], 3.0 / 4, 1e-15);
    assert_near(a->first_place_expected[1], 1.0 / 3, 1e-15);
    assert_true(isnan(a->first_place_expected[3]));
    /* r0 is longer than the two others, which are equally long: it won 2, 2, 0 and 2 of 2. */
    assert_int_equal(a->length_pairs, 8);
    assert_near(a->longer_won, 6.0 / 8, 1e-15);
    cJSON *json = tv_agreement_json(a);
    assert_non_null(json);
    assert_near(tv_json_get(tv_json_get(json, "repeats"), "tau_b")->valuedouble, -1, 1e-15);
    cJSON_Delete(json);
    tv_agreement_destroy(&a);
    tv_rankings_destroy(&rankings);
}

/* The same id with other answers is another item. */
static void other_answers_are_another_item(void **state) {
    (void)state;
    static const char lines[] = LINE("i", ABC, "[[\"r0\"],[\"r1\"],[\"r2\"]]", "ann",
                                     "") "{\"id\":\"i\",\"prompt\":\"p\",\"responses\":[{\"id\":\"r0\","
                                         "\"text\":\"x\"},{\"id\":\"r1\",\"text\":\"y\"}],"
                                         "\"ranking\":[[\"r0\"],[\"r1\"]],\"annotator\":\"bob\"}\n";
    tv_rankings *rankings = NULL;
    tv_agreement *a = NULL;
    assert_ok(tv_rankings_read_bytes(lines, sizeof lines - 1, "r", &rankings));
    assert_ok(tv_agreement_measure(rankings, &a));
    assert_int_equal(a->items, 2);
    assert_int_equal(a->row_count, 0);
    assert_true(isnan(a->all.agreement) && isnan(a->all.alpha));
    tv_agreement_print(a, stderr);
    tv_agreement_destroy(&a);
    tv_rankings_destroy(&rankings);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alpha_of_krippendorffs_example),
        cmocka_unit_test(alpha_by_brute_force),
        cmocka_unit_test(tau_b_of_examples),
        cmocka_unit_test(ties_count_half),
        cmocka_unit_test(a_report_by_hand),
        cmocka_unit_test(other_answers_are_another_item),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
