/* stages/ppo: gates 1 and 2 of the stage, the controller, ends, early stop. The numbers of an iteration:
 * test_ppo_numbers.c. Gate 6 and resuming: tests/cli/test_ppo.c.
 *
 * Tried on 2026-11-26, each fails: the reference's log-probabilities as the old ones (ratios off by 0.23);
 * scoring at another temperature than drawing; the controller without the number of sequences; a penalty that
 * is added; old log-probabilities of another sequence (gate 2: a mean ratio of 0.985); a limit of early stop
 * that is never reached. On 2026-11-28: early stop by the sum, or over all epochs.
 */
#include "stages/ppo_runs.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "run/checkpoint.h"
#include "support/stage_run.h"
#include "text/json_text.h"

/* ---- gates 1 and 2 ---- */

/* Two minibatches of three micro-batches each, prompts of different lengths. What is drawn later does differ
 * from the reference, so zeros are no accident.
 */
static void check_gate_1(const tv_answering *place) {
    char *run = tv_answering_path(place, "gate1");
    train(place, &(request){.run = run,
                            .sets = TV_TEXTS("ppo.iterations=2", "ppo.epochs=2", "train.lr=1e-3",
                                             "ppo.temperature=0.7")});
    for (uint64_t i = 1; i <= 2; i++)
        assert_near(tv_expect_metric(run, i, "policy/first_ratio_deviation"), 0, 0);
    assert_near(tv_expect_metric(run, 1, "objective/kl"), 0, 0);
    assert_near(tv_expect_metric(run, 1, "objective/non_score_reward"), 0, 0);
    assert_true(fabs(tv_expect_metric(run, 2, "objective/kl")) > 1e-3);
    assert_true(tv_expect_metric(run, 1, "policy/approx_kl") > 1e-6);
    free(run);
}

static void gate_1_the_first_ratios_are_exactly_1(void **state) {
    const fixture *f = *state;
    check_gate_1(&f->hasty);
    check_gate_1(&f->llama);
}

static void check_gate_2(const tv_answering *place) {
    char *run = tv_answering_path(place, "gate2");
    train(place, &(request){.run = run,
                            .sets = TV_TEXTS("ppo.iterations=3", "ppo.epochs=3", "train.lr=0",
                                             "ppo.temperature=0.7", "data.shuffle=true")});
    for (uint64_t i = 1; i <= 3; i++) {
        assert_near(tv_expect_metric(run, i, "val/ratio"), 1, 0);
        assert_near(tv_expect_metric(run, i, "val/ratio_var"), 0, 0);
        assert_near(tv_expect_metric(run, i, "policy/approx_kl"), 0, 0);
        assert_near(tv_expect_metric(run, i, "objective/kl"), 0, 0);
        assert_near(tv_expect_metric(run, i, "policy/clip_frac"), 0, 0);
    }
    free(run);
}

static void gate_2_without_a_rate_no_ratio_moves(void **state) {
    const fixture *f = *state;
    check_gate_2(&f->hasty);
    check_gate_2(&f->llama);
}

/* ---- types of the roles' weights ---- */

/* An untouched policy and its reference agree to the last bit also where both are rounded; the models' files
 * are f32. Tried on 2026-11-29: the reference as published. */
static void the_reference_is_stored_as_the_policy_is(void **state) {
    const fixture *f = *state;
    const tv_answering *const places[] = {&f->hasty, &f->llama};
    const char *const types[] = {"model.weights=bf16", "model.weights=q8_0"};
    for (int i = 0; i < 2; i++) {
        char *run = tv_format("%s/types-%d", places[i]->planted.dir, i);
        train(places[i], &(request){.run = run,
                                    .sets = TV_TEXTS("ppo.iterations=1", "ppo.epochs=1", "train.lr=0",
                                                     "ppo.temperature=0.7", types[i])});
        assert_near(tv_expect_metric(run, 1, "objective/kl"), 0, 0);
        free(run);
    }
}

/* Tried on 2026-11-29: planned and not made; made and not planned. */
static void the_reward_model_is_stored_as_asked(void **state) {
    const fixture *f = *state;
    char *reward = tv_planted_reward(&f->hasty.planted, "narrow", 1);
    const char *const types[] = {"ppo.reward_weights=auto", "ppo.reward_weights=bf16"};
    double scores[2];
    uint64_t planned[2];
    for (int i = 0; i < 2; i++) {
        char *run = tv_format("%s/reward-types-%d", f->hasty.planted.dir, i);
        tv_run_result result = train(
            &f->hasty, &(request){.run = run,
                                  .reward = reward,
                                  .sets = TV_TEXTS("ppo.iterations=1", "ppo.epochs=1", "train.lr=0",
                                                   "ppo.temperature=0.7", "ppo.missing_eos=none", types[i])});
        assert_near(result.device_bytes, result.planned_bytes, 0.01 * (double)result.planned_bytes);
        scores[i] = tv_expect_metric(run, 1, "objective/score");
        planned[i] = result.planned_bytes;
        free(run);
    }
    assert_true(planned[1] < planned[0]);
    /* Rounded to 8 bits of a number. */
    assert_true(scores[0] != scores[1]);
    assert_near(scores[1], scores[0], 0.05 * fabs(scores[0]) + 0.02);
    free(reward);
}

/* ---- settings with a formula ---- */

static void the_controller_follows_its_formula(void **state) {
    const fixture *f = *state;
    char *run = tv_answering_path(&f->hasty, "adaptive");
    train(&f->hasty, &(request){.run = run,
                                .sets = TV_TEXTS("ppo.iterations=4", "ppo.epochs=2", "train.lr=3e-3",
                                                 "ppo.kl_controller=adaptive", "ppo.kl_target=0.4",
                                                 "ppo.kl_horizon=60", "ppo.kl_coef=0.2")});
    double beta = 0.2;
    for (uint64_t i = 1; i <= 4; i++) {
        double kl = tv_expect_metric(run, i, "objective/kl");
        assert_near(tv_expect_metric(run, i, "kl_coef"), beta, 1e-12);
        assert_near(tv_expect_metric(run, i, "objective/non_score_reward"), -beta * kl, 1e-5);
        beta *= 1 + fmax(-0.2, fmin(0.2, kl / 0.4 - 1)) * S / 60;
    }
    assert_true(fabs(beta - 0.2) > 1e-3);
    free(run);
}

/* A program that finds every response worth a quarter. */
static void responses_without_an_end(void **state) {
    const fixture *f = *state;
    static const struct {
        const char *sets[4];
        double ended, cut; /* what such a response is worth */
    } cases[] = {
        {{"ppo.missing_eos=none"}, 0.25, 0.25},
        {{"ppo.missing_eos=score", "ppo.missing_eos_score=-1.5"}, 0.25, -1.5},
        {{"ppo.missing_eos=penalty", "ppo.missing_eos_penalty=0.75"}, 0.25, -0.5},
        {{"ppo.missing_eos=score", "ppo.missing_eos_score=-1.5", "ppo.score_clip=0.2"}, 0.2, -0.2},
    };
    double share = -1;
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *run = tv_format("%s/ends-%zu", f->hasty.planted.dir, i);
        train(&f->hasty, &(request){.run = run,
                                    .reward_command = "while read -r line; do echo 0.25; done",
                                    .sets = TV_TEXTS("ppo.iterations=1", "ppo.epochs=1", "train.lr=0",
                                                     "ppo.max_new_tokens=1", cases[i].sets[0],
                                                     cases[i].sets[1], cases[i].sets[2])});
        double ended = tv_expect_metric(run, 1, "val/eos_frac");
        assert_true(ended > 0 && ended < 1 && (share < 0 || !(fabs(share - ended) > 0)));
        share = ended;
        assert_near(tv_expect_metric(run, 1, "objective/score"),
                    ended * cases[i].ended + (1 - ended) * cases[i].cut, 1e-6);
        free(run);
    }
}

static double state_number(const char *run, const char *key) {
    char *path = tv_format("%s/checkpoints/last/ppo_state.json", run);
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(path, &root));
    double value = cJSON_GetNumberValue(tv_json_get(root, key));
    cJSON_Delete(root);
    free(path);
    return value;
}

/* The second minibatch already sees another policy than the one that drew. */
static void an_epoch_too_far_is_the_last(void **state) {
    const fixture *f = *state;
    static const struct {
        const char *limit;
        double updates;
    } cases[] = {{"ppo.early_stop_kl=0", 6}, {"ppo.early_stop_kl=1e-12", 2}, {"ppo.early_stop_kl=1e6", 6}};
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *run = tv_format("%s/stop-%zu", f->hasty.planted.dir, i);
        train(&f->hasty, &(request){.run = run,
                                    .sets = TV_TEXTS("ppo.iterations=1", "ppo.epochs=3", "train.lr=1e-3",
                                                     cases[i].limit)});
        assert_near(state_number(run, "value_updates_applied"), cases[i].updates, 0);
        free(run);
    }
}

/* The limit holds for the mean over the tokens of the last epoch: not for their sum, which is some fifty
 * times as much, and not for the mean over all epochs so far, which is less. */
static void early_stop_takes_the_mean_of_an_epoch(void **state) {
    const fixture *f = *state;
    static const char *const epochs[] = {"ppo.epochs=1", "ppo.epochs=2"};
    double means[2];
    for (int i = 0; i < 2; i++) {
        char *run = tv_format("%s/mean-%d", f->hasty.planted.dir, i);
        train(&f->hasty,
              &(request){.run = run, .sets = TV_TEXTS("ppo.iterations=1", epochs[i], "train.lr=1e-3")});
        means[i] = tv_expect_metric(run, 1, "policy/approx_kl");
        free(run);
    }
    const double first = means[0], second = 2 * means[1] - means[0];
    assert_true(first > 0 && second > 1.2 * first);
    const struct {
        double limit, updates;
    } cases[] = {{first / 2, 2}, {(means[1] + second) / 2, 4}, {second * 2, 6}};
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *run = tv_format("%s/limit-%zu", f->hasty.planted.dir, i);
        char *limit = tv_format("ppo.early_stop_kl=%.9g", cases[i].limit);
        train(&f->hasty,
              &(request){.run = run,
                         .sets = TV_TEXTS("ppo.iterations=1", "ppo.epochs=3", "train.lr=1e-3", limit)});
        assert_near(state_number(run, "value_updates_applied"), cases[i].updates, 0);
        free(limit);
        free(run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_is_stored_as_the_policy_is),
        cmocka_unit_test(the_reward_model_is_stored_as_asked),
        cmocka_unit_test(gate_1_the_first_ratios_are_exactly_1),
        cmocka_unit_test(gate_2_without_a_rate_no_ratio_moves),
        cmocka_unit_test(early_stop_takes_the_mean_of_an_epoch),
        cmocka_unit_test(the_controller_follows_its_formula),
        cmocka_unit_test(responses_without_an_end),
        cmocka_unit_test(an_epoch_too_far_is_the_last),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
