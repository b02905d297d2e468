/* Gate 8: PPO on a planted task, through --reward-cmd. The reward is the share of one word among the words of
 * an answer, so the best is 1; the model that PPO starts from draws the word one time in eight.
 *
 * With a small coefficient of the KL it must reach 95 % of the best; with a large one it stays at the
 * reference; in between, more coefficient means less KL and no more reward.
 *
 * TRIVIUM_SEED sets another seed (default 1). Measured on lavapipe with two cores that others used too,
 * 2026-11-26, seeds 1 to 5: from 0.06 to 0.17 to at least 0.986 in 10 to 18 s (20 iterations); where reward
 * and KL have a closed form between the ends, within 0.07 and 0.4 of it.
 *
 * Tried on 2026-11-26, each fails: the score's sign turned (-0.996); a coefficient of 0 (0.994 where 0.825 is
 * best).
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/os.h"
#include "stages/ppo/ppo.h"
#include "support/answering.h"

enum { ITERATIONS = 20, LAST = 4, MOST_WORDS = 3 };

typedef struct outcome {
    double first, score, kl; /* reward of the first iteration; reward and KL, mean of the last four */
} outcome;

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
    char *iterations = tv_format("ppo.iterations=%d", ITERATIONS);
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
    const tv_ppo_options options = {
        .run = {.run = run, .init = place->model, .sets = sets, .set_count = TV_COUNT(sets)},
        .reward_command = place->reward};
    tv_run_result result;
    double start = tv_seconds();
    assert_ok(tv_ppo_train(&options, &result));
    outcome o = {.first = tv_expect_metric(run, 1, "objective/score")};
    for (uint64_t i = ITERATIONS - LAST + 1; i <= ITERATIONS; i++) {
        o.score += tv_expect_metric(run, i, "objective/score") / LAST;
        o.kl += tv_expect_metric(run, i, "objective/kl") / LAST;
    }
    double best, best_kl;
    best_trade(value, &best, &best_kl);
    print_message("beta %-4s: reward %.3f to %.3f (at best %.3f), KL %.3f (%.3f), %.1f s\n", beta, o.first,
                  o.score, best, o.kl, best_kl, tv_seconds() - start);
    assert_near(o.score, best, 0.12);
    assert_near(o.kl, best_kl, 0.6);
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reward_against_kl)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
