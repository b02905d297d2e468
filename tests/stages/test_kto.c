/* stages/dpo with dpo.loss=kto: the loss and its point against the oracle over whole steps, the same in
 * micro-batches, and which answer a mismatched pair is made of.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "oracle/preference.h"
#include "support/pair_runs.h"
#include "support/planted.h"

/* Twelve answers by themselves; the third and fourth have one prompt, and so have the last and the first. */
static char *write_labelled(const tv_planted *planted) {
    static const char *const words[] = {"calm", "foul happy", "bright", "grim grim calm", "kind", "dull"};
    char *path = tv_format("%s/labelled.jsonl", planted->dir), *lines = tv_format("%s", "");
    for (int i = 0; i < 12; i++) {
        int prompt = i == 3 ? 2 : i == 11 ? 0 : i;
        char *longer =
            tv_format("%s{\"prompt\": \"Tell me of %d.\", \"completion\": \" %s\", \"label\": %s}\n", lines,
                      prompt, words[i % 6], i % 3 == 1 ? "false" : "true");
        free(lines);
        lines = longer;
    }
    assert_ok(tv_write_file(path, lines, strlen(lines)));
    free(lines);
    return path;
}

/* Every step trains on all answers; by labels, from pairs, whose better ones are desirable, and where only
 * what is undesirable counts, so that all answers become less likely and the point stays 0. As in
 * test_dpo.c.
 *
 * Tried on 2026-11-29, each fails here or in the next two: a point below 0; one that is always 0; the
 * answer's own reference in place of the mismatched one's; the answer before, whatever its prompt; weights
 * exchanged; the point's sign; a point of the first micro-batch alone; sums that are not separated.
 */
static void kto_s_loss_is_the_oracle_s(void **state) {
    enum { STEPS = 4 };
    for (int variant = 0; variant < 3; variant++) {
        const bool paired = variant == 1, falls = variant == 2;
        const double weights[2] = {0.75, falls ? 0 : 1.5};
        tv_planted planted = tv_planted_create(paired ? TV_ARCH_LLAMA : TV_ARCH_GPT2);
        char *data = paired ? tv_planted_preferences(&planted, "pairs.jsonl", 0, 12, 2, true)
                            : write_labelled(&planted);
        char *run = tv_format("%s/run", planted.dir);
        tv_pair_file f = tv_pair_file_open_examples(planted.base, data);
        const uint64_t count = f.pairs.count;
        assert_true(paired ? count > 8 && count < 24 : count == 12); /* of ties there are none */
        char *batch = tv_format("train.batch_size=%llu", (unsigned long long)count);
        tv_train_on_pairs(run, planted.base, data, NULL,
                          TV_TEXTS(batch, "train.steps=4", "train.lr=3e-3", "train.warmup_steps=0",
                                   "train.schedule=constant", "dpo.loss=kto", "dpo.beta=0.5",
                                   "dpo.undesirable_weight=0.75",
                                   falls ? "dpo.desirable_weight=0" : "dpo.desirable_weight=1.5",
                                   "train.checkpoint_every=1", "train.keep=9"));
        tv_metric_column losses = tv_metric_column_of(run, "loss"),
                         chosen = tv_metric_column_of(run, "rewards/chosen"),
                         rejected = tv_metric_column_of(run, "rewards/rejected"),
                         kls = tv_metric_column_of(run, "kl");
        double *logprobs = calloc(4 * count, sizeof *logprobs), *references = logprobs + 2 * count, most = 0,
               least = 0;
        assert_non_null(logprobs);
        tv_pair_logprobs(*state, planted.base, &f.pairs, references);
        for (int step = 0; step < STEPS; step++) {
            tv_pair_logprobs_before(*state, planted.base, run, step, &f.pairs, logprobs);
            double point = 0, loss = 0, sums[2] = {0}, counts[2] = {0};
            for (uint64_t i = 0; i < count; i++)
                point += (logprobs[2 * i + 1] - references[2 * i + 1]) / (double)count;
            least = fmin(least, point);
            point = fmax(point, 0);
            for (uint64_t i = 0; i < count; i++) {
                bool good = f.pairs.items[i].target > 0.5f;
                double slopes[2], ratio = logprobs[2 * i] - references[2 * i];
                const oracle_preference p = {.kind = ORACLE_KTO,
                                             .beta = 0.5,
                                             .weight = weights[good],
                                             .target = good,
                                             .chosen = ratio,
                                             .point = point};
                loss += oracle_preference_loss_of(&p, slopes) / (double)count;
                sums[good] += 0.5 * ratio;
                counts[good]++;
            }
            assert_near(losses.values[step], loss, 1e-5);
            assert_near(chosen.values[step], sums[1] / counts[1], 2e-5);
            assert_near(rejected.values[step], sums[0] / counts[0], 2e-5);
            assert_near(kls.values[step], point, 2e-5);
            most = fmax(most, point);
        }
        assert_true(falls ? least < -0.01 && most == 0 : most > 0.01);
        assert_true(losses.values[STEPS - 1] < losses.values[0] - 0.02);
        free(logprobs);
        tv_pair_file_close(&f);
        tv_free_all(run, data, batch);
        tv_planted_destroy(&planted);
    }
}

/* The point is a whole step's: four micro-batches of three are one of twelve. An untouched policy costs half
 * the mean weight, exactly, and its point is 0. */
static void kto_s_steps_accumulate(void **state) {
    (void)state;
    tv_planted planted = tv_planted_create(TV_ARCH_LLAMA);
    char *data = write_labelled(&planted), *one = tv_format("%s/one", planted.dir),
         *four = tv_format("%s/four", planted.dir), *still = tv_format("%s/still", planted.dir);
#define KTO "dpo.loss=kto", "train.steps=4", "train.warmup_steps=0", "train.schedule=constant"
    tv_train_on_pairs(one, planted.base, data, NULL, TV_TEXTS(KTO, "train.batch_size=12", "train.lr=3e-3"));
    tv_train_on_pairs(four, planted.base, data, NULL,
                      TV_TEXTS(KTO, "train.batch_size=3", "train.grad_accum=4", "train.lr=3e-3"));
    static const char *const keys[] = {"loss", "kl", "rewards/chosen", "rewards/rejected", "logps/chosen"};
    for (size_t k = 0; k < TV_COUNT(keys); k++) {
        tv_metric_column a = tv_metric_column_of(one, keys[k]), b = tv_metric_column_of(four, keys[k]);
        assert_int_equal(a.count, 4);
        for (int i = 0; i < 4; i++)
            assert_near(a.values[i], b.values[i], 2e-5 * (1 + fabs(a.values[i])));
    }
    tv_train_on_pairs(still, planted.base, data, data,
                      TV_TEXTS(KTO, "train.batch_size=5", "train.lr=0", "dpo.desirable_weight=2"));
    tv_metric_column kls = tv_metric_column_of(still, "kl"), val_kls = tv_metric_column_of(still, "val_kl"),
                     val_losses = tv_metric_column_of(still, "val_loss"),
                     margins = tv_metric_column_of(still, "rewards/margins");
    for (uint64_t i = 0; i < kls.count; i++)
        assert_true(kls.values[i] == 0 && margins.values[i] == 0);
    for (uint64_t i = 0; i < val_kls.count; i++)
        assert_true(val_kls.values[i] == 0 && fabs(val_losses.values[i] - 0.5 * (8 * 2 + 4) / 12) < 1e-7);
    tv_free_all(data, one, four, still);
    tv_planted_destroy(&planted);
}

static void kto_s_mismatched_answers(void **state) {
    (void)state;
    /* Of 2 and 3, which have one prompt, both get answer 1; 0 gets that of 10, for 11 has its prompt. */
    static const uint64_t others[] = {10, 0, 1, 1, 3, 4, 5, 6, 7, 8, 9, 10};
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *data = write_labelled(&planted);
    tv_pair_file f = tv_pair_file_open_examples(planted.base, data);
    for (uint64_t i = 0; i < 12; i++) {
        const tv_preference_response *own = f.pairs.items[i].chosen, *made = f.pairs.items[i].rejected,
                                     *other = f.pairs.items[others[i]].chosen;
        assert_true(f.pairs.items[i].target == (i % 3 == 1 ? 0 : 1));
        assert_int_equal(made->prompt_length, own->prompt_length);
        assert_int_equal(made->length - made->prompt_length, other->length - other->prompt_length);
        assert_memory_equal(made->ids, own->ids, own->prompt_length * sizeof *own->ids);
        assert_memory_equal(made->ids + made->prompt_length, other->ids + other->prompt_length,
                            (other->length - other->prompt_length) * sizeof *own->ids);
    }
    tv_pair_file_close(&f);
    free(data);
    tv_planted_destroy(&planted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kto_s_loss_is_the_oracle_s),
        cmocka_unit_test(kto_s_steps_accumulate),
        cmocka_unit_test(kto_s_mismatched_answers),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
