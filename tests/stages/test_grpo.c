/* stages/grpo: what a run must give whatever it learns, that it learns a planted task, and that it goes on
 * exactly.
 *
 * The planted task is test_planted.c's: the share of one word among an answer's words, at best 1, 1/8 at
 * first.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "stages/grpo/grpo.h"
#include "support/answering.h"
#include "support/device.h"
#include "support/small_run.h"
#include "support/stage_run.h"

static tv_answering place;

static int set_up(void **state) {
    (void)state;
    tv_log_set_level(TV_LOG_ERROR);
    place = tv_answering_create(TV_ARCH_GPT2, 150);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tv_answering_destroy(&place);
    return 0;
}

static tv_status train_with(const char *run, const char *command, uint64_t stop_after, bool resume,
                            const char *const *sets) {
    tv_stage_settings settings =
        tv_stage_settings_make(TV_TEXTS("grpo.prompts=4", "grpo.answers=4", "grpo.max_new_tokens=6",
                                        "train.batch_size=4", "train.checkpoint_every=2"),
                               place.prompts, sets);
    const tv_policy_options options = {
        .run = {.run = run,
                .sets = settings.all,
                .set_count = settings.count,
                .init = resume ? NULL : place.model,
                .stop_after = stop_after,
                .resume = resume},
        .rewards = &(tv_reward_given){TV_REWARD_PROGRAM, command ? command : place.reward},
        .reward_count = 1};
    tv_run_result result;
    tv_status status = tv_grpo_train(&options, &result);
    tv_stage_settings_free(&settings);
    return status;
}

/* Every loss and every advantage: with a learning rate of 0 every ratio stays 1 to the last bit, in all six
 * updates of two epochs, and KL from the model that it began as stays 0. With one that is not 0 the first
 * minibatch's are still 1, and the rest are not.
 *
 * Tried on 2026-11-29, each fails here: old log-probabilities of the answer before; the reference's in their
 * place; draws that begin anew each iteration.
 */
static void ratios_are_1_until_the_policy_moves(void **state) {
    (void)state;
    static const char *const losses[] = {"dapo", "grpo", "bnpo", "dr_grpo", "cispo", "gspo"},
                             *const advantages[] = {"group", "none", "batch", "rloo", "reinforce++", "group"};
    for (size_t i = 0; i < TV_COUNT(losses); i++) {
        char *run = tv_format("%s/%s", place.planted.dir, losses[i]),
             *moved = tv_format("%s/%s-moved", place.planted.dir, losses[i]),
             *loss = tv_format("grpo.loss=%s", losses[i]),
             *advantage = tv_format("grpo.advantages=%s", advantages[i]);
        assert_ok(
            train_with(run, NULL, 0, false,
                       TV_TEXTS(loss, advantage, "grpo.iterations=2", "grpo.minibatch=6", "grpo.epochs=2",
                                "train.lr=0", "grpo.kl_coef=0.05", "grpo.drop_equal=false",
                                i % 2 ? "grpo.mask_truncated=true" : "grpo.mask_truncated=false")));
        for (uint64_t step = 1; step <= 2; step++) {
            assert_true(tv_expect_metric(run, step, "policy/first_ratio_deviation") == 0);
            assert_true(tv_expect_metric(run, step, "policy/ratio") == 1);
            assert_true(tv_expect_metric(run, step, "policy/ratio_var") == 0);
            assert_true(tv_expect_metric(run, step, "policy/clip_low") == 0);
            assert_true(tv_expect_metric(run, step, "policy/kl") == 0);
            assert_true(tv_expect_metric(run, step, "objective/kl") == 0);
            assert_true(tv_expect_metric(run, step, "updates") == 6);
        }
        /* The same policy, other prompts and draws. */
        assert_true(tv_expect_metric(run, 1, "policy/entropy") != tv_expect_metric(run, 2, "policy/entropy"));
        assert_ok(train_with(moved, NULL, 0, false,
                             TV_TEXTS(loss, advantage, "grpo.iterations=1", "grpo.minibatch=6",
                                      "grpo.epochs=2", "train.lr=1e-2")));
        assert_true(tv_expect_metric(moved, 1, "policy/first_ratio_deviation") == 0);
        assert_true(tv_expect_metric(moved, 1, "policy/ratio_var") > 1e-8);
        tv_free_all(run, moved, loss, advantage);
    }
}

/* A reward that is always the same teaches nothing: every group is without variance, none takes part, and the
 * model stays what it was. */
static void a_constant_reward_changes_nothing(void **state) {
    (void)state;
    char *run = tv_format("%s/constant", place.planted.dir);
    assert_ok(train_with(run, "while read line; do echo 0.5; done", 0, false,
                         TV_TEXTS("grpo.iterations=2", "train.lr=1e-2")));
    assert_true(tv_expect_metric(run, 2, "groups/equal") == 1);
    assert_true(tv_expect_metric(run, 2, "groups/learned") == 0);
    assert_true(tv_expect_metric(run, 2, "updates") == 0);
    assert_true(tv_expect_metric(run, 2, "reward/mean") == 0.5);
    assert_true(tv_expect_metric(run, 2, "reward/std") == 0);
    char *after = tv_format("%s/checkpoints/last", run);
    char *before = tv_format("%s/checkpoints/last", place.model);
    tv_expect_same_file(before, after, "model.safetensors");
    tv_free_all(before, after, run);
}

/* Four iterations of several updates with a reference, and the same stopped behind the third: the same files.
 */
/* Held-out prompts are answered before the first update too: a policy that learns nothing gets there what it
 * gets behind an iteration. A resumed run keeps that line and has no second one. */
static void the_beginning_is_measured(void **state) {
    (void)state;
    char *run = tv_format("%s/beginning", place.planted.dir),
         *val = tv_format("data.val=[\"%s\"]", place.prompts), *metrics = tv_format("%s/metrics.jsonl", run);
    const char *const *sets = TV_TEXTS(val, "grpo.iterations=2", "train.lr=0", "train.eval_every=1");
    assert_ok(train_with(run, NULL, 1, false, sets));
    double first = tv_expect_metric(run, 0, "eval/reward");
    assert_ok(train_with(run, NULL, 0, true, sets));
    assert_true(first > 0);
    for (uint64_t step = 0; step <= 2; step++)
        assert_true(tv_expect_metric(run, step, "eval/reward") == first);
    char *bytes, *second;
    uint64_t size;
    assert_ok(tv_read_file(metrics, &bytes, &size));
    static const char begins[] = "{\"stage\":\"grpo\",\"step\":0,\"eval/reward\":";
    assert_memory_equal(bytes, begins, sizeof begins - 1);
    second = strstr(bytes + 1, "\"step\":0,");
    assert_true(second && !strstr(second + 1, "\"step\":0,"));
    tv_free_all(bytes, metrics, val, run);
}

static void resume_continues_exactly(void **state) {
    (void)state;
    char *whole = tv_format("%s/whole", place.planted.dir), *parts = tv_format("%s/parts", place.planted.dir);
    const char *const *sets =
        TV_TEXTS("grpo.iterations=4", "grpo.minibatch=8", "grpo.epochs=2", "train.lr=3e-3",
                 "grpo.kl_coef=0.02", "grpo.loss=gspo", "grpo.clip_low=0.1", "grpo.clip_high=0.1");
    assert_ok(train_with(whole, NULL, 0, false, sets));
    assert_ok(train_with(parts, NULL, 3, false, sets));
    assert_ok(train_with(parts, NULL, 0, true, sets));
    static const char *const keys[] = {"loss",           "grad_norm",        "reward/mean",
                                       "objective/kl",   "policy/ratio_var", "policy/clip_low",
                                       "response_tokens"};
    for (uint64_t step = 1; step <= 4; step++)
        for (size_t i = 0; i < TV_COUNT(keys); i++)
            assert_true(tv_expect_metric(whole, step, keys[i]) == tv_expect_metric(parts, step, keys[i]));
    tv_expect_same_file(whole, parts, "checkpoints/last/model.safetensors");
    tv_expect_same_file(whole, parts, "checkpoints/last/training_state/optimizer.safetensors");
    assert_true(tv_expect_metric(whole, 4, "objective/kl") != 0);
    tv_free_all(whole, parts);
}

/* A temperature of 1/2 is logits twice as large, in drawing, in log-probabilities and in gradients: blocks in
 * front of the same final norm learn the same to the last bit, since a factor of two rounds nothing.
 *
 * Tried on 2026-11-29, each fails: no temperature in the head, in its gradient alone, in drawing; twice it.
 */
static void a_temperature_is_a_scale_of_the_logits(void **state) {
    (void)state;
    char *sharpened = tv_answering_sharpened(&place, 2), *model = place.model;
    char *runs[2];
    const char *const names[] = {"warm", "sharp"}, *const temperatures[] = {"grpo.temperature=0.5",
                                                                            "grpo.temperature=1"};
    for (int i = 0; i < 2; i++) {
        runs[i] = tv_answering_path(&place, names[i]);
        place.model = i ? sharpened : model;
        assert_ok(train_with(runs[i], NULL, 0, false,
                             TV_TEXTS(temperatures[i], "grpo.iterations=2", "grpo.minibatch=8",
                                      "grpo.epochs=2", "train.lr=3e-3", "train.trainable=layers.0-")));
    }
    place.model = model;
    static const char *const keys[] = {"loss",           "grad_norm",        "reward/mean",
                                       "policy/entropy", "policy/ratio_var", "response_tokens"};
    for (uint64_t step = 1; step <= 2; step++)
        for (size_t i = 0; i < TV_COUNT(keys); i++) {
            double warm = tv_expect_metric(runs[0], step, keys[i]),
                   sharp = tv_expect_metric(runs[1], step, keys[i]);
            if (warm != sharp)
                fail_msg("%s at step %d: %.17g, and %.17g with the logits scaled", keys[i], (int)step, warm,
                         sharp);
        }
    assert_true(tv_expect_metric(runs[0], 2, "grad_norm") > 0);
    tv_free_all(sharpened, runs[0], runs[1]);
}

static void it_learns_the_planted_task(void **state) {
    (void)state;
    char *run = tv_format("%s/learns", place.planted.dir);
    enum { ITERATIONS = 24 };
    assert_ok(train_with(run, NULL, 0, false,
                         TV_TEXTS("grpo.iterations=24", "grpo.prompts=8", "grpo.answers=8",
                                  "grpo.max_new_tokens=8", "train.batch_size=32", "grpo.minibatch=32",
                                  "grpo.epochs=2", "train.lr=3e-3", "train.checkpoint_every=0")));
    double first = tv_expect_metric(run, 1, "reward/mean"), last = 0;
    for (uint64_t i = ITERATIONS - 3; i <= ITERATIONS; i++)
        last += tv_expect_metric(run, i, "reward/mean") / 4;
    print_message("reward %.3f to %.3f\n", first, last);
    assert_true(first <= 0.3);
    assert_true(last >= 0.95);
    free(run);
}

/* A check is a reward by itself; one that compares wants the right answers beside the prompts. */
static void a_check_is_a_reward(void **state) {
    (void)state;
    char *run = tv_format("%s/checked", place.planted.dir),
         *data = tv_format("data.train=[\"%s\"]", place.prompts);
    const char *const sets[] = {data, "grpo.prompts=4", "grpo.answers=4", "grpo.max_new_tokens=6",
                                "grpo.iterations=1"};
    tv_reward_given given[] = {{TV_REWARD_CHECK, "number"}};
    tv_policy_options options = {
        .run = {.run = run, .sets = sets, .set_count = TV_COUNT(sets), .init = place.model},
        .rewards = given,
        .reward_count = 1};
    tv_run_result result;
    assert_fails(tv_grpo_train(&options, &result), TV_E_DATA, "expected \"answer\", the right one");
    given[0].text = "length:1:400";
    assert_ok(tv_grpo_train(&options, &result));
    assert_true(tv_expect_metric(run, 1, "reward/mean") > 0.5);
    tv_free_all(run, data);
}

static void mistakes_get_a_sentence(void **state) {
    (void)state;
    char *run = tv_format("%s/wrong", place.planted.dir);
    assert_fails(train_with(run, NULL, 0, false, TV_TEXTS("grpo.answers=1")), TV_E_CONFIG,
                 "at least 2, found 1");
    assert_fails(train_with(run, NULL, 0, false, TV_TEXTS("grpo.temperature=0")), TV_E_CONFIG,
                 "a temperature above 0");
    assert_fails(train_with(run, NULL, 0, false, TV_TEXTS("grpo.loss=cispo", "grpo.clip_low=0.1")),
                 TV_E_CONFIG, "has no lower bound");
    assert_false(tv_path_exists(run));
    free(run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ratios_are_1_until_the_policy_moves),
        cmocka_unit_test(a_constant_reward_changes_nothing),
        cmocka_unit_test(the_beginning_is_measured),
        cmocka_unit_test(resume_continues_exactly),
        cmocka_unit_test(a_temperature_is_a_scale_of_the_logits),
        cmocka_unit_test(it_learns_the_planted_task),
        cmocka_unit_test(a_check_is_a_reward),
        cmocka_unit_test(mistakes_get_a_sentence),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
