/* Stage 2: see sft.h. */
#include "stages/sft.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/tokens.h"
#include "model/heads.h"
#include "run/answer_ends.h"
#include "run/defaults.h"
#include "stages/example_rows.h"
#include "text/split.h"

enum { EXTRA_COUNT = 2 };

typedef struct fine_tuning {
    const tv_run *run;
    tv_examples *train, *val;
    tv_example_rows train_rows, val_rows;
    tv_metric_number extra[EXTRA_COUNT];
} fine_tuning;

/* ---- data ---- */

static tv_status read_examples(const tv_run *run, const tv_data_source *sources, uint64_t count,
                               tv_examples **examples) {
    const char **paths = tv_data_paths(sources, count);
    if (!paths)
        return tv_fail(TV_E_MEMORY, "out of host memory for the list of data");
    tv_status status = tv_examples_read(&(tv_examples_options){.paths = paths,
                                                               .path_count = count,
                                                               .tokenizer = run->tokenizer,
                                                               .max_tokens = run->settings.data.seq_len + 1},
                                        examples);
    tv_free_paths(&paths);
    return tv_fail_advice(status, TV_E_FIT, "raise data.seq_len");
}

/* What identifies an example's prompt: the tokens before the first that is trained. */
static uint64_t prompt_hash(const tv_example *example) {
    uint64_t length = 0;
    while (length < example->length && !example->trained[length])
        length++;
    return tv_hash_bytes(example->ids, length * sizeof *example->ids, 0);
}

static void count_in(tv_examples *examples, const tv_example *example) {
    examples->items[examples->count++] = *example;
    examples->tokens += example->length;
    for (uint64_t i = 0; i < example->length; i++)
        examples->trained_tokens += example->trained[i];
}

/* Moves a share of the prompts' examples from f->train to f->val, whose items go on pointing into f->train.
 */
static tv_status hold_out(fine_tuning *f, double fraction, uint64_t seed) {
    uint64_t count = f->train->count;
    uint64_t *hashes = calloc(count, sizeof *hashes);
    uint8_t *held_out = calloc(count, 1);
    f->val = calloc(1, sizeof *f->val);
    if (f->val)
        f->val->items = calloc(count, sizeof *f->val->items);
    tv_status status = hashes && held_out && f->val && f->val->items
                           ? TV_OK
                           : tv_fail(TV_E_MEMORY, "out of host memory for examples that are held out");
    for (uint64_t i = 0; status == TV_OK && i < count; i++)
        hashes[i] = prompt_hash(&f->train->items[i]);
    if (status == TV_OK)
        status = tv_split_by_prompt(hashes, count, seed, fraction, held_out);
    if (status == TV_OK) {
        f->train->count = f->train->tokens = f->train->trained_tokens = 0;
        for (uint64_t i = 0; i < count; i++) {
            const tv_example example = f->train->items[i];
            count_in(held_out[i] ? f->val : f->train, &example);
        }
        tv_info("%" PRIu64 " examples are held out to validate with", f->val->count);
    }
    free(hashes);
    free(held_out);
    return status;
}

static uint64_t longest_of(const tv_examples *examples) {
    uint64_t longest = 0;
    for (uint64_t i = 0; examples && i < examples->count; i++)
        longest = tv_max_u64(longest, examples->items[i].length);
    return longest;
}

static tv_status open_data(void *self, tv_run *run) {
    fine_tuning *f = self;
    const tv_data_settings *data = &run->settings.data;
    const tv_train_settings *train = &run->settings.train;
    bool packing = run->settings.sft.packing;
    f->run = run;
    TV_RETURN_IF_FAILED(read_examples(run, data->train, data->train_count, &f->train));
    TV_RETURN_IF_FAILED(tv_run_save_ends(run, &f->train->ends));
    if (data->val_count)
        TV_RETURN_IF_FAILED(read_examples(run, data->val, data->val_count, &f->val));
    else if (data->val_fraction > 0)
        TV_RETURN_IF_FAILED(hold_out(f, data->val_fraction, train->seed));
    tv_defaults_of_length(&run->settings, tv_max_u64(longest_of(f->train), longest_of(f->val)) - 1,
                          f->train->tokens);
    TV_RETURN_IF_FAILED(tv_example_rows_create(f->train, data->seq_len, packing, &f->train_rows));
    if (f->val)
        TV_RETURN_IF_FAILED(tv_example_rows_create(f->val, data->seq_len, packing, &f->val_rows));
    tv_defaults_of_data(&run->settings, f->train_rows.packing.packs);
    f->train_rows.shuffle = data->shuffle;
    f->train_rows.seed = train->seed;
    f->train_rows.next = run->state.examples;
    uint64_t packs = f->train_rows.packing.packs, step_rows = train->batch_size * train->grad_accum;
    run->total_steps = train->steps;
    if (!train->steps) {
        f->train_rows.end = (uint64_t)ceil(train->epochs * (double)packs);
        run->total_steps = tv_run_steps_to(run, f->train_rows.end, step_rows);
    }
    if (packing)
        tv_info("packed into %" PRIu64 " rows of %" PRIu64 " tokens, %.0f %% filled", packs, data->seq_len,
                100 * (double)(f->train->tokens - f->train->count) / (double)(packs * data->seq_len));
    run->trainer_options = (tv_trainer_options){
        .batch = train->batch_size,
        .tokens = data->seq_len,
        .head = tv_language_accuracy_head,
        .document_mask = packing,
        .positions = packing,
    };
    return TV_OK;
}

static void plan(void *self, const tv_run *run, tv_run_plan *plan) {
    const fine_tuning *f = self;
    const tv_train_settings *train = &run->settings.train;
    uint64_t packs = f->train_rows.packing.packs, rows = train->batch_size * train->grad_accum;
    const tv_examples *sets[] = {f->train, f->val};
    *plan = (tv_run_plan){.items = "examples",
                          .count = f->train->count,
                          .held_out = f->val ? f->val->count : 0,
                          .tokens = f->train->tokens - f->train->count,
                          .trained_tokens = f->train->trained_tokens,
                          .slots = packs * run->settings.data.seq_len,
                          .passes =
                              (double)tv_min_u64(run->total_steps * rows, f->train_rows.end) / (double)packs};
    for (int s = 0; s < 2 && sets[s]; s++) {
        plan->cut += sets[s]->truncated;
        plan->left_out += sets[s]->dropped;
    }
}

/* ---- steps ---- */

static tv_status next_batch(void *self, tv_micro_batch *batch) {
    fine_tuning *f = self;
    tv_example_rows_fill(&f->train_rows, f->run->settings.train.batch_size, batch);
    return TV_OK;
}

static void describe(void *self, const tv_run *run, const tv_step_result *result, tv_metrics_line *line) {
    fine_tuning *f = self;
    (void)run;
    f->extra[0] = (tv_metric_number){
        "mean_token_accuracy",
        result->terms ? result->stats[TV_LANGUAGE_HITS] / (double)result->terms : 0,
    };
    line->extra = f->extra;
    line->extra_count = 1;
}

static uint64_t position(const void *self) {
    return ((const fine_tuning *)self)->train_rows.next;
}

/* ---- evaluation ---- */

static bool has_evaluation(const void *self) {
    return ((const fine_tuning *)self)->val != NULL;
}

static tv_status next_val_batch(void *self, tv_micro_batch *batch) {
    fine_tuning *f = self;
    tv_example_rows_fill(&f->val_rows, f->run->settings.train.batch_size, batch);
    return TV_OK;
}

typedef struct validation {
    uint64_t rows, targets;
    double losses, hits;
} validation;

static tv_status add_outputs(void *context, const tv_micro_batch *batch,
                             const float *const outputs[TV_HEAD_TENSORS]) {
    validation *sum = context;
    for (uint64_t i = 0; i < sum->rows; i++) {
        if (batch->targets[i] == TV_IGNORED_TARGET)
            continue;
        sum->losses += (double)outputs[TV_LANGUAGE_LOSSES][i];
        sum->hits += (double)outputs[TV_LANGUAGE_HITS][i];
        sum->targets++;
    }
    return TV_OK;
}

static tv_status evaluate(void *self, tv_run *run, tv_metrics_line *line) {
    fine_tuning *f = self;
    uint64_t batch_size = run->settings.train.batch_size, rows = f->val_rows.packing.packs;
    if (run->settings.train.eval_tokens)
        rows = tv_min_u64(rows, tv_div_up(run->settings.train.eval_tokens, run->settings.data.seq_len));
    f->val_rows.next = 0;
    f->val_rows.end = rows;
    validation sum = {.rows = batch_size * run->settings.data.seq_len};
    TV_RETURN_IF_FAILED(
        tv_trainer_forward(run->trainer, tv_div_up(rows, batch_size), next_val_batch, f, add_outputs, &sum));
    double targets = (double)tv_max_u64(sum.targets, 1);
    line->has_val_loss = true;
    line->val_loss = sum.losses / targets;
    f->extra[1] = (tv_metric_number){"val_mean_token_accuracy", sum.hits / targets};
    line->extra_count = 2;
    return TV_OK;
}

static const tv_stage stage = {
    .kind = TV_STAGE_SFT,
    .name = "sft",
    .doing = "fine-tuning",
    .needs_text = true,
    .needs_model = true,
    .no_data = "expected demonstrations, --data F or data.train, found none; docs/data.md shows the shapes",
    .open_data = open_data,
    .plan = plan,
    .next = next_batch,
    .position = position,
    .has_evaluation = has_evaluation,
    .evaluate = evaluate,
    .describe = describe,
};

tv_status tv_sft(const tv_run_options *options, tv_run_result *result) {
    fine_tuning f = {0};
    tv_status status = tv_run_stage(&stage, &f, options, result);
    tv_example_rows_free(&f.train_rows);
    tv_example_rows_free(&f.val_rows);
    tv_examples_destroy(&f.train);
    tv_examples_destroy(&f.val);
    return status;
}
