/* stages/dpo and stages/dpo_pairs: the loss against the oracle over whole steps, what an untouched policy
 * must give, that training orders new pairs, and which pairs a file gives.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/tokens.h"
#include "formats/load.h"
#include "oracle/preference.h"
#include "run/metrics.h"
#include "stages/dpo.h"
#include "stages/dpo_pairs.h"
#include "stages/kto_examples.h"
#include "support/planted.h"
#include "text/tokenizer_json.h"

enum { SEQ_LEN = 48, MOST_SETS = 12, LINES = 64 };

/* ---- what a run's metrics say ---- */

typedef struct column {
    const char *key;
    double values[LINES]; /* of the lines that have it */
    int count;
} column;

static bool add_line(void *context, const cJSON *line, uint64_t end) {
    column *c = context;
    (void)end;
    const cJSON *item = tv_json_get(line, c->key);
    if (cJSON_IsNumber(item) && c->count < LINES)
        c->values[c->count++] = item->valuedouble;
    return true;
}

static column metric(const char *run, const char *key) {
    column c = {.key = key};
    char *path = tv_format("%s/metrics.jsonl", run);
    assert_ok(tv_metrics_each(path, add_line, &c, NULL));
    free(path);
    if (c.count == 0)
        fail_msg("%s has no \"%s\"", run, key);
    return c;
}

static tv_run_result train(const char *run, const char *model, const char *data, const char *val,
                           const char *const *sets) {
    const char *all[MOST_SETS + 3] = {"data.seq_len=48"};
    char *train_set = tv_format("data.train=[\"%s\"]", data);
    char *val_set = val ? tv_format("data.val=[\"%s\"]", val) : NULL;
    uint64_t count = 1;
    all[count++] = train_set;
    if (val)
        all[count++] = val_set;
    for (int i = 0; sets[i] && i < MOST_SETS; i++)
        all[count++] = sets[i];
    const tv_run_options options = {.run = run, .init = model, .sets = all, .set_count = count};
    tv_run_result result;
    assert_ok(tv_dpo_train(&options, &result));
    free(train_set);
    free(val_set);
    return result;
}

/* ---- the loss of a checkpoint, by another way ---- */

/* Log-probabilities of responses from the cross-entropy that pretraining uses, a sequence at a time. */
typedef struct sequence {
    const tv_preference_response *response;
    double logprob;
} sequence;

static tv_status fill_sequence(void *context, tv_micro_batch *batch) {
    const tv_preference_response *r = ((const sequence *)context)->response;
    for (uint64_t t = 0; t < SEQ_LEN; t++) {
        batch->tokens[t] = t < r->length ? r->ids[t] : 0;
        bool counts = t + 1 >= r->prompt_length && t + 1 < r->length;
        batch->targets[t] = counts ? r->ids[t + 1] : TV_IGNORED_TARGET;
    }
    return TV_OK;
}

static double logprob_of(tv_trainer *trainer, const tv_preference_response *response) {
    sequence s = {.response = response};
    double losses;
    uint64_t targets;
    assert_ok(tv_trainer_evaluate(trainer, 1, fill_sequence, &s, NULL, NULL, &losses, &targets));
    assert_int_equal(targets, response->length - response->prompt_length);
    return -losses;
}

/* (count, 2): chosen and rejected of every pair. */
static void logprobs_of(tv_device *device, const char *directory, const tv_dpo_pairs *pairs,
                        double *logprobs) {
    tv_model_directory *source = NULL;
    tv_model *model = NULL;
    tv_trainer *trainer = NULL;
    assert_ok(tv_model_directory_open(directory, &source));
    assert_ok(tv_model_create(device, tv_model_directory_parameters(source), false, &model));
    assert_ok(tv_model_load(model, source));
    assert_ok(tv_trainer_create(
        model, &(tv_trainer_options){.stage = "test", .batch = 1, .tokens = SEQ_LEN, .grad_accum = 1},
        &trainer));
    for (uint64_t i = 0; i < pairs->count; i++) {
        logprobs[2 * i] = logprob_of(trainer, pairs->items[i].chosen);
        logprobs[2 * i + 1] = logprob_of(trainer, pairs->items[i].rejected);
    }
    tv_trainer_destroy(&trainer);
    tv_model_destroy(&model);
    tv_model_directory_close(&source);
}

typedef struct pair_file {
    tv_tokenizer *tokenizer;
    tv_preferences *set;
    const tv_preference_group **groups;
    tv_dpo_pairs pairs;
} pair_file;

static pair_file open_pairs(const char *model, const char *data) {
    pair_file f = {0};
    assert_ok(tv_tokenizer_load(model, &f.tokenizer));
    assert_ok(tv_preferences_read(
        &(tv_preferences_options){.paths = &data, .path_count = 1, .tokenizer = f.tokenizer}, &f.set));
    f.groups = calloc(f.set->count, sizeof *f.groups);
    assert_non_null(f.groups);
    for (uint64_t i = 0; i < f.set->count; i++)
        f.groups[i] = &f.set->groups[i];
    assert_ok(tv_dpo_pairs_create(&(tv_preference_list){f.groups, f.set->count}, SEQ_LEN, &f.pairs));
    return f;
}

static void close_pairs(pair_file *f) {
    tv_dpo_pairs_free(&f->pairs);
    free((void *)f->groups);
    tv_preferences_destroy(&f->set);
    tv_tokenizer_destroy(&f->tokenizer);
}

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
        train(run, planted.base, data, NULL,
              (const char *const[]){"train.batch_size=24", "train.steps=4", "train.lr=3e-3",
                                    "train.warmup_steps=0", "train.schedule=constant", "dpo.beta=0.5",
                                    "train.checkpoint_every=1", "train.keep=9", NULL});
        pair_file f = open_pairs(planted.base, data);
        assert_int_equal(f.pairs.count, 24);
        column losses = metric(run, "loss"), chosen = metric(run, "rewards/chosen"),
               rejected = metric(run, "rewards/rejected"), margins = metric(run, "rewards/margins"),
               accuracies = metric(run, "rewards/accuracies");
        double *logprobs = calloc(4 * f.pairs.count, sizeof *logprobs),
               *references = logprobs + 2 * f.pairs.count;
        assert_non_null(logprobs);
        logprobs_of(*state, planted.base, &f.pairs, references);
        for (int step = 0; step < STEPS; step++) {
            char *directory =
                step ? tv_format("%s/checkpoints/step-%d", run, step) : tv_format("%s", planted.base);
            logprobs_of(*state, directory, &f.pairs, logprobs);
            free(directory);
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
        close_pairs(&f);
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
    train(run, planted.base, data, val,
          (const char *const[]){"train.batch_size=3", "train.grad_accum=2", "train.steps=8", "train.lr=0",
                                "train.eval_every=3", NULL});
    column losses = metric(run, "loss"), val_losses = metric(run, "val_loss");
    for (int i = 0; i < losses.count; i++)
        assert_near(losses.values[i], log(2), 5e-8);
    for (int i = 0; i < val_losses.count; i++)
        assert_near(val_losses.values[i], log(2), 5e-8);
    static const char *const zero[] = {"rewards/chosen",     "rewards/rejected",     "rewards/margins",
                                       "val_rewards/chosen", "val_rewards/rejected", "val_rewards/margins"};
    for (size_t k = 0; k < TV_COUNT(zero); k++) {
        column c = metric(run, zero[k]);
        for (int i = 0; i < c.count; i++)
            assert_true(c.values[i] == 0);
    }
    column accuracies = metric(run, "rewards/accuracies");
    for (int i = 0; i < accuracies.count; i++)
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
    tv_run_result result = train(run, planted.base, data, val,
                                 (const char *const[]){"train.batch_size=8", "train.epochs=8",
                                                       "train.lr=3e-3", "train.warmup_steps=4", NULL});
    assert_true(result.finished);
    assert_int_equal(result.step, 96);
    column accuracies = metric(run, "val_rewards/accuracies"), margins = metric(run, "val_rewards/margins");
    double accuracy = accuracies.values[accuracies.count - 1], margin = margins.values[margins.count - 1];
    print_message("held-out pairs in order %.3f, margin %.3f, val loss %.4f\n", accuracy, margin,
                  result.best_val_loss);
    if (!(accuracy >= 0.8) || !(margin > 0.5))
        fail_msg("%.3f of the held-out pairs are in order, margin %.4f", accuracy, margin);
    tv_free_all(run, val, data);
    tv_planted_destroy(&planted);
}

/* ---- KTO ---- */

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

static pair_file open_examples(const char *model, const char *data) {
    pair_file f = {0};
    assert_ok(tv_tokenizer_load(model, &f.tokenizer));
    assert_ok(tv_preferences_read(
        &(tv_preferences_options){
            .paths = &data, .path_count = 1, .tokenizer = f.tokenizer, .unpaired = true},
        &f.set));
    f.groups = calloc(f.set->count, sizeof *f.groups);
    assert_non_null(f.groups);
    uint64_t count = 0;
    for (uint64_t i = 0; i < f.set->count; i++)
        if (f.set->groups[i].count == 1 || f.set->groups[i].responses[1].rank > 0)
            f.groups[count++] = &f.set->groups[i];
    assert_ok(tv_kto_examples_create(&(tv_preference_list){f.groups, count}, SEQ_LEN, &f.pairs));
    return f;
}

/* Every step trains on all answers; by labels, from pairs, whose better ones are desirable, and where only
 * what is undesirable counts, so that all answers become less likely and the point stays 0. As the_loss
 * above.
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
        pair_file f = open_examples(planted.base, data);
        const uint64_t count = f.pairs.count;
        assert_true(paired ? count > 8 && count < 24 : count == 12); /* of ties there are none */
        char *batch = tv_format("train.batch_size=%llu", (unsigned long long)count);
        train(run, planted.base, data, NULL,
              (const char *const[]){batch, "train.steps=4", "train.lr=3e-3", "train.warmup_steps=0",
                                    "train.schedule=constant", "dpo.loss=kto", "dpo.beta=0.5",
                                    "dpo.undesirable_weight=0.75",
                                    falls ? "dpo.desirable_weight=0" : "dpo.desirable_weight=1.5",
                                    "train.checkpoint_every=1", "train.keep=9", NULL});
        column losses = metric(run, "loss"), chosen = metric(run, "rewards/chosen"),
               rejected = metric(run, "rewards/rejected"), kls = metric(run, "kl");
        double *logprobs = calloc(4 * count, sizeof *logprobs), *references = logprobs + 2 * count, most = 0,
               least = 0;
        assert_non_null(logprobs);
        logprobs_of(*state, planted.base, &f.pairs, references);
        for (int step = 0; step < STEPS; step++) {
            char *directory =
                step ? tv_format("%s/checkpoints/step-%d", run, step) : tv_format("%s", planted.base);
            logprobs_of(*state, directory, &f.pairs, logprobs);
            free(directory);
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
        close_pairs(&f);
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
    train(one, planted.base, data, NULL,
          (const char *const[]){KTO, "train.batch_size=12", "train.lr=3e-3", NULL});
    train(four, planted.base, data, NULL,
          (const char *const[]){KTO, "train.batch_size=3", "train.grad_accum=4", "train.lr=3e-3", NULL});
    static const char *const keys[] = {"loss", "kl", "rewards/chosen", "rewards/rejected", "logps/chosen"};
    for (size_t k = 0; k < TV_COUNT(keys); k++) {
        column a = metric(one, keys[k]), b = metric(four, keys[k]);
        assert_int_equal(a.count, 4);
        for (int i = 0; i < 4; i++)
            assert_near(a.values[i], b.values[i], 2e-5 * (1 + fabs(a.values[i])));
    }
    train(still, planted.base, data, data,
          (const char *const[]){KTO, "train.batch_size=5", "train.lr=0", "dpo.desirable_weight=2", NULL});
    column kls = metric(still, "kl"), val_kls = metric(still, "val_kl"),
           val_losses = metric(still, "val_loss"), margins = metric(still, "rewards/margins");
    for (int i = 0; i < kls.count; i++)
        assert_true(kls.values[i] == 0 && margins.values[i] == 0);
    for (int i = 0; i < val_kls.count; i++)
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
    pair_file f = open_examples(planted.base, data);
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
    close_pairs(&f);
    free(data);
    tv_planted_destroy(&planted);
}

/* ---- pairs ---- */

static void pairs_of_ranked_answers(void **state) {
    (void)state;
    static const char lines[] = "{\"prompt\": \"Tell me.\", \"answers\": [{\"answer\": \" calm\", \"rank\": "
                                "1}, {\"answer\": \" foul\", "
                                "\"rank\": 3}, {\"answer\": \" happy\", \"rank\": 1}]}\n"
                                "{\"prompt\": \"Tell me.\", \"answers\": [{\"answer\": \" a\", \"rank\": 2}, "
                                "{\"answer\": \" b\", \"rank\": "
                                "1}]}\n"
                                "{\"prompt\": \"Tell me.\", \"answers\": [{\"answer\": \" a\", \"rank\": 1}, "
                                "{\"answer\": \" b\", \"rank\": "
                                "1}]}\n";
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *path = tv_format("%s/ranked.jsonl", planted.dir);
    assert_ok(tv_write_file(path, lines, sizeof lines - 1));
    pair_file f = open_pairs(planted.base, path);
    const tv_dpo_item *items = f.pairs.items;
    const tv_preference_response *first = f.set->groups[0].responses, *second = f.set->groups[1].responses;
    /* Two that beat the third, and no pair of the two; the better of two; a tie of two. */
    assert_int_equal(f.pairs.count, 4);
    assert_true(items[0].chosen == &first[0] && items[0].rejected == &first[2] && items[0].target == 1);
    assert_true(items[1].chosen == &first[1] && items[1].rejected == &first[2] && items[1].target == 1);
    assert_true(items[2].chosen == &second[0] && items[2].rejected == &second[1] && items[2].target == 1);
    assert_true(items[3].target == 0.5f);

    /* In a micro-batch: tokens from column 0, targets of the response and its end only, the table over them.
     */
    enum { PAIRS = 5 };
    uint32_t tokens[2 * PAIRS * SEQ_LEN], targets[2 * PAIRS * SEQ_LEN];
    struct tv_dpo_pair table[PAIRS];
    const uint64_t widths[] = {4, 5, 6, 7, 8, 9, 10, 11, 12, SEQ_LEN}, rows[TV_COUNT(widths)] = {0};
    tv_micro_batch batch = {.widths = widths,
                            .rows_at = rows,
                            .width = SEQ_LEN,
                            .tokens = tokens,
                            .inputs = {targets, table},
                            .targets = targets};
    f.pairs.end = 4;
    f.pairs.items[2].references[0] = -3;
    f.pairs.items[2].references[1] = -4;
    tv_dpo_pairs_fill(&f.pairs, PAIRS, &batch);
    assert_int_equal(batch.terms, 4);
    uint64_t longest = 0;
    for (int p = 0; p < 4; p++)
        longest = tv_max_u64(longest, tv_max_u64(items[p].chosen->length, items[p].rejected->length));
    assert_in_range(longest, 5, 13);
    assert_int_equal(batch.width, longest - 1);
    for (int p = 0; p < 4; p++)
        for (int k = 0; k < 2; k++) {
            const tv_preference_response *r = k ? items[p].rejected : items[p].chosen;
            uint32_t row = (uint32_t)(2 * p + k) * (uint32_t)batch.width;
            assert_memory_equal(tokens + row, r->ids, (r->length - 1) * sizeof *tokens);
            assert_int_equal(k ? table[p].rejected_first : table[p].chosen_first, row + r->prompt_length - 1);
            assert_int_equal(k ? table[p].rejected_count : table[p].chosen_count,
                             r->length - r->prompt_length);
            for (uint32_t t = 0; t < batch.width; t++)
                assert_int_equal(targets[row + t], t + 1 >= r->prompt_length && t + 1 < r->length
                                                       ? r->ids[t + 1]
                                                       : TV_IGNORED_TARGET);
        }
    assert_true(table[2].chosen_reference == -3 && table[2].rejected_reference == -4 &&
                table[3].target == 0.5f);
    assert_int_equal(table[4].chosen_count + table[4].rejected_count, 0);
    close_pairs(&f);
    free(path);
    tv_planted_destroy(&planted);
}

/* Each pair once a pass, in another order each time. */
static void every_pair_is_seen_once_a_pass(void **state) {
    (void)state;
    enum { COUNT = 30, BATCH = 4 };
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *data = tv_planted_preferences(&planted, "pairs.jsonl", 0, COUNT, 2, false);
    pair_file f = open_pairs(planted.base, data);
    f.pairs.shuffle = true;
    f.pairs.seed = 5;
    f.pairs.end = 2 * COUNT;
    for (int i = 0; i < COUNT; i++)
        f.pairs.items[i].references[0] = (float)i;
    uint32_t tokens[2 * BATCH * SEQ_LEN], targets[2 * BATCH * SEQ_LEN];
    struct tv_dpo_pair table[BATCH];
    const uint64_t widths[] = {SEQ_LEN}, rows[] = {2 * BATCH};
    tv_micro_batch batch = {.widths = widths,
                            .rows_at = rows,
                            .width = SEQ_LEN,
                            .tokens = tokens,
                            .inputs = {targets, table},
                            .targets = targets};
    int order[2 * COUNT], seen[COUNT] = {0}, count = 0;
    for (int fill = 0; fill < 2 * COUNT / BATCH + 2; fill++) {
        tv_dpo_pairs_fill(&f.pairs, BATCH, &batch);
        for (uint64_t p = 0; p < batch.terms; p++)
            order[count++] = (int)table[p].chosen_reference;
    }
    assert_int_equal(count, 2 * COUNT);
    assert_int_equal(f.pairs.next, 2 * COUNT); /* and no further: more epochs go on from here */
    for (int i = 0; i < COUNT; i++) {
        seen[order[i]] += 1;
        seen[order[COUNT + i]] += 100;
    }
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(seen[i], 101);
    assert_true(memcmp(order, order + COUNT, COUNT * sizeof *order) != 0);
    close_pairs(&f);
    free(data);
    tv_planted_destroy(&planted);
}

/* References go through their file bit for bit, and only to the pairs that they are of. */
static void references_belong_to_their_pairs(void **state) {
    (void)state;
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *data = tv_planted_preferences(&planted, "pairs.jsonl", 0, 9, 2, false);
    char *others = tv_planted_preferences(&planted, "others.jsonl", 1, 9, 2, false);
    char *path = tv_format("%s/references.safetensors", planted.dir);
    pair_file a = open_pairs(planted.base, data), b = open_pairs(planted.base, data),
              c = open_pairs(planted.base, others);
    for (uint64_t i = 0; i < 9; i++)
        for (int k = 0; k < 2; k++)
            a.pairs.items[i].references[k] = c.pairs.items[i].references[k] =
                -1.0f / (float)(1 + 2 * i + (uint64_t)k);
    const tv_dpo_pairs *written[] = {&a.pairs, &c.pairs};
    assert_ok(tv_dpo_references_write(path, written, 2));
    tv_dpo_pairs *read[] = {&b.pairs, &c.pairs};
    assert_ok(tv_dpo_references_read(path, read, 2));
    for (uint64_t i = 0; i < 9; i++)
        assert_memory_equal(b.pairs.items[i].references, a.pairs.items[i].references, 2 * sizeof(float));
    tv_dpo_pairs *swapped[] = {&c.pairs, &b.pairs};
    assert_fails(tv_dpo_references_read(path, swapped, 2), TV_E_DATA, "other pairs");
    close_pairs(&a);
    close_pairs(&b);
    close_pairs(&c);
    tv_free_all(path, others, data);
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
    train(together, planted.base, data, data,
          (const char *const[]){"data.seq_len=64", "train.batch_size=8", "train.steps=1", NULL});
    train(apart, planted.base, data, data,
          (const char *const[]){"data.seq_len=64", "train.batch_size=1", "train.grad_accum=8",
                                "train.steps=1", NULL});
    for (size_t i = 0; i < TV_COUNT(keys); i++) {
        double expected = metric(together, keys[i]).values[0];
        assert_near(metric(apart, keys[i]).values[0], expected, 1e-6 + 1e-6 * fabs(expected));
    }
    tv_free_all(data, apart, together);
    tv_planted_destroy(&planted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_of_ranked_answers),
        cmocka_unit_test(every_pair_is_seen_once_a_pass),
        cmocka_unit_test(references_belong_to_their_pairs),
        cmocka_unit_test(the_loss_is_the_oracle_s),
        cmocka_unit_test(an_untouched_policy_costs_ln_2),
        cmocka_unit_test(kto_s_loss_is_the_oracle_s),
        cmocka_unit_test(kto_s_steps_accumulate),
        cmocka_unit_test(kto_s_mismatched_answers),
        cmocka_unit_test(training_orders_new_pairs),
        cmocka_unit_test(narrow_micro_batches_make_the_same_step),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
