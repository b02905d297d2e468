/* Preference optimisation: see dpo.h. */
#include "stages/dpo.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/files.h"
#include "base/log.h"
#include "run/answer_ends.h"
#include "run/defaults.h"
#include "stages/dpo_losses.h"
#include "stages/dpo_pairs.h"
#include "stages/kto_examples.h"

enum { NUMBERS = 8 }; /* of a step, and again of a validation; the last is KTO's alone */
static const char references_name[] = "reference_logprobs.safetensors";

typedef struct preference_optimisation {
    const tv_run *run;
    tv_preference_sets sets;
    tv_dpo_pairs train, val;
    tv_dpo_loss loss;
    tv_kto_step step, val_step; /* where each answer is alone */
    tv_metric_number numbers[2 * NUMBERS];
} preference_optimisation;

/* ---- data ---- */

static bool is_kto(const preference_optimisation *p) {
    return p->run->settings.dpo.loss == TV_PREFERENCE_KTO;
}

/* Rows of a micro-batch that a pair, or an answer alone, takes. */
static uint64_t rows_of_each(const preference_optimisation *p) {
    return is_kto(p) ? 1 : 2;
}

/* An answer with a label; a pair, tie or not, or at least one answer that is better than another. */
static bool is_useful(const void *context, const tv_preference_group *group) {
    const preference_optimisation *p = context;
    return group->count == 1 || (group->count == 2 && !is_kto(p)) ||
           group->responses[group->count - 1].rank > 0;
}

static tv_status before_step(void *self, tv_run *run);

static tv_status plan_batches(preference_optimisation *p, tv_run *run) {
    tv_defaults_of_data(&run->settings, p->train.count);
    const tv_train_settings *train = &run->settings.train;
    uint64_t rows = rows_of_each(p) * train->batch_size;
    p->train.shuffle = run->settings.data.shuffle;
    p->train.seed = train->seed;
    p->train.next = run->state.examples;
    run->total_steps = train->steps;
    if (!train->steps) {
        p->train.end = (uint64_t)ceil(train->epochs * (double)p->train.count);
        run->total_steps = tv_run_steps_to(run, p->train.end, train->batch_size * train->grad_accum);
    }
    TV_RETURN_IF_FAILED(tv_dpo_loss_choose(&run->settings, &p->loss));
    run->before_step = is_kto(p) ? before_step : NULL;
    p->step.weights[0] = p->val_step.weights[0] = run->settings.dpo.undesirable_weight;
    p->step.weights[1] = p->val_step.weights[1] = run->settings.dpo.desirable_weight;
    run->trainer_options = (tv_trainer_options){.batch = rows,
                                                .tokens = p->train.tokens,
                                                .narrow = true,
                                                .head = tv_dpo_head,
                                                .head_settings = &p->loss};
    return TV_OK;
}

static tv_status open_data(void *self, tv_run *run) {
    preference_optimisation *p = self;
    uint64_t most = run->settings.data.seq_len;
    p->run = run;
    TV_RETURN_IF_FAILED(
        tv_preference_sets_open(&run->settings, run->tokenizer, most + 1, is_useful, p, &p->sets));
    TV_RETURN_IF_FAILED(tv_run_save_ends(run, &p->sets.sets[0]->ends));
    uint64_t tokens = tv_min_u64(tv_align_up(p->sets.longest - 1, TV_WIDTH_STEP), most);
    tv_status (*create)(const tv_preference_list *list, uint64_t tokens, tv_dpo_pairs *pairs) =
        is_kto(p) ? tv_kto_examples_create : tv_dpo_pairs_create;
    TV_RETURN_IF_FAILED(create(&p->sets.train, tokens, &p->train));
    TV_RETURN_IF_FAILED(create(&p->sets.val, tokens, &p->val));
    return plan_batches(p, run);
}

static void plan(void *self, const tv_run *run, tv_run_plan *plan) {
    const preference_optimisation *p = self;
    const tv_train_settings *train = &run->settings.train;
    uint64_t count = p->train.count, drawn = run->total_steps * train->batch_size * train->grad_accum;
    *plan = (tv_run_plan){.items = is_kto(p) ? "answers" : "pairs",
                          .count = count,
                          .held_out = p->val.count,
                          .left_out = p->sets.left_out,
                          .passes = (double)tv_min_u64(drawn, p->train.end) / (double)count};
    for (uint64_t i = 0; i < count; i++)
        plan->tokens +=
            p->train.items[i].chosen->length - 1 + (is_kto(p) ? 0 : p->train.items[i].rejected->length - 1);
    for (uint64_t i = 0; i < count; i += train->batch_size) {
        uint64_t longest = tv_dpo_pairs_longest(&p->train, i, train->batch_size) - 1;
        plan->slots += run->trainer_options.batch * tv_trainer_width(&run->trainer_options, longest);
    }
}

/* ---- the reference ---- */

/* The training list, and the validation list where there is one. */
static uint32_t lists_of(preference_optimisation *p, tv_dpo_pairs *lists[2]) {
    lists[0] = &p->train;
    lists[1] = &p->val;
    return p->val.count ? 2 : 1;
}

static tv_status begin(void *self, tv_run *run) {
    preference_optimisation *p = self;
    tv_dpo_pairs *lists[2];
    uint32_t count = lists_of(p, lists);
    if (!tv_dpo_loss_has_reference(&run->settings))
        return TV_OK;
    if (run->resumed) {
        char *path = tv_format("%s/%s", run->source_path, references_name);
        tv_status status = path ? tv_dpo_references_read(path, lists, count)
                                : tv_fail(TV_E_MEMORY, "out of host memory for a path");
        free(path);
        return status;
    }
    tv_info("the reference's log-probabilities of %" PRIu64 " %s", p->train.count + p->val.count,
            is_kto(p) ? "answers" : "pairs");
    for (uint32_t i = 0; i < count; i++)
        TV_RETURN_IF_FAILED((is_kto(p) ? tv_kto_examples_score : tv_dpo_pairs_score)(
            lists[i], run->settings.train.batch_size, run->trainer));
    return TV_OK;
}

static tv_status save(void *self, tv_run *run, const char *directory, bool last) {
    preference_optimisation *p = self;
    tv_dpo_pairs *lists[2];
    uint32_t count = lists_of(p, lists);
    (void)last;
    if (!tv_dpo_loss_has_reference(&run->settings))
        return TV_OK;
    char *path = tv_format("%s/%s", directory, references_name);
    tv_status status = path ? tv_dpo_references_write(path, (const tv_dpo_pairs *const *)lists, count)
                            : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    free(path);
    return status;
}

/* ---- steps ---- */

/* The point that a step's answers are measured from, by the policy before it. */
static tv_status before_step(void *self, tv_run *run) {
    preference_optimisation *p = self;
    const tv_train_settings *train = &run->settings.train;
    uint64_t count = tv_min_u64(train->batch_size * train->grad_accum, p->train.end - p->train.next);
    return tv_kto_step_begin(&p->train, p->train.next, count, train->batch_size, run->trainer, &p->step);
}

static void fill(preference_optimisation *p, tv_dpo_pairs *pairs, const tv_kto_step *step,
                 tv_micro_batch *batch) {
    if (is_kto(p))
        tv_kto_examples_fill(pairs, step, p->run->settings.train.batch_size, batch);
    else
        tv_dpo_pairs_fill(pairs, p->run->settings.train.batch_size, batch);
}

static tv_status next_batch(void *self, tv_micro_batch *batch) {
    preference_optimisation *p = self;
    fill(p, &p->train, &p->step, batch);
    return TV_OK;
}

static uint64_t position(const void *self) {
    return ((const preference_optimisation *)self)->train.next;
}

/* Means over the answers of either kind; of a kind that is not there 0. */
static uint64_t set_numbers_of_answers(const preference_optimisation *p, const tv_kto_step *step,
                                       const double *head, const char *const names[NUMBERS],
                                       tv_metric_number *numbers) {
    double sums[TV_DPO_STATS], n = (double)step->count, good = (double)step->desirable, bad = n - good;
    for (int c = 0; c < TV_DPO_STATS; c++)
        sums[c] = head[c];
    tv_kto_step_separate(step, (double)p->loss.beta, sums);
    const double chosen = sums[TV_DPO_CHOSEN] / fmax(good, 1),
                 rejected = sums[TV_DPO_REJECTED] / fmax(bad, 1);
    const double values[NUMBERS] = {chosen,
                                    rejected,
                                    chosen - rejected,
                                    sums[TV_DPO_ACCURACY] / fmax(n, 1),
                                    sums[TV_DPO_CHOSEN_LOGPROB] / fmax(good, 1),
                                    sums[TV_DPO_REJECTED_LOGPROB] / fmax(bad, 1),
                                    sums[TV_DPO_NLL] / fmax(good, 1),
                                    step->point};
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = (tv_metric_number){names[i], values[i]};
    return NUMBERS;
}

/* Means over the pairs of sums as the head keeps them; returns how many. */
static uint64_t set_numbers(const preference_optimisation *p, const tv_kto_step *step, const double *sums,
                            double pairs, const char *const names[NUMBERS], tv_metric_number *numbers) {
    static const int columns[NUMBERS - 1] = {TV_DPO_CHOSEN,   TV_DPO_REJECTED,       TV_DPO_MARGIN,
                                             TV_DPO_ACCURACY, TV_DPO_CHOSEN_LOGPROB, TV_DPO_REJECTED_LOGPROB,
                                             TV_DPO_NLL};
    if (is_kto(p))
        return set_numbers_of_answers(p, step, sums, names, numbers);
    for (int i = 0; i < NUMBERS - 1; i++)
        numbers[i] = (tv_metric_number){names[i], pairs > 0 ? sums[columns[i]] / pairs : 0};
    return NUMBERS - 1;
}

static void describe(void *self, const tv_run *run, const tv_step_result *result, tv_metrics_line *line) {
    static const char *const names[NUMBERS] = {"rewards/chosen",
                                               "rewards/rejected",
                                               "rewards/margins",
                                               "rewards/accuracies",
                                               "logps/chosen",
                                               "logps/rejected",
                                               "nll",
                                               "kl"};
    preference_optimisation *p = self;
    (void)run;
    line->extra = p->numbers;
    line->extra_count = set_numbers(p, &p->step, result->stats, (double)result->terms, names, p->numbers);
}

/* ---- evaluation ---- */

static bool has_evaluation(const void *self) {
    return ((const preference_optimisation *)self)->val.count > 0;
}

static tv_status next_val_batch(void *self, tv_micro_batch *batch) {
    preference_optimisation *p = self;
    fill(p, &p->val, &p->val_step, batch);
    return TV_OK;
}

typedef struct validation {
    uint64_t batch_pairs;
    double sums[TV_DPO_STATS], pairs;
} validation;

static tv_status add_outputs(void *context, const tv_micro_batch *batch,
                             const float *const outputs[TV_HEAD_TENSORS]) {
    validation *v = context;
    uint64_t there = tv_dpo_pairs_there(batch, v->batch_pairs);
    for (uint64_t p = 0; p < there; p++)
        for (int c = 0; c < TV_DPO_STATS; c++)
            v->sums[c] += (double)outputs[TV_DPO_PAIR_STATS][p * TV_DPO_STATS + (uint64_t)c];
    v->pairs += (double)there;
    return TV_OK;
}

static tv_status evaluate(void *self, tv_run *run, tv_metrics_line *line) {
    static const char *const names[NUMBERS] = {"val_rewards/chosen",
                                               "val_rewards/rejected",
                                               "val_rewards/margins",
                                               "val_rewards/accuracies",
                                               "val_logps/chosen",
                                               "val_logps/rejected",
                                               "val_nll",
                                               "val_kl"};
    preference_optimisation *p = self;
    uint64_t batch_pairs = run->settings.train.batch_size, pairs = p->val.count;
    if (run->settings.train.eval_tokens)
        pairs = tv_min_u64(pairs, tv_div_up(run->settings.train.eval_tokens, 2 * p->val.tokens));
    p->val.next = 0;
    p->val.end = pairs;
    if (is_kto(p))
        TV_RETURN_IF_FAILED(tv_kto_step_begin(&p->val, 0, pairs, batch_pairs, run->trainer, &p->val_step));
    validation v = {.batch_pairs = batch_pairs};
    TV_RETURN_IF_FAILED(
        tv_trainer_forward(run->trainer, tv_div_up(pairs, batch_pairs), next_val_batch, p, add_outputs, &v));
    line->val_loss = v.sums[TV_DPO_LOSS] / v.pairs;
    line->has_val_loss = true;
    line->extra_count += set_numbers(p, &p->val_step, v.sums, v.pairs, names, p->numbers + line->extra_count);
    return TV_OK;
}

static const tv_progress_number progress_numbers[] = {
    {"loss", "loss", TV_PROGRESS_LOSS, false},
    {"rewards/margins", "margin", TV_PROGRESS_SIGNED, false},
    {"rewards/accuracies", "accuracy", TV_PROGRESS_PERCENT, false},
    {"val_loss", "val", TV_PROGRESS_LOSS, true},
    {"val_rewards/accuracies", "val accuracy", TV_PROGRESS_PERCENT, true},
    {0}};

static const tv_stage stage = {
    .kind = TV_STAGE_DPO,
    .name = "dpo",
    .doing = "preference optimisation",
    .shown = progress_numbers,
    .needs_text = true,
    .needs_model = true,
    .no_data = "expected preferences, --data F or data.train, found none; docs/data.md shows the shapes",
    .open_data = open_data,
    .plan = plan,
    .begin = begin,
    .next = next_batch,
    .position = position,
    .has_evaluation = has_evaluation,
    .evaluate = evaluate,
    .describe = describe,
    .save = save,
};

tv_status tv_dpo_train(const tv_run_options *options, tv_run_result *result) {
    preference_optimisation p = {0};
    tv_status status = tv_run_stage(&stage, &p, options, result);
    tv_dpo_pairs_free(&p.train);
    tv_dpo_pairs_free(&p.val);
    tv_preference_sets_free(&p.sets);
    return status;
}
