/* reward/checks: final answers as models and data sets write them, and texts that are no answer.
 *
 * Tried on 2026-11-29, each fails here: the first \boxed for the last, the first number for the last, commas
 * kept, the minus between numbers as a sign, braces not counted, white space kept, bounds of a length left
 * out.
 */
#include "support/support.h"

#include <string.h>

#include "base/bytes.h"
#include "reward/checks.h"

static void final_answers(void **state) {
    static const struct {
        const char *check, *text, *reference;
        int score;
    } rows[] = {
        {"number", "46", "46", 1},
        {"number", "The sum is 46.", "46", 1},
        {"number", "12 + 34 = 46, I think", "46", 1},
        {"number", "46 apples and 2 pears", "46", 0},
        {"number", "so \\boxed{46}. Check: 46 - 34 = 12", "46", 1},
        {"number", "\\boxed{45} no, \\boxed{46}", "46", 1},
        {"number", "\\boxed{45", "45", 1},
        {"number", "steps\n#### 1,234", "1234", 1},
        {"number", "1234.0", "1,234", 1},
        {"number", "-5", "-5", 1},
        {"number", "-5", "5", 0},
        {"number", "it is 3-5", "5", 1},
        {"number", "0.50", "1/2 = 0.5", 1},
        {"number", "none", "46", 0},
        {"number", "", "46", 0},
        {"number", "46", "none", 0},
        {"number", "46", NULL, 0},
        {"exact", " Paris\n", "Paris", 1},
        {"exact", "paris", "Paris", 0},
        {"exact", "Paris, France", "Paris", 0},
        {"exact", "it is \\boxed{\\frac{1}{2}}", "\\frac{1}{2}", 1},
        {"exact", "reasons #### Paris", "#### Paris", 1},
        {"exact", "", "", 1},
        {"length:2:4", "a", NULL, 0},
        {"length:2:4", "ab", NULL, 1},
        {"length:2:4", "abcd", NULL, 1},
        {"length:2:4", "abcde", NULL, 0},
        {"regex:^<think>.*</think>$", "<think>so</think>", NULL, 1},
        {"regex:^<think>.*</think>$", "so</think>", NULL, 0},
        {"regex:\\d+", "no 4", "5", 1},
        {"regex:\\d+", "none", NULL, 0},
        {"regex:a.b",
         "a\xff"
         "b",
         NULL, 1},
        {"regex:^$", "", NULL, 1},
        /* Without limits it would take 2^30 steps. */
        {"regex:^(a|a)*$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < TV_COUNT(rows); i++) {
        tv_check check;
        assert_ok(tv_check_parse(rows[i].check, &check));
        assert_true(tv_check_compares(rows[i].check) == (rows[i].check[0] != 'l' && rows[i].check[0] != 'r'));
        double score = tv_check_score(&check, rows[i].text, strlen(rows[i].text), rows[i].reference);
        if (!(score == rows[i].score))
            fail_msg("%s of \"%s\" against \"%s\": %g", rows[i].check, rows[i].text,
                     rows[i].reference ? rows[i].reference : "nothing", score);
        tv_check_free(&check);
    }
}

static void long_and_odd_texts(void **state) {
    tv_check check;
    char digits[300];
    (void)state;
    memset(digits, '7', sizeof digits);
    assert_ok(tv_check_parse("number", &check));
    assert_true(tv_check_score(&check, digits, sizeof digits, "7") == 0);
    assert_true(tv_check_score(&check, "4\0006", 3, "6") == 1);
    assert_true(tv_check_score(&check, "####", 4, "6") == 0);
    assert_true(tv_check_score(&check, "\\boxed{}}}}", 11, "6") == 0);
}

static void other_checks_are_refused(void **state) {
    static const char *const wrong[] = {"",           "numbers",      "length",      "length:1",
                                        "length:4:2", "length:1:2:3", "length:-1:2", "regexp:a"};
    tv_check check;
    (void)state;
    for (size_t i = 0; i < TV_COUNT(wrong); i++)
        assert_fails(tv_check_parse(wrong[i], &check), TV_E_USAGE, "number, exact, length");
    assert_fails(tv_check_parse("regex:", &check), TV_E_USAGE, "expected a regular expression");
    assert_fails(tv_check_parse("regex:(a", &check), TV_E_USAGE, "the check regex");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(final_answers),
        cmocka_unit_test(long_and_odd_texts),
        cmocka_unit_test(other_checks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
