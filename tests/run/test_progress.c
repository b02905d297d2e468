/* The progress line: what it says, in which width, and what it keeps between evaluations. */
#include "support/support.h"

#include <string.h>

#include "run/progress.h"

static const tv_metrics_line example = {
    .stage = "pretrain", .step = 101, .loss = 3.21449, .tokens_per_second = 1234567};

static void losses_and_time_read_well(void **state) {
    (void)state;
    char text[256];
    tv_progress progress = {.total_steps = 1000, .timed_from = 10, .timed_step = 1};
    tv_metrics_line line = example;
    /* 100 steps in 50 s leave 899 steps, 449.5 s. */
    assert_false(tv_progress_format(&progress, &line, 0.414, 60, 0, text, sizeof text));
    assert_string_equal(text, "step 101/1000  loss 3.2145  1,234,567 tokens/s  41 % of peak  7 min left");
    line.step = 1000;
    line.tokens_per_second = 999;
    line.has_val_loss = true;
    line.val_loss = 3;
    assert_true(tv_progress_format(&progress, &line, -1, 60, 0, text, sizeof text));
    assert_string_equal(text, "step 1000/1000  loss 3.2145  val 3.0000  999 tokens/s");
    line.warning = "collapsed";
    tv_progress_format(&progress, &line, -1, 60, 0, text, sizeof text);
    assert_string_equal(text, "step 1000/1000  loss 3.2145  val 3.0000  999 tokens/s  ! collapsed");
}

/* An invocation that stops early says when it stops, not when the schedule would. */
static void time_left_is_of_this_invocation(void **state) {
    (void)state;
    char text[256];
    tv_progress progress = {.total_steps = 1000, .end_step = 201, .timed_from = 10, .timed_step = 1};
    tv_progress_format(&progress, &example, -1, 60, 0, text, sizeof text);
    assert_string_equal(text, "step 101/1000  loss 3.2145  1,234,567 tokens/s  50 s left");
}

static void validation_stays_until_the_next(void **state) {
    (void)state;
    char text[256];
    tv_progress progress = {.total_steps = 1000, .timed_step = 1000};
    tv_metrics_line line = example;
    line.has_val_loss = true;
    line.val_loss = 3;
    assert_true(tv_progress_format(&progress, &line, -1, 60, 0, text, sizeof text));
    line.step++;
    line.has_val_loss = false;
    assert_false(tv_progress_format(&progress, &line, -1, 60, 0, text, sizeof text));
    assert_string_equal(text, "step 102/1000  loss 3.2145  val 3.0000  1,234,567 tokens/s");
}

static void a_stage_shows_its_own_numbers(void **state) {
    (void)state;
    static const tv_progress_number shown[] = {{"objective/score", "reward", TV_PROGRESS_SIGNED, false},
                                               {"accuracy", "accuracy", TV_PROGRESS_PERCENT, false},
                                               {"response_tokens", "length", TV_PROGRESS_SHORT, false},
                                               {"missing", "missing", TV_PROGRESS_SHORT, true},
                                               {0}};
    const tv_metric_number extra[] = {
        {"accuracy", 0.614}, {"objective/score", 0.421}, {"response_tokens", 23.06}};
    char text[256];
    tv_progress progress = {.total_steps = 1000, .shown = shown, .timed_step = 1000};
    tv_metrics_line line = example;
    line.extra = extra;
    line.extra_count = 3;
    assert_false(tv_progress_format(&progress, &line, -1, 60, 0, text, sizeof text));
    assert_string_equal(text, "step 101/1000  reward +0.42  accuracy 61 %  length 23.1  1,234,567 tokens/s");
}

/* The time left stays: in 80 columns without the share of the peak, in 50 without the speed too. */
static void narrow_terminals_keep_the_time(void **state) {
    (void)state;
    char text[256];
    tv_progress progress = {.total_steps = 1000, .timed_from = 10, .timed_step = 1};
    static const char *const texts[] = {
        "step 101/1000  loss 3.2145  1,234,567 tokens/s  41 % of peak  7 min left",
        "step 101/1000  loss 3.2145  1,234,567 tokens/s  7 min left",
        "step 101/1000  loss 3.2145  7 min left",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tv_progress_format(&progress, &example, 0.414, 60, strlen(texts[i]), text, sizeof text);
        assert_string_equal(text, texts[i]);
        if (i + 1 < sizeof texts / sizeof *texts) {
            tv_progress_format(&progress, &example, 0.414, 60, strlen(texts[i]) - 1, text, sizeof text);
            assert_string_equal(text, texts[i + 1]);
        }
    }
}

/* Where even that is too much, what stands before the last field goes, never half a number. */
static void a_line_is_never_cut_in_a_number(void **state) {
    (void)state;
    static const char line[] = "step 9/30  reward -0.31  equal groups 0 %  length 15.1  12 s left";
    static const struct {
        uint64_t columns;
        const char *text;
    } cases[] = {
        {sizeof line - 1, line},
        {sizeof line - 2, "step 9/30  reward -0.31  equal groups 0 %  12 s left"},
        {40, "step 9/30  reward -0.31  12 s left"},
        {33, "step 9/30  12 s left"},
        {5, "step 9/30  12 s left"},
    };
    char text[sizeof line];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(text, line, sizeof line);
        tv_progress_shorten(text, cases[i].columns);
        assert_string_equal(text, cases[i].text);
    }
    strcpy(text, "step 1");
    tv_progress_shorten(text, 3);
    assert_string_equal(text, "step 1");
    text[0] = '\0';
    tv_progress_shorten(text, 0);
    assert_string_equal(text, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_and_time_read_well),       cmocka_unit_test(time_left_is_of_this_invocation),
        cmocka_unit_test(validation_stays_until_the_next), cmocka_unit_test(a_stage_shows_its_own_numbers),
        cmocka_unit_test(narrow_terminals_keep_the_time),  cmocka_unit_test(a_line_is_never_cut_in_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
