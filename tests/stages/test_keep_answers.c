/* stages/keep_answers: which answers are kept, by scores that are known. That the lines are what sft, reward
 * and dpo read is tests/cli/test_keep.c's.
 *
 * Tried on 2026-11-29, each fails here: the last of equals as the best, an empty one as the best, ranked from
 * the worst, a text twice, other ranks for equal scores, an order in which all are equal.
 */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "stages/keep_answers.h"

static tv_keep_result result;

/* The line as a text; the caller frees it. */
static char *kept(const char *prompt, const tv_scored_answer *answers, uint64_t count, tv_keep keep) {
    tv_text line = {0};
    result = (tv_keep_result){0};
    assert_ok(tv_keep_line(&(tv_scored_prompt){prompt, answers, count}, keep, &line, &result));
    char *text = tv_format("%.*s", (int)line.size, line.data ? (const char *)line.data : "");
    tv_text_free(&line);
    return text;
}

#define assert_kept(prompt, answers, keep, expected)                                                         \
    do {                                                                                                     \
        char *text_ = kept(prompt, answers, TV_COUNT(answers), keep);                                        \
        assert_string_equal(text_, expected);                                                                \
        tv_free_all(text_);                                                                                  \
    } while (0)

static void the_best_is_kept(void **state) {
    (void)state;
    const tv_scored_answer answers[] = {{"\"a\"", false, false, -1},
                                        {"\"b\"", false, true, 2.5},
                                        {"\"c\"", false, false, 2.5},
                                        {"\"d\"", false, false, 0}};
    /* Of equal ones the first; it was cut, and that is counted. */
    assert_kept("\"p\"", answers, TV_KEEP_BEST, "{\"prompt\":\"p\",\"completion\":\"b\",\"score\":2.5}\n");
    assert_int_equal(result.lines, 1);
    assert_int_equal(result.cut, 1);
    assert_int_equal(result.too_long, 0);
    const char messages[] = "[{\"role\":\"user\",\"content\":\"hi\"}]";
    assert_kept(
        messages, answers, TV_KEEP_BEST,
        "{\"prompt\":[{\"role\":\"user\",\"content\":\"hi\"}],\"completion\":[{\"role\":\"assistant\","
        "\"content\":\"b\"}],\"score\":2.5}\n");
}

static void an_empty_one_and_one_without_a_score_are_never_the_best(void **state) {
    (void)state;
    const tv_scored_answer answers[] = {{"\"\"", true, false, 9},
                                        {"\"a\"", false, false, (double)NAN},
                                        {"\"b\"", false, false, (double)INFINITY},
                                        {"\"c\"", false, false, -7}};
    assert_kept("\"p\"", answers, TV_KEEP_BEST, "{\"prompt\":\"p\",\"completion\":\"c\",\"score\":-7}\n");
    assert_int_equal(result.too_long, 2);
    const tv_scored_answer none[] = {{"\"\"", true, false, 9}, {"\"a\"", false, false, (double)NAN}};
    assert_kept("\"p\"", none, TV_KEEP_BEST, "");
    assert_int_equal(result.lines, 0);
    const tv_scored_answer one[] = {{"\"a\"", false, false, 3}};
    assert_kept("\"p\"", one, TV_KEEP_BEST, "{\"prompt\":\"p\",\"completion\":\"a\",\"score\":3}\n");
}

static void ranks_are_those_of_the_scores(void **state) {
    (void)state;
    const tv_scored_answer answers[] = {{"\"a\"", false, false, 1}, {"\"b\"", false, false, (double)NAN},
                                        {"\"c\"", false, true, 3},  {"\"\"", true, false, 1},
                                        {"\"c\"", false, false, 3}, {"\"d\"", false, false, -2}};
    assert_kept("\"p\"", answers, TV_KEEP_RANKED,
                "{\"prompt\":\"p\",\"answers\":[{\"answer\":\"c\",\"rank\":1,\"score\":3},"
                "{\"answer\":\"a\",\"rank\":2,\"score\":1},{\"answer\":\"\",\"rank\":2,\"score\":1},"
                "{\"answer\":\"d\",\"rank\":3,\"score\":-2}]}\n");
    assert_int_equal(result.same, 1);
    assert_int_equal(result.cut, 1);
    assert_int_equal(result.too_long, 1);
}

static void what_teaches_no_order_gives_no_line(void **state) {
    (void)state;
    const tv_scored_answer equal[] = {{"\"a\"", false, false, 1}, {"\"b\"", false, false, 1}};
    const tv_scored_answer one_text[] = {{"\"a\"", false, false, 1}, {"\"a\"", false, false, 1}};
    const tv_scored_answer one_score[] = {{"\"a\"", false, false, 1}, {"\"b\"", false, false, (double)NAN}};
    assert_kept("\"p\"", equal, TV_KEEP_RANKED, "");
    assert_kept("\"p\"", one_text, TV_KEEP_RANKED, "");
    assert_int_equal(result.same, 1);
    assert_kept("\"p\"", one_score, TV_KEEP_RANKED, "");
    assert_int_equal(result.lines, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_is_kept),
        cmocka_unit_test(an_empty_one_and_one_without_a_score_are_never_the_best),
        cmocka_unit_test(ranks_are_those_of_the_scores),
        cmocka_unit_test(what_teaches_no_order_gives_no_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
