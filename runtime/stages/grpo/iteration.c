/* One iteration of GRPO: see iteration.h. */
#include "stages/grpo/iteration.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/log.h"
#include "base/os.h"
#include "base/tokens.h"
#include "stages/grpo/advantages.h"
#include "stages/grpo/dynamic.h"
#include "stages/grpo/losses.h"
#include "stages/policy/drawing.h"
#include "stages/policy/health.h"
#include "stages/policy/line.h"

typedef tv_grpo_measured measurement;

bool tv_grpo_has_reference(const tv_grpo *g) {
    return g->run->settings.grpo.kl_coef > 0;
}

/* ---- answers and rewards ---- */

static tv_policy_drawing drawing_of(const tv_grpo *g) {
    return (tv_policy_drawing){g->run->options->ranks, g->drawer, &g->drawing,
                               g->run->settings.grpo.max_new_tokens, g->scorers};
}

static tv_status draw_training(tv_grpo *g) {
    tv_policy_rewards_begin(g->scorers);
    uint64_t first = g->run->state.examples, answers = g->run->settings.grpo.answers;
    for (uint64_t s = 0; s < g->rollout.sequences; s++)
        g->rollout.items[s] = (tv_policy_sequence){
            .prompt = tv_policy_prompt_at(g->run, g->prompts->count, (first + s) / answers)};
    const tv_policy_drawing drawing = drawing_of(g);
    return tv_policy_draw(&drawing, g->prompts, first, &g->rollout);
}

static void take_scores(tv_grpo *g, measurement *m) {
    m->rated = m->reward = m->reward_square = m->ended = 0;
    for (uint64_t s = 0; s < g->rollout.sequences; s++) {
        double reward = g->rewards[s] = g->rollout.items[s].score;
        m->ended += g->rollout.items[s].ended;
        if (isnan(reward))
            continue;
        m->rated++;
        m->reward += reward;
        m->reward_square += reward * reward;
    }
}

static tv_status score(tv_grpo *g, measurement *m) {
    TV_RETURN_IF_FAILED(tv_policy_rewards_score(g->scorers, g->prompts, &g->rollout, true));
    take_scores(g, m);
    return TV_OK;
}

/* In the rollout's place for the time of it, so that there is one way to score. */
static tv_status score_further(tv_grpo *g) {
    measurement unused = {0};
    const tv_policy_rollout own = g->rollout;
    g->rollout = g->further;
    tv_status status = score(g, &unused);
    g->rollout = own;
    return status;
}

/* Dynamic sampling. */
static tv_status replace_equal(tv_grpo *g, measurement *m, tv_grpo_further *further) {
    m->drawn = (double)g->rollout.sequences;
    m->drawn_rated = m->rated;
    m->drawn_reward = m->reward;
    TV_RETURN_IF_FAILED(tv_grpo_replace_equal(g, score_further, further));
    m->drawn += (double)further->answers;
    m->drawn_rated += (double)further->rated;
    m->drawn_reward += further->reward;
    take_scores(g, m);
    return TV_OK;
}

/* Which answers the updates see, and which tokens of them. */
static void choose(tv_grpo *g, measurement *m) {
    const tv_grpo_settings *settings = &g->run->settings.grpo;
    const bool drops = settings->drop_equal && settings->advantages != TV_ADVANTAGES_REINFORCE;
    uint64_t T = g->rollout.tokens;
    m->equal = tv_group_equal(settings, g->rewards, g->rollout.sequences, g->equal);
    g->kept_count = 0;
    for (uint64_t s = 0; s < g->rollout.sequences; s++) {
        if (settings->mask_truncated && !g->rollout.items[s].ended)
            for (uint64_t t = 0; t < T; t++)
                g->rollout.targets[s * T + t] = TV_IGNORED_TARGET;
        if (!isnan(g->rewards[s]) && (!drops || !g->equal[s / settings->answers]))
            g->kept[g->kept_count++] = s;
    }
}

/* ---- forward passes ---- */

static tv_status order_epoch(tv_grpo *g, uint64_t epoch) {
    const tv_grpo_settings *settings = &g->run->settings.grpo;
    return tv_policy_rollout_order(&g->rollout, g->kept, g->kept_count, settings->minibatch,
                                   g->run->settings.train.seed,
                                   (uint32_t)(g->run->state.step * settings->epochs + epoch), g->order);
}

static tv_policy_batches batches_of(const tv_grpo *g, uint64_t first, uint64_t count) {
    return (tv_policy_batches){.rollout = &g->rollout,
                               .kind = TV_POLICY_BATCH_FORWARD,
                               .batch = g->run->trainer_options.batch,
                               .order = g->order,
                               .minibatch = g->run->settings.grpo.minibatch,
                               .next = first,
                               .end = tv_min_u64(first + count, g->kept_count)};
}

static tv_status forward(const tv_grpo *g, tv_trainer *trainer, float *first, float *second) {
    tv_policy_batches batches = batches_of(g, 0, g->kept_count);
    tv_policy_outputs outputs = {.batches = batches, .first = first, .second = second};
    return tv_trainer_forward(trainer, tv_policy_batches_left(&batches), tv_policy_batches_next, &batches,
                              tv_policy_outputs_take, &outputs);
}

/* Numbers of what took no part in the passes are of an earlier rollout. */
static tv_status expect_finite(const tv_grpo *g, const float *numbers, const char *what, tv_status status) {
    for (uint64_t i = 0; i < g->kept_count; i++)
        TV_RETURN_IF_FAILED(tv_policy_expect_finite_answer(&g->rollout, g->kept[i], numbers, what, status));
    return TV_OK;
}

static tv_status pass_policy(tv_grpo *g) {
    return forward(g, g->run->trainer, g->rollout.old_logprobs, g->rollout.entropies);
}

static tv_status expect_finite_policy(const tv_grpo *g) {
    return expect_finite(g, g->rollout.old_logprobs, "the policy's log-probabilities", TV_E_NUMERIC);
}

/* In the micro-batches of the first epoch's updates: where a row's bits depend on what is beside it, the same
 * shapes give the same bits, and the first ratios are exactly 1. */
static tv_status evaluate_roles(tv_grpo *g) {
    TV_RETURN_IF_FAILED(order_epoch(g, 0));
    if (g->passes || !tv_policy_rollout_is_rated(&g->rollout))
        TV_RETURN_IF_FAILED(pass_policy(g));
    TV_RETURN_IF_FAILED(expect_finite_policy(g));
    if (!tv_grpo_has_reference(g))
        return TV_OK;
    TV_RETURN_IF_FAILED(forward(g, g->reference.trainer, g->rollout.ref_logprobs, NULL));
    return expect_finite(g, g->rollout.ref_logprobs, "the reference's log-probabilities", TV_E_DATA);
}

tv_status tv_grpo_check(tv_grpo *g) {
    for (g->kept_count = 0; g->kept_count < g->rollout.sequences; g->kept_count++)
        g->kept[g->kept_count] = g->kept_count;
    TV_RETURN_IF_FAILED(order_epoch(g, 0));
    TV_RETURN_IF_FAILED(pass_policy(g));
    return expect_finite_policy(g);
}

/* ---- updates ---- */

static uint64_t tokens_of(const tv_grpo *g, uint64_t sequence) {
    const tv_policy_sequence *item = &g->rollout.items[sequence];
    bool masked = g->run->settings.grpo.mask_truncated && !item->ended;
    return masked ? 0 : item->length - item->prompt_length;
}

typedef struct update_source {
    const tv_grpo *grpo;
    tv_policy_batches batches;
} update_source;

static void fill_rows(const tv_grpo *g, uint64_t sequence, uint64_t width, float weight,
                      struct tv_group_row *rows) {
    const tv_policy_rollout *r = &g->rollout;
    for (uint64_t t = 0, i = sequence * r->tokens; t < width; t++, i++)
        rows[t] = (struct tv_group_row){r->old_logprobs[i], r->advantages[i], weight, r->ref_logprobs[i]};
}

static tv_status next_batch(void *context, tv_micro_batch *batch) {
    update_source *source = context;
    const tv_grpo *g = source->grpo;
    const tv_grpo_settings *settings = &g->run->settings.grpo;
    const uint64_t *order = source->batches.order + source->batches.next;
    uint64_t first = source->batches.next, tokens = 0;
    TV_RETURN_IF_FAILED(tv_policy_batches_next(&source->batches, batch));
    uint64_t answers = source->batches.next - first;
    for (uint64_t b = 0; b < answers; b++)
        tokens += tokens_of(g, order[b]);
    struct tv_group_row *rows = batch->inputs[TV_GROUP_ROWS];
    for (uint64_t b = 0; b < answers; b++)
        fill_rows(g, order[b], batch->width, (float)tv_group_weight(settings, tokens_of(g, order[b]), tokens),
                  rows + b * batch->width);
    batch->terms = tv_group_terms(settings, answers, tokens);
    return TV_OK;
}

static void take_result(void *context, const tv_step_result *result) {
    tv_grpo *g = context;
    measurement *m = &g->measured;
    if (!(m->updates > 0) && result->stats[TV_GROUP_TOKENS] > 0)
        m->first_deviation = sqrt(result->stats[TV_GROUP_RATIO_MINUS_1_SQ] / result->stats[TV_GROUP_TOKENS]);
    for (int i = 0; i < TV_HEAD_STATS; i++)
        m->stats[i] += result->stats[i];
    m->loss += result->loss;
    m->grad_norm += result->grad_norm;
    m->updates++;
    m->skipped += !result->state.finite;
    g->run->last = *result;
    g->run->state.update = result->state;
    if (!g->run->diverged && result->state.skipped_in_row >= TV_SKIPS_IN_ROW)
        g->run->diverged = g->run->state.step + 1;
}

static tv_status drain(void *context) {
    tv_grpo *g = context;
    return tv_policy_drain(g->run->trainer, take_result, g);
}

static tv_status order_of_updates(void *context, uint64_t epoch) {
    return order_epoch(context, epoch);
}

static tv_status update(void *context, const struct tv_step_constants *constants, uint64_t first) {
    tv_grpo *g = context;
    update_source source = {g, batches_of(g, first, g->run->settings.grpo.minibatch)};
    tv_step_result result;
    bool has_result;
    TV_RETURN_IF_FAILED(
        tv_trainer_step(g->run->trainer, constants, next_batch, &source, &result, &has_result));
    if (has_result)
        take_result(g, &result);
    return TV_OK;
}

static tv_status update_all(tv_grpo *g) {
    const tv_policy_updates updates = {.count = g->kept_count,
                                       .order = order_of_updates,
                                       .update = update,
                                       .drain = drain,
                                       .context = g,
                                       .seconds = &g->measured.times.update};
    return tv_policy_within_update(&g->within, &updates);
}

/* ---- report ---- */

static void add(tv_grpo *g, const char *name, double value) {
    g->numbers[g->number_count++] = (tv_metric_number){name, value};
}

static void describe(tv_grpo *g, const measurement *m) {
    double S = (double)g->rollout.sequences, n = fmax(m->stats[TV_GROUP_TOKENS], 1);
    double rated = fmax(m->rated, 1), mean = m->reward / rated;
    double ratio = m->stats[TV_GROUP_RATIO_MINUS_1] / n, length = 0, entropy = 0, kl = 0, tokens = 0;
    for (uint64_t s = 0; s < g->rollout.sequences; s++)
        length += (double)(g->rollout.items[s].length - g->rollout.items[s].prompt_length);
    for (uint64_t k = 0; k < g->kept_count; k++)
        for (uint64_t i = g->kept[k] * g->rollout.tokens; i < (g->kept[k] + 1) * g->rollout.tokens; i++) {
            if (g->rollout.targets[i] == TV_IGNORED_TARGET)
                continue;
            entropy += (double)g->rollout.entropies[i];
            kl += (double)g->rollout.old_logprobs[i] - (double)g->rollout.ref_logprobs[i];
            tokens++;
        }
    g->number_count = 0;
    add(g, "reward/mean", mean);
    add(g, "reward/std", sqrt(fmax(m->reward_square / rated - mean * mean, 0)));
    if (m->rated < S)
        add(g, "reward/none", 1 - m->rated / S);
    tv_policy_rewards_describe(g->scorers, g->numbers, &g->number_count);
    add(g, "groups/equal", (double)m->equal / (double)g->run->settings.grpo.prompts);
    add(g, "groups/learned", (double)g->kept_count / S);
    if (g->run->settings.grpo.dynamic_sampling) {
        add(g, "groups/drawn", m->drawn / (double)g->run->settings.grpo.answers);
        add(g, "reward/drawn", m->drawn_reward / fmax(m->drawn_rated, 1));
    }
    add(g, "response_tokens", length / S);
    add(g, "truncated", 1 - m->ended / S);
    add(g, "policy/clip_low", m->stats[TV_GROUP_CLIPPED_LOW] / n);
    add(g, "policy/clip_high", m->stats[TV_GROUP_CLIPPED_HIGH] / n);
    add(g, "policy/entropy", tokens > 0 ? entropy / tokens : 0);
    add(g, "policy/ratio", 1 + ratio);
    add(g, "policy/ratio_var", m->stats[TV_GROUP_RATIO_MINUS_1_SQ] / n - ratio * ratio);
    add(g, "policy/first_ratio_deviation", m->first_deviation);
    if (tv_grpo_has_reference(g)) {
        add(g, "objective/kl", kl / fmax((double)g->kept_count, 1));
        add(g, "policy/kl", m->stats[TV_GROUP_KL] / n);
    }
    add(g, "updates", m->updates);
    tv_policy_times_describe(&m->times, g->numbers, &g->number_count);
}

/* ---- held-out prompts ---- */

/* The reward of one answer to each held-out prompt, in rollouts of the training's size; what is over at the
 * end repeats prompts and is not counted. */
static tv_status evaluate(tv_grpo *g, double *reward) {
    const tv_policy_drawing drawing = drawing_of(g);
    tv_policy_rollout *r = &g->held_out;
    double sum = 0, rated = 0;
    for (uint64_t first = 0; first < g->val->count; first += r->sequences) {
        for (uint64_t s = 0; s < r->sequences; s++)
            r->items[s] = (tv_policy_sequence){.prompt = (first + s) % g->val->count};
        TV_RETURN_IF_FAILED(tv_policy_line_go_on(g->run));
        TV_RETURN_IF_FAILED(tv_policy_draw(&drawing, g->val, g->first_val + first, r));
        TV_RETURN_IF_FAILED(tv_policy_rewards_score(g->scorers, g->val, r, false));
        for (uint64_t s = 0; s < r->sequences && first + s < g->val->count; s++)
            if (!isnan(r->items[s].score)) {
                sum += r->items[s].score;
                rated++;
            }
    }
    if (!(rated > 0))
        return tv_fail(TV_E_DATA,
                       "no reward applies to an answer to any of the %" PRIu64
                       " held-out prompts: each was null; leave them out, or give a reward that scores them",
                       g->val->count);
    *reward = sum / rated;
    add(g, "eval/reward", *reward);
    return TV_OK;
}

tv_status tv_grpo_measure(tv_grpo *g, tv_metrics_line *line) {
    double reward;
    g->number_count = 0;
    TV_RETURN_IF_FAILED(evaluate(g, &reward));
    line->extra = g->numbers;
    line->extra_count = g->number_count;
    return TV_OK;
}

/* What is wrong but no reason to stop goes into the line, and is said when it begins. */
static void watch(tv_grpo *g, const measurement *m) {
    const uint64_t step = g->run->state.step + 1;
    g->warning[0] = '\0';
    tv_policy_watch_first(m->first_deviation, &g->rollout, &g->passes);
    if (m->skipped > 0) {
        snprintf(g->warning, sizeof g->warning, "%.0f updates skipped: gradient not finite", m->skipped);
        tv_warn("iteration %" PRIu64 ": the gradient was not finite in %.0f of %.0f updates, which were "
                "skipped",
                step, m->skipped, m->updates);
    }
    /* reinforce++ compares all answers of the rollout. */
    const bool alike = g->run->settings.grpo.advantages == TV_ADVANTAGES_REINFORCE
                           ? !(m->reward_square * m->rated > m->reward * m->reward * (1 + 1e-12))
                           : m->equal == g->run->settings.grpo.prompts;
    if (!alike) {
        g->nothing_since = 0;
        return;
    }
    snprintf(g->warning, sizeof g->warning, "nothing to learn from: %s",
             !(m->rated > 0) ? "no answer has a reward, for programs answered null"
             : g->run->settings.grpo.advantages == TV_ADVANTAGES_REINFORCE
                 ? "in the rollout all answers have the same reward"
                 : "in each group all answers have the same reward");
    if (!g->nothing_since) {
        g->nothing_since = step;
        tv_warn("iteration %" PRIu64 ": %s", step, g->warning);
    }
}

/* ---- the whole of it ---- */

void tv_grpo_within_begin(tv_grpo *g) {
    const tv_grpo_settings *settings = &g->run->settings.grpo;
    tv_grpo_measured *m = &g->measured;
    tv_policy_within *w = &g->within;
    *w = (tv_policy_within){.run = g->run,
                            .scorers = g->scorers,
                            .prompts = g->prompts,
                            .rollout = &g->rollout,
                            .epochs = settings->epochs,
                            .minibatch = settings->minibatch};
    /* What is made anew from the answers is not in it. */
    tv_policy_within_add(w, "drawn", &m->drawn, 1);
    tv_policy_within_add(w, "drawn_rated", &m->drawn_rated, 1);
    tv_policy_within_add(w, "drawn_reward", &m->drawn_reward, 1);
    tv_policy_within_add(w, "stats", m->stats, TV_HEAD_STATS);
    tv_policy_within_add(w, "loss", &m->loss, 1);
    tv_policy_within_add(w, "first_ratio_deviation", &m->first_deviation, 1);
    tv_policy_within_add(w, "grad_norm", &m->grad_norm, 1);
    tv_policy_within_add(w, "updates", &m->updates, 1);
    tv_policy_within_add(w, "skipped", &m->skipped, 1);
    tv_policy_within_add_times(w, &m->times);
}

/* All that stands before the updates. */
static tv_status roll_out(tv_grpo *g, measurement *m) {
    *m = (measurement){0};
    tv_policy_within_restart(&g->within);
    double begin = tv_seconds();
    TV_RETURN_IF_FAILED(draw_training(g));
    double drawn = tv_seconds();
    tv_rollout_rates(g->drawer, &m->times.draw_rate, &m->times.prompt_shared);
    TV_RETURN_IF_FAILED(score(g, m));
    double scored = tv_seconds();
    tv_grpo_further further;
    TV_RETURN_IF_FAILED(replace_equal(g, m, &further));
    choose(g, m);
    double chosen = tv_seconds();
    TV_RETURN_IF_FAILED(evaluate_roles(g));
    m->times.draw = drawn - begin + further.draw_seconds;
    m->times.score = scored - drawn + further.score_seconds;
    m->times.forward = tv_seconds() - chosen;
    return TV_OK;
}

/* The same of what a checkpoint held: it was drawn, scored and evaluated, by the policy of the iteration's
 * begin.
 */
static tv_status take_up(tv_grpo *g, measurement *m) {
    const double all = (double)g->rollout.sequences, group = (double)g->run->settings.grpo.answers;
    g->within.taken_up = false;
    if (!(m->drawn >= all && m->drawn <= UINT32_MAX) || fmod(m->drawn, group) != 0)
        return tv_fail(
            TV_E_DATA,
            "the checkpoint's iteration drew %g answers, expected whole groups of %g, and at least "
            "%g; it is of other settings",
            m->drawn, group, all);
    take_scores(g, m);
    choose(g, m);
    if (!g->within.updated && g->within.first >= g->kept_count)
        return tv_fail(TV_E_DATA,
                       "the checkpoint stands at answer %" PRIu64 " of %" PRIu64
                       " that learn; it is of other settings",
                       g->within.first, g->kept_count);
    return TV_OK;
}

static tv_status iterate(tv_grpo *g) {
    measurement *m = &g->measured;
    TV_RETURN_IF_FAILED(g->within.taken_up ? take_up(g, m) : roll_out(g, m));
    tv_group_advantages(&g->run->settings.grpo, g->rewards, &g->rollout, g->equal);
    TV_RETURN_IF_FAILED(update_all(g));
    if (!isfinite(m->loss))
        return tv_fail(TV_E_NUMERIC, "the policy's loss of the iteration's updates is not finite");
    describe(g, m);
    const bool measures = g->val && tv_policy_line_measures(g->run);
    double reward = 0;
    if (measures)
        TV_RETURN_IF_FAILED(evaluate(g, &reward));
    watch(g, m);
    const tv_policy_line line = {.examples = (uint64_t)m->drawn,
                                 .loss = m->loss / fmax(m->updates, 1),
                                 .grad_norm = m->grad_norm / fmax(m->updates, 1),
                                 .seconds = tv_policy_times_sum(&m->times),
                                 .numbers = g->numbers,
                                 .number_count = g->number_count,
                                 .warning = g->warning,
                                 .has_val_loss = measures,
                                 .val_loss = -reward};
    return tv_policy_line_write(g->run, &g->rollout, &line);
}

tv_status tv_grpo_iterate(tv_grpo *g) {
    tv_status status = iterate(g);
    return status == TV_E_NUMERIC ? tv_policy_line_end(g->run) : status;
}
