/* Several rewards of one run: their sum, their names, what programs are told, and programs that go wrong.
 *
 * Tried on 2026-11-29, each fails here: weights left out; a weight of the reward before; deviations over k -
 * 1; the answers of a list shifted by one; a limit on waiting that is not set; members of the prompt's line
 * left out; means over answers that a reward does not apply to; answers without a reward learned from, taken
 * for a difference within their group, or counted in the mean of all that were drawn; an answer without a
 * score taken for null.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "stages/grpo/grpo.h"
#include "stages/ppo/ppo.h"
#include "support/answering.h"
#include "support/stage_run.h"

#define REWARDS(...) ((const tv_reward_given[]){__VA_ARGS__, {TV_REWARD_KINDS, NULL}})
#define PROGRAM(cmd)                                                                                         \
    { TV_REWARD_PROGRAM, cmd }
#define CHECK(check)                                                                                         \
    { TV_REWARD_CHECK, check }

static tv_answering place;
static char *prompts; /* with further members */

static int set_up(void **state) {
    (void)state;
    tv_log_set_level(TV_LOG_ERROR);
    place = tv_answering_create(TV_ARCH_GPT2, 60);
    prompts = tv_answering_path(&place, "told.jsonl");
    static const char lines[] = "{\"id\": \"first\", \"prompt\": \"a\", \"answer\": \"x\", \"level\": 3}\n"
                                "{\"id\": \"second\", \"prompt\": \"b\", \"answer\": 7, \"level\": [4]}\n";
    assert_ok(tv_write_file(prompts, lines, sizeof lines - 1));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    free(prompts);
    tv_answering_destroy(&place);
    return 0;
}

/* Two prompts with four answers each; a policy that does not move. */
static tv_status train(const char *run, const tv_reward_given *rewards, bool resume,
                       const char *const *sets) {
    tv_stage_settings settings =
        tv_stage_settings_make(TV_TEXTS("grpo.prompts=2", "grpo.answers=4", "grpo.max_new_tokens=6",
                                        "train.lr=0", "grpo.iterations=2"),
                               prompts, sets);
    uint64_t given = 0;
    while (rewards && rewards[given].text)
        given++;
    const tv_policy_options options = {.run = {.run = run,
                                               .sets = settings.all,
                                               .set_count = settings.count,
                                               .init = resume ? NULL : place.model,
                                               .resume = resume},
                                       .rewards = rewards,
                                       .reward_count = given};
    tv_run_result result;
    tv_status status = tv_grpo_train(&options, &result);
    tv_stage_settings_free(&settings);
    return status;
}

static char *path(const char *name) {
    return tv_answering_path(&place, name);
}

/* By themselves and together: the same answers, so the same means, and a sum with the weights. */
static void a_sum_with_weights(void **state) {
    (void)state;
    char *a = path("a"), *b = path("b"), *c = path("c"), *all = path("all");
    assert_ok(train(a, REWARDS(PROGRAM(place.reward)), false, NULL));
    assert_ok(train(b, REWARDS(CHECK("length:1:9")), false, NULL));
    assert_ok(train(c, REWARDS(CHECK("regex:\\w \\w")), false, NULL));
    assert_ok(train(all, REWARDS(PROGRAM(place.reward), CHECK("length:1:9"), CHECK("regex:\\w \\w")), false,
                    TV_TEXTS("rewards.weights=[2,-0.5,0.25]", "rewards.names=[\"gold\",\"short\",\"od\"]")));
    const char *const alone[] = {a, b, c}, *const names[] = {"gold", "short", "od"};
    const double weights[] = {2, -0.5, 0.25};
    for (uint64_t step = 1; step <= 2; step++) {
        double sum = 0;
        for (int i = 0; i < 3; i++) {
            char mean[40], deviation[40];
            snprintf(mean, sizeof mean, "reward/%s/mean", names[i]);
            snprintf(deviation, sizeof deviation, "reward/%s/std", names[i]);
            double own = tv_expect_metric(alone[i], step, "reward/mean");
            assert_near(tv_expect_metric(all, step, mean), own, 1e-12);
            assert_near(tv_expect_metric(all, step, deviation),
                        tv_expect_metric(alone[i], step, "reward/std"), 1e-9);
            sum += weights[i] * own;
        }
        assert_near(tv_expect_metric(all, step, "reward/mean"), sum, 1e-12);
    }
    /* Short and long answers, with the word and without. */
    assert_true(tv_expect_metric(b, 1, "reward/std") > 0.1);
    assert_true(tv_expect_metric(c, 1, "reward/std") > 0.1);
    tv_free_all(a, b, c, all);
}

static void expect_names(const char *run, const char *expected) {
    char *file = tv_format("%s/config.json", run);
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(file, &root));
    char *found = cJSON_PrintUnformatted(tv_json_get(root, "rewards"));
    assert_string_equal(found, expected);
    cJSON_free(found);
    cJSON_Delete(root);
    free(file);
}

/* Names that nobody gave; they and the weights stand in config.json, and a run that goes on has them. */
static void names_and_weights_are_settings(void **state) {
    (void)state;
    char *run = path("named"), *script = path("my-score.sh"), *command;
    static const char text[] = "while read -r line; do echo 0.5; done\n";
    assert_ok(tv_write_file(script, text, sizeof text - 1));
    command = tv_format("sh '%s' --fast", script);
    const tv_reward_given *rewards = REWARDS(PROGRAM(command), CHECK("length:1:9"), CHECK("length:2:9"));
    assert_ok(train(run, rewards, false, TV_TEXTS("rewards.weights=[1,1,0.5]", "grpo.iterations=1")));
    expect_names(
        run, "{\"weights\":[1,1,0.5],\"names\":[\"my-score\",\"length\",\"length2\"],\"batch\":1,\"timeout\":"
             "600}");
    assert_ok(train(run, rewards, true, NULL));
    expect_names(
        run, "{\"weights\":[1,1,0.5],\"names\":[\"my-score\",\"length\",\"length2\"],\"batch\":1,\"timeout\":"
             "600}");
    /* One that is not named again is nobody's. */
    assert_fails(train(run, NULL, true, TV_TEXTS("grpo.iterations=3")), TV_E_USAGE,
                 "which nobody here asked for");
    assert_fails(train(run, REWARDS(PROGRAM(command)), true, TV_TEXTS("grpo.iterations=3")), TV_E_CONFIG,
                 "one for each of the 1 rewards");
    tv_free_all(run, script, command);
}

/* Everything of the prompt's line, and its id. */
static void programs_are_told_everything(void **state) {
    (void)state;
    char *run = path("told");
    assert_ok(
        train(run,
              REWARDS(PROGRAM(
                  "while read -r line; do case $line in "
                  "*'\"prompt_id\":\"first\",\"prompt\":\"a\",\"answer\":\"x\",\"level\":3,\"response\":'*"
                  ") echo 1;; "
                  "*'\"prompt_id\":\"second\",\"prompt\":\"b\",\"answer\":7,\"level\":[4],\"response\":'*"
                  ") echo 3;; *) echo 100;; esac; done")),
              false, NULL));
    assert_near(tv_expect_metric(run, 1, "reward/mean"), 2, 0);
    free(run);
}

/* Three, three and two of eight. */
static void lists_of_questions(void **state) {
    (void)state;
    char *run = path("lists");
    assert_ok(
        train(run,
              REWARDS(PROGRAM(
                  "n=0; while read -r line; do n=$((n + 1)); case $line in '[{\"id\":'*'}]') ;; *) exit "
                  "3;; esac; if [ $((n % 3)) = 0 ]; then echo '[4, 5]'; else echo '[1, 2, 6]'; fi; done")),
              false, TV_TEXTS("rewards.batch=3")));
    assert_near(tv_expect_metric(run, 2, "reward/mean"), (9 + 9 + 9) / 8.0, 1e-12);
    free(run);
}

/* The second prompt's answers are no matter of the program: sum, mean and deviation are over the others. */
static void a_reward_may_not_apply(void **state) {
    (void)state;
    static const char *const programs[] = {
        "while read -r line; do case $line in *'\"first\"'*) echo 3;; *) echo null;; esac; done",
        "while read -r line; do id=${line#*:}; id=${id%%,*}; case $line in *'\"first\"'*) s=3;; *) s=null;; "
        "esac; "
        "echo \"{\\\"id\\\": $id, \\\"score\\\": $s}\"; done",
        "while read -r line; do echo '[3, 3, 3, 3, null, null, null, null]'; done"};
    for (size_t i = 0; i < TV_COUNT(programs); i++) {
        char *run = tv_format("%s/null-%zu", place.planted.dir, i);
        assert_ok(train(run, REWARDS(PROGRAM(programs[i]), CHECK("length:1:9")), false,
                        TV_TEXTS("rewards.weights=[2,0.5]", "rewards.names=[\"gold\",\"short\"]",
                                 i == 2 ? "rewards.batch=8" : "rewards.batch=1")));
        for (uint64_t step = 1; step <= 2; step++) {
            assert_near(tv_expect_metric(run, step, "reward/gold/mean"), 3, 0);
            assert_near(tv_expect_metric(run, step, "reward/gold/std"), 0, 0);
            assert_near(tv_expect_metric(run, step, "reward/gold/applies"), 0.5, 0);
            assert_near(tv_expect_metric(run, step, "reward/mean"),
                        3 + 0.5 * tv_expect_metric(run, step, "reward/short/mean"), 1e-12);
        }
        free(run);
    }
}

/* The last answer of each group has no reward at all; the means are over the others, which alone are learned
 * from. */
static void an_answer_may_have_no_reward(void **state) {
    (void)state;
    char *run = path("none"), *equal = path("none-equal");
    assert_ok(
        train(run,
              REWARDS(PROGRAM("n=0; while read -r line; do n=$((n + 1)); if [ $((n % 4)) = 0 ]; then echo "
                              "null; else echo $((n % 4)); fi; done")),
              false, TV_TEXTS("train.lr=1e-3")));
    for (uint64_t step = 1; step <= 2; step++) {
        assert_near(tv_expect_metric(run, step, "reward/none"), 0.25, 0);
        assert_near(tv_expect_metric(run, step, "reward/mean"), 2, 1e-12);
        assert_near(tv_expect_metric(run, step, "reward/std"), sqrt(2.0 / 3), 1e-12);
        assert_near(tv_expect_metric(run, step, "groups/equal"), 0, 0);
        assert_near(tv_expect_metric(run, step, "groups/learned"), 0.75, 0);
        assert_near(tv_expect_metric(run, step, "policy/first_ratio_deviation"), 0, 0);
    }
    /* Those that have one have the same: such groups give way, every time. */
    assert_ok(
        train(equal,
              REWARDS(PROGRAM("n=0; while read -r line; do n=$((n + 1)); if [ $((n % 2)) = 0 ]; then echo "
                              "null; else echo 5; fi; done")),
              false, TV_TEXTS("grpo.dynamic_sampling=2")));
    assert_near(tv_expect_metric(equal, 1, "groups/equal"), 1, 0);
    assert_near(tv_expect_metric(equal, 1, "groups/drawn"), 6, 0);
    assert_near(tv_expect_metric(equal, 1, "reward/drawn"), 5, 0);
    tv_free_all(run, equal);
}

/* Nothing is learned then, and it is said why; where nothing of the held-out prompts is scored there is no
 * mean. */
static void all_answers_may_have_no_reward(void **state) {
    (void)state;
    static const char null[] = "while read -r line; do echo null; done";
    char *run = path("all-none"), *other = path("all-none-held-out"),
         *lines = tv_format("%s/metrics.jsonl", run), *text = NULL,
         *held_out = tv_format("data.val=[\"%s\"]", prompts);
    uint64_t size;
    assert_ok(train(run, REWARDS(PROGRAM(null)), false, TV_TEXTS("grpo.iterations=1")));
    assert_near(tv_expect_metric(run, 1, "reward/none"), 1, 0);
    assert_near(tv_expect_metric(run, 1, "updates"), 0, 0);
    assert_ok(tv_read_file(lines, &text, &size));
    assert_non_null(strstr(text, "nothing to learn from: no answer has a reward"));
    assert_fails(train(other, REWARDS(PROGRAM(null)), false, TV_TEXTS(held_out)), TV_E_DATA,
                 "any of the 2 held-out prompts");
    tv_free_all(run, other, lines, text, held_out);
}

/* PPO has no use for an answer without a score. */
static void ppo_needs_a_reward(void **state) {
    (void)state;
    char *run = path("ppo"), *data = tv_format("data.train=[\"%s\"]", prompts);
    const char *const sets[] = {data, "ppo.prompts=2", "ppo.minibatch=2", "ppo.max_new_tokens=6",
                                "ppo.iterations=1"};
    const tv_policy_options options = {
        .run = {.run = run, .sets = sets, .set_count = TV_COUNT(sets), .init = place.model},
        .rewards = REWARDS(PROGRAM(
            "while read -r line; do case $line in *'\"first\"'*) echo 1;; *) echo null;; esac; done")),
        .reward_count = 1};
    tv_run_result result;
    assert_fails(tv_ppo_train(&options, &result), TV_E_DATA,
                 "no reward applies to a response to prompt second");
    tv_free_all(run, data);
}

/* Each ends the run with a sentence, and what was done before is saved. */
static void programs_that_go_wrong(void **state) {
    (void)state;
    /* Eight answers of the first iteration, then it happens. */
#define EIGHT "n=0; while read -r line && [ $n -lt 8 ]; do n=$((n + 1)); echo 0.$n; done; "
    static const struct {
        const char *program, *sets[3], *sentence;
    } cases[] = {
        {EIGHT "sleep 20", {"rewards.timeout=0.3"}, "gave no answer within 0.3 seconds"},
        {EIGHT "exit 4", {NULL}, "ended with exit code 4"},
        {EIGHT "kill -9 $$", {NULL}, "was ended by signal 9"},
        {EIGHT "echo maybe; cat >/dev/null", {NULL}, "answered \"maybe\""},
        {EIGHT "echo nan; cat >/dev/null", {NULL}, "expected one finite number a line"},
        {"read -r line; echo '[1,2,3,4,5,6,7,8]'; read -r line; echo '[1,2]'; cat >/dev/null",
         {"rewards.batch=8"},
         "answered \"[1,2]\" to a list of 8 questions"},
        {"read -r line; echo '[1,2,3,4,5,6,7,8]'; read -r line; echo '[1,2,3,4,5,6,7,\"8\"]'; cat >/dev/null",
         {"rewards.batch=8"},
         "expected a list of 8 finite numbers"},
        {EIGHT "echo nullx; cat >/dev/null", {NULL}, "answered \"nullx\""},
        {EIGHT "echo '{}'; cat >/dev/null", {NULL}, "expected one finite number a line"},
        {EIGHT "echo '{\"score\": \"null\"}'; cat >/dev/null",
         {NULL},
         "null where this reward does not apply"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *run = tv_format("%s/wrong-%zu", place.planted.dir, i),
             *saved = tv_format("%s/checkpoints/step-1", run);
        tv_status status =
            train(run, REWARDS(PROGRAM(cases[i].program), CHECK("length:1:9")), false, cases[i].sets);
        if (status != TV_E_DATA || !strstr(tv_last_error(), cases[i].sentence) ||
            !strstr(tv_last_error(), "1 iterations are saved") || !strstr(tv_last_error(), "--reward-cmd ("))
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, tv_last_error(), cases[i].sentence);
        assert_true(tv_path_exists(saved));
        tv_free_all(run, saved);
    }
}

static void mistakes_get_a_sentence(void **state) {
    (void)state;
    static const struct {
        const char *set, *sentence;
    } rows[] = {
        {"rewards.weights=[1]", "rewards.weights: expected a list with one for each of the 2 rewards"},
        {"rewards.weights={}", "expected a list with one for each"},
        {"rewards.weights=[1,\"2\"]", "expected finite numbers, found a text for \"exact\""},
        {"rewards.names=[\"a\",\"a\"]", "found \"a\" twice"},
        {"rewards.names=[\"a\",\"b/c\"]", "found another for reward 2"},
        {"rewards.names=[\"a\",1]", "found another for reward 2"},
    };
    char *run = path("mistakes");
    const tv_reward_given *rewards = REWARDS(CHECK("length:1:9"), CHECK("exact"));
    for (size_t i = 0; i < TV_COUNT(rows); i++)
        assert_fails(train(run, rewards, false, TV_TEXTS(rows[i].set)), TV_E_CONFIG, rows[i].sentence);
    assert_fails(train(run, NULL, false, NULL), TV_E_USAGE, "expected a reward");
    assert_fails(train(run, REWARDS(CHECK("length:1:9"), CHECK("regex:(")), false, NULL), TV_E_USAGE,
                 "the check regex");
    assert_false(tv_path_exists(run));
    free(run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sum_with_weights),           cmocka_unit_test(names_and_weights_are_settings),
        cmocka_unit_test(programs_are_told_everything), cmocka_unit_test(lists_of_questions),
        cmocka_unit_test(a_reward_may_not_apply),       cmocka_unit_test(an_answer_may_have_no_reward),
        cmocka_unit_test(ppo_needs_a_reward),           cmocka_unit_test(all_answers_may_have_no_reward),
        cmocka_unit_test(programs_that_go_wrong),       cmocka_unit_test(mistakes_get_a_sentence),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
