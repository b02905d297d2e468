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

enum { NUMBERS = 7 }; /* of a step, and again of a validation */
static const char references_name[] = "reference_logprobs.safetensors";

typedef struct preference_optimisation {
    const tv_run *run;
    tv_preference_sets sets;
    tv_dpo_pairs train, val;
    tv_dpo_loss loss;
    tv_metric_number numbers[2 * NUMBERS];
} preference_optimisation;

/* ---- data ---- */

/* A pair, tie or not, or at least one answer that is better than another. */
static bool is_useful(const void *context, const tv_preference_group *group) {
    (void)context;
    return group->count == 2 || group->responses[group->count - 1].rank > 0;
}

static tv_status plan_batches(preference_optimisation *p, tv_run *run) {
    tv_defaults_of_data(&run->settings, p->train.count);
    const tv_train_settings *train = &run->settings.train;
    uint64_t rows = 2 * train->batch_size;
    p->train.shuffle = run->settings.data.shuffle;
    p->train.seed = train->seed;
    p->train.next = run->state.examples;
    run->total_steps = train->steps;
    if (!train->steps) {
        p->train.end = (uint64_t)ceil(train->epochs * (double)p->train.count);
        run->total_steps = tv_run_steps_to(run, p->train.end, train->batch_size * train->grad_accum);
    }
    TV_RETURN_IF_FAILED(tv_dpo_loss_choose(&run->settings, &p->loss));
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
        tv_preference_sets_open(&run->settings, run->tokenizer, most + 1, is_useful, NULL, &p->sets));
    TV_RETURN_IF_FAILED(tv_run_save_ends(run, &p->sets.sets[0]->ends));
    uint64_t tokens = tv_min_u64(tv_align_up(p->sets.longest - 1, TV_WIDTH_STEP), most);
    TV_RETURN_IF_FAILED(tv_dpo_pairs_create(&p->sets.train, tokens, &p->train));
    TV_RETURN_IF_FAILED(tv_dpo_pairs_create(&p->sets.val, tokens, &p->val));
    return plan_batches(p, run);
}

static void plan(void *self, const tv_run *run, tv_run_plan *plan) {
    const preference_optimisation *p = self;
    const tv_train_settings *train = &run->settings.train;
    uint64_t count = p->train.count, drawn = run->total_steps * train->batch_size * train->grad_accum;
    *plan = (tv_run_plan){.items = "pairs",
                          .count = count,
                          .held_out = p->val.count,
                          .left_out = p->sets.left_out,
                          .passes = (double)tv_min_u64(drawn, p->train.end) / (double)count};
    for (uint64_t i = 0; i < count; i++)
        plan->tokens += p->train.items[i].chosen->length + p->train.items[i].rejected->length - 2;
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
    tv_info("the reference's log-probabilities of %" PRIu64 " pairs", p->train.count + p->val.count);
    for (uint32_t i = 0; i < count; i++)
        TV_RETURN_IF_FAILED(tv_dpo_pairs_score(lists[i], run->settings.train.batch_size, run->trainer));
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

static tv_status next_batch(void *self, tv_micro_batch *batch) {
    preference_optimisation *p = self;
    tv_dpo_pairs_fill(&p->train, p->run->settings.train.batch_size, batch);
    return TV_OK;
}

static uint64_t position(const void *self) {
    return ((const preference_optimisation *)self)->train.next;
}

/* Means over the pairs of sums as the head keeps them. */
static void set_numbers(const double *sums, double pairs, const char *const names[NUMBERS],
                        tv_metric_number *numbers) {
    static const int columns[NUMBERS] = {TV_DPO_CHOSEN,   TV_DPO_REJECTED,       TV_DPO_MARGIN,
                                         TV_DPO_ACCURACY, TV_DPO_CHOSEN_LOGPROB, TV_DPO_REJECTED_LOGPROB,
                                         TV_DPO_NLL};
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = (tv_metric_number){names[i], pairs > 0 ? sums[columns[i]] / pairs : 0};
}

static void describe(void *self, const tv_run *run, const tv_step_result *result, tv_metrics_line *line) {
    static const char *const names[NUMBERS] = {"rewards/chosen",
                                               "rewards/rejected",
                                               "rewards/margins",
                                               "rewards/accuracies",
                                               "logps/chosen",
                                               "logps/rejected",
                                               "nll"};
    preference_optimisation *p = self;
    (void)run;
    set_numbers(result->stats, (double)result->terms, names, p->numbers);
    line->extra = p->numbers;
    line->extra_count = NUMBERS;
}

/* ---- evaluation ---- */

static bool has_evaluation(const void *self) {
    return ((const preference_optimisation *)self)->val.count > 0;
}

static tv_status next_val_batch(void *self, tv_micro_batch *batch) {
    preference_optimisation *p = self;
    tv_dpo_pairs_fill(&p->val, p->run->settings.train.batch_size, batch);
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
                                               "val_nll"};
    preference_optimisation *p = self;
    uint64_t batch_pairs = run->settings.train.batch_size, pairs = p->val.count;
    if (run->settings.train.eval_tokens)
        pairs = tv_min_u64(pairs, tv_div_up(run->settings.train.eval_tokens, 2 * p->val.tokens));
    p->val.next = 0;
    p->val.end = pairs;
    validation v = {.batch_pairs = batch_pairs};
    TV_RETURN_IF_FAILED(
        tv_trainer_forward(run->trainer, tv_div_up(pairs, batch_pairs), next_val_batch, p, add_outputs, &v));
    line->val_loss = v.sums[TV_DPO_LOSS] / v.pairs;
    line->has_val_loss = true;
    set_numbers(v.sums, v.pairs, names, p->numbers + NUMBERS);
    line->extra_count = 2 * NUMBERS;
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
