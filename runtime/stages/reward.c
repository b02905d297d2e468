/* Stage 3d: see reward.h. */
#include "stages/reward.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "formats/load.h"
#include "model/score_head.h"
#include "reward/model.h"
#include "run/defaults.h"
#include "stages/preference_sets.h"
#include "text/by_length.h"

/* Responses that reward.json speaks of, at most: enough for a deviation within 2 %, few enough to be scored
 * at every checkpoint. */
enum { REFERENCE_RESPONSES = 1024 };

/* What the groups of a pass gave. */
typedef struct totals {
    double loss, accuracy, margin, strict, values, members, least, most;
    uint64_t groups;
} totals;

enum { NUMBERS = 5 }; /* of a step, and again of a validation */

typedef struct reward_training {
    tv_preference_sets sets;
    tv_preference_settings head;
    uint64_t groups, tokens; /* G and T of a micro-batch */
    uint64_t accumulated;    /* micro-batches in a step */
    uint64_t epoch_steps;
    uint64_t next;        /* the step's first group, over all epochs */
    uint64_t micro_batch; /* of the step, drawn so far */
    uint64_t seed;
    bool shuffle;
    tv_item_length *order; /* (groups of a step) */
    tv_metric_number numbers[2 * NUMBERS];
} reward_training;

/* ---- model ---- */

/* transformers reads the score at the last token that is not padding, so the pad token must be another than
 * the one that ends a text. */
static void choose_pad(const tv_tokenizer *tokenizer, tv_model_config *config) {
    uint32_t pad = tv_tokenizer_info_of(tokenizer)->pad;
    if (pad == TV_NO_TOKEN)
        pad = tv_tokenizer_find(tokenizer, TV_TOKEN_PAD, sizeof TV_TOKEN_PAD - 1);
    if (config->pad_token_id < 0 || tv_model_config_ends(config, config->pad_token_id))
        config->pad_token_id =
            pad < config->vocab_size && !tv_model_config_ends(config, pad) ? (int64_t)pad : -1;
    if (config->pad_token_id < 0)
        tv_info(
            "the tokenizer has no token for padding alone, so other programs can score one text at a time");
}

static tv_status choose_model(void *self, tv_run *run) {
    (void)self;
    const tv_parameter_list *found = tv_model_directory_parameters(run->source);
    tv_model_config config = found->config;
    if (config.head == TV_MODEL_HEAD_SCORE)
        return TV_OK;
    config.head = TV_MODEL_HEAD_SCORE;
    choose_pad(run->tokenizer, &config);
    const tv_parameter_choice choice = {.adapter = found->adapter.rank ? &found->adapter : NULL};
    TV_RETURN_IF_FAILED(tv_parameter_list_create_chosen(&config, &choice, &run->own_list));
    run->list = run->own_list;
    return TV_OK;
}

static tv_status fill_model(void *self, tv_run *run) {
    (void)self;
    if (tv_model_directory_parameters(run->source)->config.head == TV_MODEL_HEAD_SCORE)
        return tv_model_load_or_draw(run->model, run->source, run->settings.train.seed);
    return tv_model_load_body(run->model, run->source, run->settings.train.seed);
}

/* ---- data ---- */

static tv_status no_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory for preferences");
}

/* Whether the loss learns anything from it: `pairs` takes ties as halves, the others only what differs. */
static bool is_useful(const void *context, const tv_preference_group *group) {
    const reward_training *r = context;
    return r->head.mode == TV_PREFERENCE_PAIRS || group->responses[group->count - 1].rank > 0;
}

static tv_status check_sizes(const reward_training *r) {
    const tv_preference_list *lists[] = {&r->sets.train, &r->sets.val};
    for (int l = 0; l < 2; l++)
        for (uint64_t i = 0; i < lists[l]->count; i++) {
            const tv_preference_group *group = lists[l]->items[i];
            if (group->count > TV_PREFERENCE_MEMBERS)
                return tv_fail(TV_E_DATA,
                               "%s line %" PRIu64 ": expected at most %d answers to a prompt, found %" PRIu64,
                               group->file, group->line, TV_PREFERENCE_MEMBERS, group->count);
        }
    return TV_OK;
}

/* Steps of `epochs` that are not done. The last step of an epoch may hold fewer groups than the others. */
static uint64_t steps_left(const reward_training *r, double epochs) {
    uint64_t count = r->sets.train.count, in_epoch = count - r->next % count;
    uint64_t done =
        r->next / count * r->epoch_steps + r->epoch_steps - tv_div_up(in_epoch, r->groups * r->accumulated);
    uint64_t all = (uint64_t)ceil(epochs * (double)r->epoch_steps);
    return all > done ? all - done : 0;
}

static tv_status plan_batches(reward_training *r, tv_run *run) {
    tv_defaults_of_data(&run->settings, r->sets.train.count);
    const tv_train_settings *train = &run->settings.train;
    r->head.group_size = r->sets.most;
    r->tokens = tv_min_u64(tv_align_up(r->sets.longest, TV_WIDTH_STEP), run->settings.data.seq_len);
    r->groups = train->batch_size;
    r->accumulated = train->grad_accum;
    uint64_t rows = r->groups * r->head.group_size;
    r->order = calloc(r->groups * r->accumulated, sizeof *r->order);
    if (!r->order)
        return no_memory();
    r->epoch_steps = tv_div_up(r->sets.train.count, r->groups * r->accumulated);
    run->total_steps = train->steps ? train->steps : run->state.step + steps_left(r, train->epochs);
    run->trainer_options = (tv_trainer_options){.batch = rows,
                                                .tokens = r->tokens,
                                                .narrow = true,
                                                .head = tv_preference_head,
                                                .head_settings = &r->head};
    return TV_OK;
}

static tv_status open_data(void *self, tv_run *run) {
    reward_training *r = self;
    const tv_data_settings *data = &run->settings.data;
    static const uint32_t modes[] = {[TV_REWARD_PAIRS] = TV_PREFERENCE_PAIRS,
                                     [TV_REWARD_KWISE] = TV_PREFERENCE_KWISE,
                                     [TV_REWARD_LISTWISE] = TV_PREFERENCE_LISTWISE};
    r->head = (tv_preference_settings){.mode = modes[run->settings.reward.loss],
                                       .center = run->settings.reward.center};
    r->seed = run->settings.train.seed;
    r->shuffle = data->shuffle;
    r->next = run->state.examples;
    TV_RETURN_IF_FAILED(
        tv_preference_sets_open(&run->settings, run->tokenizer, data->seq_len, is_useful, r, &r->sets));
    TV_RETURN_IF_FAILED(check_sizes(r));
    return plan_batches(r, run);
}

/* ---- micro-batches ---- */

/* Narrows the micro-batch to its longest response, and empties it. */
static void clear_batch(const reward_training *r, uint64_t longest, tv_micro_batch *batch) {
    uint64_t rows = r->groups * r->head.group_size;
    uint32_t *members = batch->inputs[TV_SCORE_MEMBERS];
    tv_micro_batch_narrow(batch, longest);
    memset(batch->tokens, 0, rows * batch->width * sizeof *batch->tokens);
    memset(batch->inputs[TV_SCORE_RANKS], 0, rows * sizeof(uint32_t));
    memset(batch->inputs[TV_SCORE_MARGINS], 0, r->groups * sizeof(float));
    for (uint64_t i = 0; i < rows; i++)
        members[i] = TV_IGNORED_TARGET;
    batch->terms = 0;
    batch->used = 0;
}

/* Group `g` of the micro-batch: its responses in rows of their own, each scored at its last token. */
static void put_group(const reward_training *r, const tv_preference_group *group, uint64_t g,
                      tv_micro_batch *batch) {
    uint32_t *members = batch->inputs[TV_SCORE_MEMBERS], *ranks = batch->inputs[TV_SCORE_RANKS];
    float *margins = batch->inputs[TV_SCORE_MARGINS];
    for (uint64_t k = 0; k < group->count; k++) {
        const tv_preference_response *response = &group->responses[k];
        uint64_t row = g * r->head.group_size + k;
        memcpy(batch->tokens + row * batch->width, response->ids, response->length * sizeof *response->ids);
        members[row] = (uint32_t)(row * batch->width + response->length - 1);
        ranks[row] = response->rank;
        batch->used += response->length;
    }
    margins[g] = (float)group->margin;
    batch->terms++;
}

/* Up to G groups in their order, longest first. */
static void fill_batch(const reward_training *r, const tv_preference_list *list, const tv_item_length *order,
                       uint64_t count, tv_micro_batch *batch) {
    clear_batch(r, count ? order[0].length : 1, batch);
    for (uint64_t g = 0; g < tv_min_u64(count, r->groups); g++)
        put_group(r, list->items[order[g].item], g, batch);
}

static tv_item_length by_length(const tv_preference_list *list, uint64_t item) {
    const tv_preference_group *group = list->items[item];
    tv_item_length found = {.item = item};
    for (uint64_t k = 0; k < group->count; k++)
        found.length = tv_max_u64(found.length, group->responses[k].length);
    return found;
}

/* The groups of the step that begins with number `next`, by length, so that its micro-batches are no wider
 * than they must be; returns how many there are: the last step of an epoch may hold fewer than the others. */
static uint64_t order_step(const reward_training *r, uint64_t next) {
    uint64_t all = tv_max_u64(r->sets.train.count, 1), first = next % all, count = 0;
    const tv_rng rng = {.seed = r->seed, .stream = TV_STREAM_SHUFFLE, .step = (uint32_t)(next / all)};
    for (; count < r->groups * r->accumulated && first + count < all; count++) {
        uint64_t place = first + count;
        r->order[count] = by_length(&r->sets.train, r->shuffle ? tv_permute(&rng, place, all) : place);
    }
    tv_sort_by_length(r->order, count);
    return count;
}

static tv_status next_batch(void *self, tv_micro_batch *batch) {
    reward_training *r = self;
    uint64_t count = order_step(r, r->next), begin = tv_min_u64(r->micro_batch++ * r->groups, count);
    fill_batch(r, &r->sets.train, r->order + begin, count - begin, batch);
    if (r->micro_batch == r->accumulated) {
        r->next += count;
        r->micro_batch = 0;
    }
    return TV_OK;
}

static void plan(void *self, const tv_run *run, tv_run_plan *plan) {
    reward_training *r = self;
    *plan = (tv_run_plan){.items = "groups",
                          .count = r->sets.train.count,
                          .held_out = r->sets.val.count,
                          .left_out = r->sets.left_out,
                          .passes = (double)run->total_steps / (double)r->epoch_steps};
    for (uint64_t i = 0; i < r->sets.train.count; i++)
        for (uint64_t k = 0; k < r->sets.train.items[i]->count; k++)
            plan->tokens += r->sets.train.items[i]->responses[k].length;
    for (uint64_t step = 0; step < r->epoch_steps; step++) {
        uint64_t count = order_step(r, step * r->groups * r->accumulated);
        for (uint64_t g = 0; g < count; g += r->groups)
            plan->slots +=
                run->trainer_options.batch * tv_trainer_width(&run->trainer_options, r->order[g].length);
    }
}

static uint64_t position(const void *self) {
    return ((const reward_training *)self)->next;
}

/* A forward pass over `count` groups of a list, evenly spaced. */
typedef struct pass {
    const reward_training *r;
    const tv_preference_list *list;
    tv_item_length *order;
    uint64_t count, next;
    totals totals;
    float *scores; /* of every response, one after another; NULL: not wanted */
    uint64_t scored;
} pass;

static tv_status next_of_pass(void *context, tv_micro_batch *batch) {
    pass *p = context;
    fill_batch(p->r, p->list, p->order + p->next, p->count - p->next, batch);
    p->next += tv_min_u64(p->r->groups, p->count - p->next);
    return TV_OK;
}

static void add_group(totals *sums, const float *stats) {
    sums->least = sums->groups ? fmin(sums->least, (double)stats[TV_PREFERENCE_LEAST])
                               : (double)stats[TV_PREFERENCE_LEAST];
    sums->most = sums->groups ? fmax(sums->most, (double)stats[TV_PREFERENCE_MOST])
                              : (double)stats[TV_PREFERENCE_MOST];
    sums->loss += (double)stats[TV_PREFERENCE_LOSS];
    sums->accuracy += (double)stats[TV_PREFERENCE_ACCURACY];
    sums->margin += (double)stats[TV_PREFERENCE_MARGIN];
    sums->strict += (double)stats[TV_PREFERENCE_STRICT];
    sums->values += (double)stats[TV_PREFERENCE_VALUES];
    sums->members += (double)stats[TV_PREFERENCE_COUNT];
    sums->groups++;
}

static tv_status visit_of_pass(void *context, const tv_micro_batch *batch,
                               const float *const outputs[TV_HEAD_TENSORS]) {
    pass *p = context;
    const uint32_t *members = batch->inputs[TV_SCORE_MEMBERS];
    uint64_t size = p->r->head.group_size;
    for (uint64_t g = 0; g < p->r->groups; g++) {
        if (members[g * size] == TV_IGNORED_TARGET)
            continue;
        add_group(&p->totals, outputs[TV_SCORE_STATS] + g * TV_PREFERENCE_STATS);
        for (uint64_t k = 0; k < size && p->scores; k++)
            if (members[g * size + k] != TV_IGNORED_TARGET)
                p->scores[p->scored++] = outputs[TV_SCORE_VALUES][members[g * size + k]];
    }
    return TV_OK;
}

typedef tv_status (*forward)(tv_trainer *trainer, uint64_t batches, tv_batch_source source, void *context,
                             tv_outputs_visitor visit, void *visit_context);

static tv_status run_pass(tv_run *run, pass *p, forward pass_over) {
    p->order = calloc(p->count + 1, sizeof *p->order);
    if (!p->order)
        return no_memory();
    for (uint64_t i = 0; i < p->count; i++)
        p->order[i] = by_length(p->list, i * p->list->count / p->count);
    tv_sort_by_length(p->order, p->count);
    tv_status status =
        pass_over(run->trainer, tv_div_up(p->count, p->r->groups), next_of_pass, p, visit_of_pass, p);
    free(p->order);
    return status;
}

/* ---- metrics ---- */

static void set_numbers(const totals *sums, const char *const names[NUMBERS], tv_metric_number *numbers) {
    const double values[NUMBERS] = {sums->accuracy / sums->strict, sums->margin / sums->strict,
                                    sums->values / sums->members, sums->least, sums->most};
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = (tv_metric_number){names[i], values[i]};
}

/* A step's least and most are the means of its groups' lowest and highest: the device adds up. */
static void describe(void *self, const tv_run *run, const tv_step_result *result, tv_metrics_line *line) {
    static const char *const names[NUMBERS] = {"accuracy", "margin", "mean_reward", "min_reward",
                                               "max_reward"};
    (void)run;
    reward_training *r = self;
    const double *stats = result->stats, groups = (double)result->terms;
    const totals sums = {.accuracy = stats[TV_PREFERENCE_ACCURACY],
                         .margin = stats[TV_PREFERENCE_MARGIN],
                         .strict = stats[TV_PREFERENCE_STRICT],
                         .values = stats[TV_PREFERENCE_VALUES],
                         .members = stats[TV_PREFERENCE_COUNT],
                         .least = stats[TV_PREFERENCE_LEAST] / groups,
                         .most = stats[TV_PREFERENCE_MOST] / groups};
    set_numbers(&sums, names, r->numbers);
    line->extra = r->numbers;
    line->extra_count = NUMBERS;
}

static bool has_evaluation(const void *self) {
    return ((const reward_training *)self)->sets.val.count > 0;
}

static tv_status evaluate(void *self, tv_run *run, tv_metrics_line *line) {
    static const char *const names[NUMBERS] = {"val_accuracy", "val_margin", "val_mean_reward",
                                               "val_min_reward", "val_max_reward"};
    reward_training *r = self;
    pass p = {.r = r, .list = &r->sets.val, .count = r->sets.val.count};
    uint64_t group_tokens = r->head.group_size * r->tokens;
    if (run->settings.train.eval_tokens)
        p.count = tv_min_u64(p.count, tv_div_up(run->settings.train.eval_tokens, group_tokens));
    TV_RETURN_IF_FAILED(run_pass(run, &p, tv_trainer_forward));
    line->val_loss = p.totals.loss / (double)p.totals.groups;
    line->has_val_loss = true;
    set_numbers(&p.totals, names, r->numbers + NUMBERS);
    line->extra_count = 2 * NUMBERS;
    return TV_OK;
}

/* ---- checkpoints ---- */

/* Groups of the training data, evenly spaced. */
static tv_status save(void *self, tv_run *run, const char *directory, bool last) {
    reward_training *r = self;
    uint64_t size = r->head.group_size;
    pass p = {.r = r,
              .list = &r->sets.train,
              .count = tv_min_u64(r->sets.train.count, tv_max_u64(1, REFERENCE_RESPONSES / size))};
    p.scores = calloc(tv_max_u64(1, p.count * size), sizeof *p.scores);
    if (!p.scores)
        return no_memory();
    /* Of ranks one saves. */
    tv_status status = run_pass(run, &p, tv_trainer_forward_alone);
    if (status == TV_OK) {
        tv_reward_scale scale = tv_reward_scale_of(p.scores, p.scored);
        status = tv_reward_scale_write(directory, &scale);
        if (last)
            tv_info("the scores of %" PRIu64 " responses of the training data: mean %.4f, deviation %.4f; "
                    "%.1f %% of their pairs in order",
                    scale.samples, scale.mean, scale.deviation, 100 * p.totals.accuracy / p.totals.strict);
    }
    free(p.scores);
    return status;
}

static const tv_progress_number progress_numbers[] = {
    {"loss", "loss", TV_PROGRESS_LOSS, false},
    {"accuracy", "accuracy", TV_PROGRESS_PERCENT, false},
    {"val_loss", "val", TV_PROGRESS_LOSS, true},
    {"val_accuracy", "val accuracy", TV_PROGRESS_PERCENT, true},
    {0}};

static const tv_stage stage = {
    .kind = TV_STAGE_REWARD,
    .name = "reward",
    .doing = "training a reward model",
    .shown = progress_numbers,
    .needs_text = true,
    .needs_model = true,
    .head = TV_MODEL_HEAD_SCORE,
    .no_data = "data.train: expected preferences (JSON lines), found none; name them with --data, or make "
               "them from rankings with trivium prefs",
    .choose_model = choose_model,
    .open_data = open_data,
    .plan = plan,
    .fill_model = fill_model,
    .next = next_batch,
    .position = position,
    .has_evaluation = has_evaluation,
    .evaluate = evaluate,
    .describe = describe,
    .save = save,
};

tv_status tv_reward(const tv_run_options *options, tv_run_result *result) {
    reward_training r = {0};
    tv_status status = tv_run_stage(&stage, &r, options, result);
    tv_preference_sets_free(&r.sets);
    free(r.order);
    return status;
}
