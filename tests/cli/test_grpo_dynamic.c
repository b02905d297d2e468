/* Dynamic sampling of trivium grpo, and how many answers are drawn side by side.
 *
 * The reward program answers by the number of the answer, so that which groups teach, and what is drawn for
 * the others, is known without a model. Seen to fail with: the run's count of examples not moved on, the
 * texts or the targets of the old group left in place, one time more than asked for, and held-out prompts
 * that are addressed behind what was drawn so far.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "support/answering.h"
#include "support/device.h"
#include "support/small_run.h"
#include "support/stage_run.h"
#include "support/subprocess.h"

enum { MOST_WORDS = 48, K = 4, REMAINDER = 5, MODULUS = 7 };

static tv_answering place;

static int set_up(void **state) {
    (void)state;
    tv_test_need_device();
    tv_log_set_level(TV_LOG_ERROR);
    place = tv_answering_create(TV_ARCH_GPT2, 150);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tv_answering_destroy(&place);
    return 0;
}

static const char by_number[] =
    "while read -r line; do id=${line#*:}; id=${id%%,*}; echo $((id % 7 == 5)); done";

/* As people run it; the caller looks at how it ended. */
static tv_child_result run_by(const char *run, const char *reward, uint64_t stop_after, bool resume,
                              const char *const *sets) {
    const char *argv[MOST_WORDS] = {TRIVIUM_COMMAND,
                                    "grpo",
                                    "--quiet",
                                    "--out",
                                    run,
                                    "--reward-cmd",
                                    reward,
                                    "--set",
                                    "grpo.answers=4",
                                    "--set",
                                    "grpo.max_new_tokens=6",
                                    "--set",
                                    "train.batch_size=4",
                                    "--set",
                                    "train.checkpoint_every=1"};
    char *after = tv_format("%d", (int)stop_after);
    size_t count = 15;
    if (stop_after) {
        argv[count++] = "--stop-after";
        argv[count++] = after;
    }
    if (resume) {
        argv[count++] = "--resume";
    } else {
        argv[count++] = "--model";
        argv[count++] = place.model;
        argv[count++] = "--prompts";
        argv[count++] = place.prompts;
    }
    for (size_t i = 0; sets[i]; i++) {
        argv[count++] = "--set";
        argv[count++] = sets[i];
    }
    assert_in_range(count, 1, MOST_WORDS - 1);
    tv_child_result result = tv_child_run(argv);
    free(after);
    return result;
}

static void train_by(const char *run, const char *reward, uint64_t stop_after, bool resume,
                     const char *const *sets) {
    tv_child_result result = run_by(run, reward, stop_after, resume, sets);
    if (result.exit_code != 0)
        fail_msg("exit code %d: %s", result.exit_code, result.err);
    tv_child_result_free(&result);
}

static void train_with(const char *run, const char *const *sets) {
    train_by(run, by_number, 0, false, sets);
}

static void expect_refused(const char *run, const char *sentence, const char *const *sets) {
    tv_child_result result = run_by(run, by_number, 0, false, sets);
    if (result.exit_code != 2 || !strstr(result.err, sentence))
        fail_msg("exit code %d: %s", result.exit_code, result.err);
    tv_child_result_free(&result);
}

static uint64_t reward_of_group(uint64_t group) {
    uint64_t sum = 0;
    for (uint64_t id = K * group; id < K * (group + 1); id++)
        sum += id % MODULUS == REMAINDER;
    return sum;
}

/* What an iteration whose first group is `next` comes to. */
typedef struct expected {
    uint64_t drawn, drawn_reward, reward, equal; /* groups; rewards of all that was drawn, of what is left */
} expected;

static expected expect(uint64_t prompts, uint64_t times, uint64_t next) {
    expected e = {0};
    uint64_t wanted = prompts;
    for (uint64_t round = 0; round <= times && wanted > 0; round++) {
        e.equal = 0;
        for (uint64_t i = 0; i < wanted; i++, e.drawn++) {
            uint64_t reward = reward_of_group(next + e.drawn);
            e.drawn_reward += reward;
            e.reward += reward;
            e.equal += reward == 0;
        }
        wanted = e.equal;
    }
    return e;
}

static void what_is_equal_is_replaced(void **state) {
    (void)state;
    static const struct { uint64_t prompts, times; } cases[] = {{4, 1}, {4, 3}, {6, 2}};
    uint64_t full = 0, lacking = 0; /* iterations */
    for (size_t c = 0; c < TV_COUNT(cases); c++) {
        char *run = tv_format("%s/replaced-%zu", place.planted.dir, c),
             *prompts = tv_format("grpo.prompts=%d", (int)cases[c].prompts),
             *times = tv_format("grpo.dynamic_sampling=%d", (int)cases[c].times);
        train_with(run, TV_TEXTS(prompts, times, "grpo.iterations=4", "train.lr=1e-3"));
        uint64_t next = 0;
        for (uint64_t step = 1; step <= 4; step++) {
            const expected e = expect(cases[c].prompts, cases[c].times, next);
            const double n = (double)cases[c].prompts;
            assert_true(tv_expect_metric(run, step, "groups/drawn") == (double)e.drawn);
            assert_near(tv_expect_metric(run, step, "reward/drawn"),
                        (double)e.drawn_reward / (double)(e.drawn * K), 1e-12);
            assert_near(tv_expect_metric(run, step, "reward/mean"), (double)e.reward / (n * K), 1e-12);
            assert_near(tv_expect_metric(run, step, "groups/equal"), (double)e.equal / n, 1e-12);
            assert_near(tv_expect_metric(run, step, "groups/learned"), 1 - (double)e.equal / n, 1e-12);
            full += e.equal == 0;
            lacking += e.equal > 0;
            next += e.drawn;
        }
        assert_true(next > 4 * cases[c].prompts);
        tv_free_all(run, prompts, times);
    }
    assert_true(full > 0 && lacking > 0);
}

/* The texts that a step shows; the caller frees. */
static char *samples_of(const char *run, uint64_t step) {
    char *path = tv_format("%s/metrics.jsonl", run), *key = tv_format("\"step\":%d,", (int)step), *bytes;
    uint64_t size;
    assert_ok(tv_read_file(path, &bytes, &size));
    char *line = strstr(bytes, key);
    assert_non_null(line);
    const char *samples = strstr(line, "\"samples\":[");
    assert_non_null(samples);
    size_t length = strcspn(samples, "\n");
    assert_true(length > 30);
    char *copy = tv_format("%.*s", (int)length, samples);
    tv_free_all(path, key, bytes);
    return copy;
}

/* One group an iteration, by a policy that never moves: the first is equal, and the one that takes its place
 * is what a run without dynamic sampling draws in its second iteration, text for text and number for number.
 */
static void what_takes_its_place_is_the_next_group(void **state) {
    (void)state;
    char *with = tv_format("%s/with", place.planted.dir),
         *without = tv_format("%s/without", place.planted.dir);
    assert_int_equal(reward_of_group(0), 0);
    assert_int_equal(reward_of_group(1), 1);
    train_with(with,
               TV_TEXTS("grpo.prompts=1", "grpo.iterations=1", "train.lr=0", "grpo.dynamic_sampling=5"));
    train_with(without, TV_TEXTS("grpo.prompts=1", "grpo.iterations=2", "train.lr=0"));
    static const char *const keys[] = {"loss",       "grad_norm",      "reward/mean",
                                       "reward/std", "groups/equal",   "response_tokens",
                                       "truncated",  "policy/entropy", "updates"};
    for (size_t i = 0; i < TV_COUNT(keys); i++)
        assert_true(tv_expect_metric(with, 1, keys[i]) == tv_expect_metric(without, 2, keys[i]));
    assert_true(tv_expect_metric(with, 1, "grad_norm") > 0);
    assert_true(tv_expect_metric(with, 1, "groups/drawn") == 2);
    /* Three of four answers, but for the prompt's last token. */
    assert_in_range((uint64_t)(1000 * tv_expect_metric(with, 1, "draw/prompt_shared")), 300, 749);
    assert_true(tv_expect_metric(with, 1, "draw/tokens_per_second") > 0);
    char *a = samples_of(with, 1), *b = samples_of(without, 2), *first = samples_of(without, 1);
    assert_string_equal(a, b);
    assert_string_not_equal(a, first);
    tv_free_all(a, b, first, with, without);
}

/* Stopped behind the second of four iterations, and with three rows that are filled again and again: the same
 * numbers, held-out ones too, and the same files; the reward is of the texts. */
static void resume_and_rows_change_nothing(void **state) {
    (void)state;
    char *whole = tv_format("%s/whole", place.planted.dir), *parts = tv_format("%s/parts", place.planted.dir),
         *few = tv_format("%s/few", place.planted.dir), *val = tv_format("data.val=[\"%s\"]", place.prompts);
    const char *const *sets = TV_TEXTS(val, "grpo.iterations=4", "grpo.prompts=4", "grpo.dynamic_sampling=2",
                                       "train.lr=3e-3", "train.eval_every=1"),
                      *const *rows =
                          TV_TEXTS(val, "grpo.iterations=4", "grpo.prompts=4", "grpo.dynamic_sampling=2",
                                   "train.lr=3e-3", "train.eval_every=1", "grpo.rows=3");
    train_by(whole, place.reward, 0, false, sets);
    train_by(parts, place.reward, 2, false, sets);
    train_by(parts, place.reward, 0, true, sets);
    train_by(few, place.reward, 0, false, rows);
    static const char *const keys[] = {"loss",         "grad_norm",    "reward/mean",    "reward/drawn",
                                       "groups/drawn", "groups/equal", "policy/entropy", "eval/reward"};
    double drawn = 0;
    for (uint64_t step = 1; step <= 4; step++) {
        drawn += tv_expect_metric(whole, step, "groups/drawn");
        for (size_t i = 0; i < TV_COUNT(keys); i++) {
            double expected_value = tv_expect_metric(whole, step, keys[i]);
            assert_true(tv_expect_metric(parts, step, keys[i]) == expected_value);
            assert_true(tv_expect_metric(few, step, keys[i]) == expected_value);
        }
    }
    assert_true(drawn > 4 * 4);
    tv_expect_same_file(whole, parts, "checkpoints/last/model.safetensors");
    tv_expect_same_file(whole, few, "checkpoints/last/model.safetensors");
    tv_expect_same_file(whole, parts, "checkpoints/last/training_state/optimizer.safetensors");
    tv_free_all(whole, parts, few, val);
}

static void mistakes_get_a_sentence(void **state) {
    (void)state;
    char *run = tv_format("%s/wrong", place.planted.dir);
    expect_refused(run, "grpo.dynamic_sampling",
                   TV_TEXTS("grpo.advantages=reinforce++", "grpo.dynamic_sampling=1", "grpo.iterations=1"));
    expect_refused(run, "than can be addressed",
                   TV_TEXTS("grpo.dynamic_sampling=1000", "grpo.iterations=10000000", "grpo.prompts=4"));
    assert_false(tv_path_exists(run));
    free(run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_equal_is_replaced),
        cmocka_unit_test(what_takes_its_place_is_the_next_group),
        cmocka_unit_test(resume_and_rows_change_nothing),
        cmocka_unit_test(mistakes_get_a_sentence),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
