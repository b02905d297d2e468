/* Gate 8: PPO on a planted task, through --reward-cmd. The reward is the share of one word among the words of
 * an answer, so the best is 1; the model that PPO starts from draws the word one time in eight.
 *
 * With a small coefficient of the KL it must reach 95 % of the best; with a large one it stays at the
 * reference; in between, more coefficient means less KL and no more reward.
 *
 * With TRIVIUM_TEST_ONCE four iterations in place of 20 will do, and what was learned is not judged.
 * TRIVIUM_SEED sets another seed (default 1). Measured on lavapipe with two cores that others used too,
 * 2026-11-26, seeds 1 to 5: from 0.06 to 0.17 to at least 0.986 in 10 to 18 s (20 iterations); where reward
 * and KL have a closed form between the ends, within 0.07 and 0.4 of it.
 *
 * GRPO on the same task, with as many answers an iteration, is at 95 % of the best for no more of the
 * device's time and with less of its memory (docs/grpo.md has the figures).
 *
 * Tried on 2026-11-26, each fails: the score's sign turned (-0.996); a coefficient of 0 (0.994 where 0.825 is
 * best).
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/os.h"
#include "stages/grpo/grpo.h"
#include "stages/ppo/ppo.h"
#include "support/answering.h"
#include "support/stage_run.h"

enum { ITERATIONS = 20, LAST = 4, MOST_WORDS = 3 };

typedef struct outcome {
    double first, score, kl; /* reward of the first iteration; reward and KL, mean of the last four */
} outcome;

static int iterations_wanted(void) {
    return tv_test_once() ? LAST : ITERATIONS;
}

static bool judged(void) {
    return iterations_wanted() == ITERATIONS;
}

/* What maximises E[r] - beta KL is p proportional to p_reference exp(r / beta). Of answers of one to three
 * words, each word the planted one in one of eight cases, its mean reward and KL. */
static void best_trade(double beta, double *reward, double *kl) {
    static const double choose[MOST_WORDS + 1][MOST_WORDS + 1] = {{1}, {1, 1}, {1, 2, 1}, {1, 3, 3, 1}};
    double sum = 0, weighted = 0, share = 1.0 / TV_ANSWERING_WORDS;
    for (int n = 1; n <= MOST_WORDS; n++)
        for (int k = 0; k <= n; k++) {
            double r = (double)k / n, p = choose[n][k] * pow(share, k) * pow(1 - share, n - k) / MOST_WORDS;
            sum += p * exp(r / beta);
            weighted += p * exp(r / beta) * r;
        }
    *reward = weighted / sum;
    *kl = *reward / beta - log(sum);
}

static outcome train(const tv_answering *place, const char *beta, double value) {
    char *run = tv_format("%s/beta-%s", place->planted.dir, beta);
    char *coefficient = tv_format("ppo.kl_coef=%s", beta),
         *data = tv_format("data.train=[\"%s\"]", place->prompts);
    const uint64_t count = (uint64_t)iterations_wanted();
    char *iterations = tv_format("ppo.iterations=%d", (int)count);
    const char *seed = getenv("TRIVIUM_SEED");
    char *seeded = tv_format("train.seed=%s", seed ? seed : "1");
    const char *const sets[] = {data,
                                coefficient,
                                iterations,
                                seeded,
                                "ppo.prompts=64",
                                "ppo.minibatch=32",
                                "ppo.epochs=4",
                                "ppo.max_new_tokens=8",
                                "ppo.temperature=1",
                                "train.batch_size=32",
                                "train.lr=3e-3",
                                "train.schedule=linear",
                                "train.min_lr=0",
                                "train.warmup_steps=0"};
    const tv_policy_options options = {
        .run = {.run = run, .init = place->model, .sets = sets, .set_count = TV_COUNT(sets)},
        .rewards = &(tv_reward_given){TV_REWARD_PROGRAM, place->reward},
        .reward_count = 1};
    tv_run_result result;
    double start = tv_seconds();
    assert_ok(tv_ppo_train(&options, &result));
    outcome o = {.first = tv_expect_metric(run, 1, "objective/score")};
    for (uint64_t i = count - LAST + 1; i <= count; i++) {
        o.score += tv_expect_metric(run, i, "objective/score") / LAST;
        o.kl += tv_expect_metric(run, i, "objective/kl") / LAST;
    }
    double best, best_kl;
    best_trade(value, &best, &best_kl);
    print_message("beta %-4s: reward %.3f to %.3f (at best %.3f), KL %.3f (%.3f), %.1f s\n", beta, o.first,
                  o.score, best, o.kl, best_kl, tv_seconds() - start);
    if (judged()) {
        assert_near(o.score, best, 0.12);
        assert_near(o.kl, best_kl, 0.6);
    }
    tv_free_all(seeded, iterations, data, coefficient, run);
    return o;
}

static void reward_against_kl(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value;
    } betas[] = {{"0.02", 0.02}, {"0.2", 0.2}, {"0.5", 0.5}, {"20", 20}};
    tv_log_set_level(TV_LOG_WARNING);
    tv_answering place = tv_answering_create(TV_ARCH_GPT2, 150);
    outcome o[TV_COUNT(betas)];
    for (size_t i = 0; i < TV_COUNT(betas); i++)
        o[i] = train(&place, betas[i].text, betas[i].value);
    tv_answering_destroy(&place);
    if (!judged())
        return;
    assert_true(o[0].first <= 0.3);
    assert_true(o[0].score >= 0.95);
    for (size_t i = 1; i < TV_COUNT(betas); i++) {
        assert_true(o[i].kl < o[i - 1].kl);
        assert_true(o[i].score < o[i - 1].score);
    }
    const outcome *held = &o[TV_COUNT(betas) - 1];
    assert_true(fabs(held->kl) < 0.15);
    assert_near(held->score, held->first, 0.15);
}

/* ---- PPO and GRPO side by side ---- */

typedef struct effort {
    double seconds; /* of the processors, which are the device here, up to the first iteration at 95 % */
    uint64_t iterations, bytes;
} effort;

static double processor_seconds(void) {
    return (double)clock() / CLOCKS_PER_SEC;
}

static effort until_95_per_cent(const tv_answering *place, bool grpo) {
    char *run = tv_answering_path(place, grpo ? "grpo" : "ppo"),
         *data = tv_format("data.train=[\"%s\"]", place->prompts),
         *iterations = tv_format("%s.iterations=%d", grpo ? "grpo" : "ppo", iterations_wanted());
    const char *const ppo_sets[] = {data,
                                    iterations,
                                    "ppo.prompts=64",
                                    "ppo.minibatch=32",
                                    "ppo.epochs=4",
                                    "ppo.kl_coef=0.02",
                                    "ppo.max_new_tokens=8",
                                    "ppo.temperature=1",
                                    "train.batch_size=32",
                                    "train.lr=3e-3",
                                    "train.warmup_steps=0"},
                      *const grpo_sets[] = {data,
                                            iterations,
                                            "grpo.prompts=8",
                                            "grpo.answers=8",
                                            "grpo.minibatch=32",
                                            "grpo.epochs=2",
                                            "grpo.max_new_tokens=8",
                                            "train.batch_size=32",
                                            "train.lr=3e-3"};
    tv_policy_options options = {.run = {.run = run, .init = place->model},
                                 .rewards = &(tv_reward_given){TV_REWARD_PROGRAM, place->reward},
                                 .reward_count = 1};
    options.run.sets = grpo ? grpo_sets : ppo_sets;
    options.run.set_count = grpo ? TV_COUNT(grpo_sets) : TV_COUNT(ppo_sets);
    tv_run_result result;
    const char *key = grpo ? "reward/mean" : "objective/score";
    double begin = processor_seconds(), seconds;
    assert_ok(grpo ? tv_grpo_train(&options, &result) : tv_ppo_train(&options, &result));
    seconds = processor_seconds() - begin;
    effort e = {.iterations = 1, .bytes = result.device_bytes};
    if (!judged())
        goto done;
    while (e.iterations < ITERATIONS && tv_expect_metric(run, e.iterations, key) < 0.95)
        e.iterations++;
    assert_true(tv_expect_metric(run, e.iterations, key) >= 0.95);
    e.seconds = seconds * (double)e.iterations / ITERATIONS;
    print_message(
        "%s: at 95 %% behind %d iterations of 64 answers, %.2f s of processors, %.2f MiB of device memory\n",
        grpo ? "GRPO" : "PPO", (int)e.iterations, e.seconds, (double)e.bytes / 1048576);
done:
    tv_free_all(iterations, data, run);
    return e;
}

static void grpo_needs_no_more_than_ppo(void **state) {
    (void)state;
    tv_log_set_level(TV_LOG_ERROR);
    tv_answering place = tv_answering_create(TV_ARCH_GPT2, 150);
    effort ppo = until_95_per_cent(&place, false), grpo = until_95_per_cent(&place, true);
    tv_answering_destroy(&place);
    if (judged())
        assert_true(grpo.seconds <= ppo.seconds);
    assert_true(grpo.bytes < ppo.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reward_against_kl),
                                       cmocka_unit_test(grpo_needs_no_more_than_ppo)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
