/* stages/dpo: the loss against the oracle over whole steps, what an untouched policy must give, that training
 * orders new pairs, and that the width of a micro-batch changes nothing.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle/preference.h"
#include "support/pair_runs.h"
#include "support/planted.h"

/* Every step trains on all pairs, so the loss of step k + 1 is the mean over them at the parameters of step
 * k. A response's sum of 5 to 9 log-probabilities of about -6 has an error of some 10 roundings of 4e-7,
 * times beta 0.5 that is 2e-6 of a loss below 1; 1e-5 are asked for. Ties are in the file.
 *
 * Tried on 2026-11-26, each fails here: the first response token left out, the end token left out, targets
 * one row later, references that are not subtracted, beta 0.1 for 0.5, a tie as a preference.
 */
static void the_loss_is_the_oracle_s(void **state) {
    enum { STEPS = 4 };
    for (int architecture = 0; architecture < 2; architecture++) {
        tv_planted planted = tv_planted_create(architecture ? TV_ARCH_LLAMA : TV_ARCH_GPT2);
        char *data = tv_planted_preferences(&planted, "pairs.jsonl", 0, 24, 2, true);
        char *run = tv_format("%s/run", planted.dir);
        tv_train_on_pairs(run, planted.base, data, NULL,
                          TV_TEXTS("train.batch_size=24", "train.steps=4", "train.lr=3e-3",
                                   "train.warmup_steps=0", "train.schedule=constant", "dpo.beta=0.5",
                                   "train.checkpoint_every=1", "train.keep=9"));
        tv_pair_file f = tv_pair_file_open(planted.base, data);
        assert_int_equal(f.pairs.count, 24);
        tv_metric_column losses = tv_metric_column_of(run, "loss"),
                         chosen = tv_metric_column_of(run, "rewards/chosen"),
                         rejected = tv_metric_column_of(run, "rewards/rejected"),
                         margins = tv_metric_column_of(run, "rewards/margins"),
                         accuracies = tv_metric_column_of(run, "rewards/accuracies");
        double *logprobs = calloc(4 * f.pairs.count, sizeof *logprobs),
               *references = logprobs + 2 * f.pairs.count;
        assert_non_null(logprobs);
        tv_pair_logprobs(*state, planted.base, &f.pairs, references);
        for (int step = 0; step < STEPS; step++) {
            tv_pair_logprobs_before(*state, planted.base, run, step, &f.pairs, logprobs);
            double sums[4] = {0}, pairs = (double)f.pairs.count;
            int ties = 0;
            for (uint64_t i = 0; i < f.pairs.count; i++) {
                double c = logprobs[2 * i] - references[2 * i],
                       r = logprobs[2 * i + 1] - references[2 * i + 1];
                double unused, target = (double)f.pairs.items[i].target;
                sums[0] += oracle_dpo(c, r, 0.5, target, &unused) / pairs;
                sums[1] += 0.5 * c / pairs;
                sums[2] += 0.5 * r / pairs;
                sums[3] += (c > r ? 1 : c < r ? 0 : 0.5) / pairs;
                ties += target < 1;
            }
            assert_in_range(ties, 1, 20);
            assert_near(losses.values[step], sums[0], 1e-5);
            assert_near(chosen.values[step], sums[1], 1e-5);
            assert_near(rejected.values[step], sums[2], 1e-5);
            assert_near(margins.values[step], sums[1] - sums[2], 1e-5);
            if (step)
                assert_near(accuracies.values[step], sums[3], 1e-7);
        }
        assert_true(losses.values[STEPS - 1] < losses.values[0] - 0.05);
        free(logprobs);
        tv_pair_file_close(&f);
        free(run);
        free(data);
        tv_planted_destroy(&planted);
    }
}

/* With a learning rate of 0 the policy stays its reference: in every step, whatever lies beside a pair and
 * wherever it lies, rewards are exactly 0 and the loss is ln 2 to the last bit of fp32. Pairs come in another
 * order than they were scored in, in micro-batches of 3.
 *
 * Tried on 2026-11-26, each fails here: references of the pair before; references that are not subtracted.
 */
static void an_untouched_policy_costs_ln_2(void **state) {
    (void)state;
    tv_planted planted = tv_planted_create(TV_ARCH_LLAMA);
    char *data = tv_planted_preferences(&planted, "pairs.jsonl", 0, 20, 4, false);
    char *val = tv_planted_preferences(&planted, "val.jsonl", 100, 9, 2, false);
    char *run = tv_format("%s/run", planted.dir);
    tv_train_on_pairs(run, planted.base, data, val,
                      TV_TEXTS("train.batch_size=3", "train.grad_accum=2", "train.steps=8", "train.lr=0",
                               "train.eval_every=3"));
    tv_metric_column losses = tv_metric_column_of(run, "loss"),
                     val_losses = tv_metric_column_of(run, "val_loss");
    for (uint64_t i = 0; i < losses.count; i++)
        assert_near(losses.values[i], log(2), 5e-8);
    for (uint64_t i = 0; i < val_losses.count; i++)
        assert_near(val_losses.values[i], log(2), 5e-8);
    static const char *const zero[] = {"rewards/chosen",     "rewards/rejected",     "rewards/margins",
                                       "val_rewards/chosen", "val_rewards/rejected", "val_rewards/margins"};
    for (size_t k = 0; k < TV_COUNT(zero); k++) {
        tv_metric_column c = tv_metric_column_of(run, zero[k]);
        for (uint64_t i = 0; i < c.count; i++)
            assert_true(c.values[i] == 0);
    }
    tv_metric_column accuracies = tv_metric_column_of(run, "rewards/accuracies");
    for (uint64_t i = 0; i < accuracies.count; i++)
        assert_true(accuracies.values[i] == 0.5);
    tv_free_all(run, val, data);
    tv_planted_destroy(&planted);
}

/* 96 prompts to learn from, 40 others that are held out. An untrained policy has a margin of 0 for each; one
 * that learned nothing would order half of them, within 5 * 0.5 / sqrt(40) = 0.4 either way. Measured on
 * lavapipe, 2026-11-26: 0.90 of them, margin 1.16.
 *
 * Tried on 2026-11-26: the gradient's sign turned.
 */
static void training_orders_new_pairs(void **state) {
    (void)state;
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *data = tv_planted_preferences(&planted, "pairs.jsonl", 0, 96, 2, false);
    char *val = tv_planted_preferences(&planted, "val.jsonl", 1000, 40, 2, false);
    char *run = tv_format("%s/run", planted.dir);
    tv_run_result result = tv_train_on_pairs(
        run, planted.base, data, val,
        TV_TEXTS("train.batch_size=8", "train.epochs=8", "train.lr=3e-3", "train.warmup_steps=4"));
    assert_true(result.finished);
    assert_int_equal(result.step, 96);
    tv_metric_column accuracies = tv_metric_column_of(run, "val_rewards/accuracies"),
                     margins = tv_metric_column_of(run, "val_rewards/margins");
    double accuracy = accuracies.values[accuracies.count - 1], margin = margins.values[margins.count - 1];
    print_message("held-out pairs in order %.3f, margin %.3f, val loss %.4f\n", accuracy, margin,
                  result.best_val_loss);
    if (!(accuracy >= 0.8) || !(margin > 0.5))
        fail_msg("%.3f of the held-out pairs are in order, margin %.4f", accuracy, margin);
    tv_free_all(run, val, data);
    tv_planted_destroy(&planted);
}

/* Pairs of very different lengths in one micro-batch as wide as the longest, or each in one of its own width:
 * the same step, and the same references. Sums of eight pairs in another order: 1e-6 of numbers about 1.
 *
 * Tried on 2026-11-27: every micro-batch narrowed to 4 tokens: fails. */
static void narrow_micro_batches_make_the_same_step(void **state) {
    (void)state;
    static const char *const keys[] = {"loss",           "grad_norm", "rewards/margins", "logps/chosen",
                                       "logps/rejected", "val_loss",  "val_logps/chosen"};
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *together = tv_format("%s/together", planted.dir), *apart = tv_format("%s/apart", planted.dir);
    char *data = tv_planted_uneven(&planted, "uneven.jsonl");
    tv_train_on_pairs(together, planted.base, data, data,
                      TV_TEXTS("data.seq_len=64", "train.batch_size=8", "train.steps=1"));
    tv_train_on_pairs(
        apart, planted.base, data, data,
        TV_TEXTS("data.seq_len=64", "train.batch_size=1", "train.grad_accum=8", "train.steps=1"));
    for (size_t i = 0; i < TV_COUNT(keys); i++) {
        double expected = tv_metric_column_of(together, keys[i]).values[0];
        assert_near(tv_metric_column_of(apart, keys[i]).values[0], expected, 1e-6 + 1e-6 * fabs(expected));
    }
    tv_free_all(data, apart, together);
    tv_planted_destroy(&planted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_is_the_oracle_s),
        cmocka_unit_test(an_untouched_policy_costs_ln_2),
        cmocka_unit_test(training_orders_new_pairs),
        cmocka_unit_test(narrow_micro_batches_make_the_same_step),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
