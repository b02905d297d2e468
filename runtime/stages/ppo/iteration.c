/* One iteration of PPO: see iteration.h. Formulas: Schulman et al. 2017; Ziegler et al. 2019 (the
 * adaptive KL controller); Huang et al. 2022 (the details). */
#include "stages/ppo/iteration.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/os.h"
#include "base/tokens.h"
#include "stages/policy/drawing.h"
#include "stages/policy/health.h"
#include "stages/policy/line.h"
#include "vk/submit.h"

enum { NEGATIVE_KL_PATIENCE = 5 };

/* Below this a mean KL of a whole sequence is not the noise of an untouched policy. */
static const double negative_kl_bound = -0.05;

typedef tv_ppo_measured measurement;

/* ---- prompts and responses ---- */

static tv_status draw(tv_ppo *p, const tv_prompts *prompts, uint64_t first) {
    const tv_policy_drawing drawing = {p->run->options->ranks, p->drawer, &p->drawing,
                                       p->run->settings.ppo.max_new_tokens, p->scorers};
    return tv_policy_draw(&drawing, prompts, first, &p->rollout);
}

static tv_status draw_training(tv_ppo *p) {
    tv_policy_rewards_begin(p->scorers);
    uint64_t count = p->rollout.sequences, first = p->run->state.examples;
    for (uint64_t s = 0; s < count; s++)
        p->rollout.items[s] =
            (tv_policy_sequence){.prompt = tv_policy_prompt_at(p->run, p->prompts->count, first + s)};
    return draw(p, p->prompts, first);
}

/* ---- scores ---- */

/* What a response without an end token is worth, and the limit of every score. */
static double reward_of(const tv_ppo_settings *settings, const tv_policy_sequence *sequence) {
    double score = sequence->score;
    if (!sequence->ended && settings->missing_eos == TV_MISSING_EOS_SCORE)
        score = settings->missing_eos_score;
    if (!sequence->ended && settings->missing_eos == TV_MISSING_EOS_PENALTY)
        score -= settings->missing_eos_penalty;
    return fmax(-settings->score_clip, fmin(settings->score_clip, score));
}

static tv_status take_scores(tv_ppo *p, const tv_prompts *prompts, measurement *m) {
    TV_RETURN_IF_FAILED(tv_policy_rewards_expect_all(prompts, &p->rollout));
    for (uint64_t s = 0; s < p->rollout.sequences; s++) {
        double reward = reward_of(&p->run->settings.ppo, &p->rollout.items[s]);
        p->rewards[s] = (float)reward;
        m->score += reward;
        m->ended += p->rollout.items[s].ended;
    }
    return TV_OK;
}

/* ---- the roles' forward passes ---- */

static uint32_t pass_of(const tv_ppo *p, uint64_t epoch) {
    return (uint32_t)(p->run->state.step * p->run->settings.ppo.epochs + epoch);
}

static tv_status order_epoch(tv_ppo *p, uint64_t epoch) {
    return tv_policy_rollout_order(&p->rollout, NULL, p->rollout.sequences, p->run->settings.ppo.minibatch,
                                   p->run->settings.train.seed, pass_of(p, epoch), p->order);
}

static tv_policy_batches batches_of(const tv_ppo *p, tv_policy_batch_kind kind, uint64_t first,
                                    uint64_t count) {
    return (tv_policy_batches){.rollout = &p->rollout,
                               .kind = kind,
                               .batch = p->run->trainer_options.batch,
                               .order = p->order,
                               .minibatch = p->run->settings.ppo.minibatch,
                               .next = first,
                               .end = tv_min_u64(first + count, p->rollout.sequences)};
}

static tv_status forward(const tv_ppo *p, tv_trainer *trainer, float *first, float *second) {
    tv_policy_batches batches = batches_of(p, TV_POLICY_BATCH_FORWARD, 0, p->rollout.sequences);
    tv_policy_outputs outputs = {.batches = batches, .first = first, .second = second};
    return tv_trainer_forward(trainer, tv_policy_batches_left(&batches), tv_policy_batches_next, &batches,
                              tv_policy_outputs_take, &outputs);
}

static tv_status pass_policy(tv_ppo *p) {
    return forward(p, p->run->trainer, p->rollout.old_logprobs, p->rollout.entropies);
}

static tv_status expect_finite_policy(const tv_ppo *p) {
    const tv_policy_rollout *r = &p->rollout;
    TV_RETURN_IF_FAILED(
        tv_policy_expect_finite(r, r->old_logprobs, "the policy's log-probabilities", TV_E_NUMERIC));
    return tv_policy_expect_finite(r, r->entropies, "the policy's entropies", TV_E_NUMERIC);
}

/* As it drew the rollout. */
static tv_status evaluate_policy(tv_ppo *p) {
    if (p->passes || !tv_policy_rollout_is_rated(&p->rollout))
        TV_RETURN_IF_FAILED(pass_policy(p));
    return expect_finite_policy(p);
}

/* It never changes: what it gives is a matter of its files. */
static tv_status evaluate_reference(tv_ppo *p) {
    tv_policy_rollout *r = &p->rollout;
    TV_RETURN_IF_FAILED(forward(p, p->reference.trainer, r->ref_logprobs, NULL));
    return tv_policy_expect_finite(r, r->ref_logprobs, "the reference's log-probabilities", TV_E_DATA);
}

static tv_status evaluate_value(tv_ppo *p) {
    TV_RETURN_IF_FAILED(forward(p, p->value.trainer, p->rollout.values, NULL));
    return tv_policy_expect_finite(&p->rollout, p->rollout.values, "the value model's values", TV_E_NUMERIC);
}

/* In the micro-batches of the first epoch's updates: where a row's bits depend on what is beside it, the same
 * shapes give the same bits, and the first ratios are exactly 1. */
static tv_status evaluate_roles(tv_ppo *p) {
    TV_RETURN_IF_FAILED(order_epoch(p, 0));
    TV_RETURN_IF_FAILED(evaluate_policy(p));
    TV_RETURN_IF_FAILED(evaluate_reference(p));
    return evaluate_value(p);
}

tv_status tv_ppo_check(tv_ppo *p) {
    TV_RETURN_IF_FAILED(order_epoch(p, 0));
    TV_RETURN_IF_FAILED(pass_policy(p));
    TV_RETURN_IF_FAILED(expect_finite_policy(p));
    return evaluate_value(p);
}

/* ---- updates ---- */

static void add_stats(double *sums, const tv_step_result *result) {
    for (int i = 0; i < TV_HEAD_STATS; i++)
        sums[i] += result->stats[i];
}

/* Of an update that was not finite because of its loss scale, which halved for it: no news. */
static bool overflowed(const tv_step_result *result) {
    return !result->state.finite && result->state.skipped_in_row == 0;
}

static void take_policy_result(void *context, const tv_step_result *result) {
    tv_ppo *p = context;
    measurement *m = &p->measured;
    if (!(m->updates > 0) && result->terms)
        m->first_deviation = sqrt(result->stats[TV_PPO_RATIO_MINUS_1_SQ] / (double)result->terms);
    add_stats(m->policy, result);
    m->terms += (double)result->terms;
    m->grad_norm += overflowed(result) ? 0 : result->grad_norm;
    m->updates++;
    m->skipped += !result->state.finite && !overflowed(result);
    p->run->last = *result;
    p->run->state.update = result->state;
    if (!p->run->diverged && result->state.skipped_in_row >= TV_SKIPS_IN_ROW)
        p->run->diverged = p->run->state.step + 1;
}

static void take_value_result(void *context, const tv_step_result *result) {
    tv_ppo *p = context;
    measurement *m = &p->measured;
    add_stats(m->value, result);
    m->value_terms += (double)result->terms;
    m->value_grad_norm += overflowed(result) ? 0 : result->grad_norm;
    m->value_updates++;
    m->skipped += !result->state.finite && !overflowed(result);
    p->value_state = result->state;
    if (!p->run->diverged && result->state.skipped_in_row >= TV_SKIPS_IN_ROW)
        p->run->diverged = p->run->state.step + 1;
}

static void take_ptx_result(void *context, const tv_step_result *result) {
    measurement *m = &((tv_ppo *)context)->measured;
    m->ptx_loss += result->loss;
    m->ptx_updates++;
}

static tv_status drain(void *context) {
    tv_ppo *p = context;
    if (p->ptx_trainer)
        TV_RETURN_IF_FAILED(tv_policy_drain(p->ptx_trainer, take_ptx_result, p));
    TV_RETURN_IF_FAILED(tv_policy_drain(p->run->trainer, take_policy_result, p));
    return tv_policy_drain(p->value.trainer, take_value_result, p);
}

static tv_status next_ptx_batch(void *context, tv_micro_batch *batch) {
    tv_ppo *p = context;
    TV_RETURN_IF_FAILED(tv_loader_next(p->ptx, &(tv_batch){batch->tokens, batch->targets, NULL}));
    p->ptx_examples += p->run->trainer_options.batch;
    return TV_OK;
}

/* The pretraining mix (Ouyang et al. 2022): its gradient joins that of the policy's next update. */
static tv_status mix(tv_ppo *p) {
    tv_step_result result;
    bool has_result;
    if (!p->ptx_trainer)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_trainer_accumulate(p->ptx_trainer, p->run->settings.ppo.ptx_coef, next_ptx_batch,
                                              p, &result, &has_result));
    if (has_result)
        take_ptx_result(p, &result);
    return TV_OK;
}

static tv_status order_of_updates(void *context, uint64_t epoch) {
    return order_epoch(context, epoch);
}

/* One minibatch for both models. */
static tv_status update(void *context, const struct tv_step_constants *constants, uint64_t first) {
    tv_ppo *p = context;
    measurement *m = &p->measured;
    const uint64_t count = p->run->settings.ppo.minibatch;
    tv_policy_batches batches = batches_of(p, TV_POLICY_BATCH_POLICY, first, count);
    tv_policy_batches value_batches = batches_of(p, TV_POLICY_BATCH_VALUE, first, count);
    tv_step_result result;
    bool has_result;
    if (first == 0) {
        m->epoch_kl = m->policy[TV_PPO_APPROX_KL];
        m->epoch_terms = m->terms;
    }
    TV_RETURN_IF_FAILED(mix(p));
    TV_RETURN_IF_FAILED(
        tv_trainer_step(p->run->trainer, constants, tv_policy_batches_next, &batches, &result, &has_result));
    if (has_result)
        take_policy_result(p, &result);
    TV_RETURN_IF_FAILED(tv_trainer_step(p->value.trainer, constants, tv_policy_batches_next, &value_batches,
                                        &result, &has_result));
    if (has_result)
        take_value_result(p, &result);
    return TV_OK;
}

static tv_status too_far(void *context, bool *enough) {
    tv_ppo *p = context;
    const measurement *m = &p->measured;
    TV_RETURN_IF_FAILED(drain(p));
    const double seen = m->terms - m->epoch_terms;
    *enough =
        seen > 0 && (m->policy[TV_PPO_APPROX_KL] - m->epoch_kl) / seen > p->run->settings.ppo.early_stop_kl;
    return TV_OK;
}

static tv_status update_all(tv_ppo *p) {
    const tv_policy_updates updates = {
        .count = p->rollout.sequences,
        .order = order_of_updates,
        .update = update,
        .drain = drain,
        /* Only a limit needs the epoch's KL before the next one begins. */
        .enough = p->run->settings.ppo.early_stop_kl > 0 ? too_far : NULL,
        .context = p,
        .seconds = &p->measured.times.update,
    };
    return tv_policy_within_update(&p->within, &updates);
}

/* ---- report ---- */

static void add(tv_ppo *p, const char *name, double value) {
    p->numbers[p->number_count++] = (tv_metric_number){name, value};
}

/* 1 - Var(R - V) / Var(R) over the response tokens; 0 where the returns do not vary. */
static double explained_variance(const tv_policy_rollout *r) {
    double n = 0, sum = 0, square = 0, error = 0, error_square = 0;
    for (uint64_t i = 0; i < r->sequences * r->tokens; i++) {
        if (r->targets[i] == TV_IGNORED_TARGET)
            continue;
        double R = (double)r->returns[i], e = R - (double)r->values[i];
        n++;
        sum += R;
        square += R * R;
        error += e;
        error_square += e * e;
    }
    double variance = n > 0 ? square / n - sum / n * (sum / n) : 0;
    return variance > 0 ? 1 - (error_square / n - error / n * (error / n)) / variance : 0;
}

static void describe(tv_ppo *p, const measurement *m) {
    double S = (double)p->rollout.sequences, n = fmax(m->terms, 1), vn = fmax(m->value_terms, 1);
    double non_score = m->totals[TV_GAE_NON_SCORE_REWARD] / S, ratio = m->policy[TV_PPO_RATIO_MINUS_1] / n;
    double entropy = 0, tokens = 0;
    for (uint64_t i = 0; i < p->rollout.sequences * p->rollout.tokens; i++) {
        if (p->rollout.targets[i] == TV_IGNORED_TARGET)
            continue;
        entropy += (double)p->rollout.entropies[i];
        tokens++;
    }
    p->number_count = 0;
    add(p, "objective/kl", m->totals[TV_GAE_KL] / S);
    add(p, "objective/entropy", m->totals[TV_GAE_ENTROPY] / S);
    add(p, "objective/score", m->score / S);
    add(p, "objective/rlhf_reward", m->score / S + non_score);
    add(p, "objective/non_score_reward", non_score);
    tv_policy_rewards_describe(p->scorers, p->numbers, &p->number_count);
    add(p, "policy/approx_kl", m->policy[TV_PPO_APPROX_KL] / n);
    add(p, "policy/clip_frac", m->policy[TV_PPO_CLIPPED] / n);
    add(p, "policy/entropy", tokens > 0 ? entropy / tokens : 0);
    add(p, "policy/first_ratio_deviation", m->first_deviation);
    add(p, "loss/policy", m->policy[TV_PPO_POLICY_LOSS] / n);
    add(p, "loss/value", m->value[TV_PPO_VALUE_LOSS] / vn);
    if (p->ptx_trainer)
        add(p, "loss/ptx", m->ptx_loss / fmax(m->ptx_updates, 1));
    add(p, "val/ratio", 1 + ratio);
    add(p, "val/ratio_var", m->policy[TV_PPO_RATIO_MINUS_1_SQ] / n - ratio * ratio);
    add(p, "val/clip_frac", m->value[TV_PPO_VALUE_CLIPPED] / vn);
    add(p, "val/explained_var", explained_variance(&p->rollout));
    add(p, "val/eos_frac", m->ended / S);
    add(p, "value_grad_norm", m->value_grad_norm / fmax(m->value_updates, 1));
    add(p, "kl_coef", p->kl_coef);
    add(p, "response_tokens", tokens / S);
    tv_policy_times_describe(&m->times, p->numbers, &p->number_count);
    add(p, "device_share", m->device_seconds / tv_policy_times_sum(&m->times));
}

/* ---- held-out prompts ---- */

static tv_status evaluate_rollouts(tv_ppo *p, double *score_mean, double *kl_mean) {
    uint64_t S = p->rollout.sequences, T = p->rollout.tokens;
    double score_sum = 0, kl_sum = 0, n = (double)p->val->count;
    for (uint64_t first = 0; first < p->val->count; first += S) {
        measurement unused = {0};
        for (uint64_t s = 0; s < S; s++)
            p->rollout.items[s] = (tv_policy_sequence){.prompt = (first + s) % p->val->count};
        TV_RETURN_IF_FAILED(tv_policy_line_go_on(p->run));
        TV_RETURN_IF_FAILED(draw(p, p->val, p->first_val + first));
        TV_RETURN_IF_FAILED(order_epoch(p, 0));
        TV_RETURN_IF_FAILED(evaluate_policy(p));
        TV_RETURN_IF_FAILED(evaluate_reference(p));
        TV_RETURN_IF_FAILED(tv_policy_rewards_score(p->scorers, p->val, &p->rollout, false));
        TV_RETURN_IF_FAILED(take_scores(p, p->val, &unused));
        for (uint64_t s = 0; s < S && first + s < p->val->count; s++) {
            score_sum += (double)p->rewards[s];
            for (uint64_t i = s * T; i < (s + 1) * T; i++)
                if (p->rollout.targets[i] != TV_IGNORED_TARGET)
                    kl_sum += (double)p->rollout.old_logprobs[i] - (double)p->rollout.ref_logprobs[i];
        }
    }
    *score_mean = score_sum / n;
    *kl_mean = kl_sum / n;
    return TV_OK;
}

/* Score and KL (k1) of one answer to each held-out prompt, in rollouts of the training's size and for the
 * time of it in its place, so that there is one way to evaluate; what is over at the end repeats prompts and
 * is not counted. */
static tv_status evaluate(tv_ppo *p, double *score_mean, double *kl_mean) {
    const tv_policy_rollout own = p->rollout;
    p->rollout = p->held_out;
    tv_status status = evaluate_rollouts(p, score_mean, kl_mean);
    p->rollout = own;
    if (status != TV_OK)
        return status;
    add(p, "eval/score", *score_mean);
    add(p, "eval/kl", *kl_mean);
    return TV_OK;
}

tv_status tv_ppo_measure(tv_ppo *p, tv_metrics_line *line) {
    double score, kl;
    p->number_count = 0;
    TV_RETURN_IF_FAILED(evaluate(p, &score, &kl));
    line->extra = p->numbers;
    line->extra_count = p->number_count;
    return TV_OK;
}

/* ---- what lasts ---- */

/* A KL is not negative. A sampled mean that stays so says that the log-probabilities of drawing and of
 * scoring are not those of one distribution (another temperature, other masks), and is not averaged away. */
static void watch_kl(tv_ppo *p, const measurement *m) {
    double kl = m->totals[TV_GAE_LOG_RATIO] / (double)p->rollout.sequences;
    p->negative_kl = kl < negative_kl_bound ? p->negative_kl + 1 : 0;
    if (p->negative_kl >= NEGATIVE_KL_PATIENCE)
        tv_warn("the mean KL was negative in the last %" PRIu64
                " iterations (now %.3f per response): responses are not drawn from the distribution that "
                "they are scored with; ppo.top_k and ppo.top_p cut it, for example",
                p->negative_kl, kl);
    tv_policy_watch_first(m->first_deviation, &p->rollout, &p->passes);
}

/* beta *= 1 + clip(KL / target - 1, +-0.2) n / horizon (Ziegler et al. 2019). */
static void control_kl(tv_ppo *p, const measurement *m) {
    const tv_ppo_settings *settings = &p->run->settings.ppo;
    double S = (double)p->rollout.sequences;
    if (settings->kl_controller != TV_KL_ADAPTIVE || !(settings->kl_target > 0))
        return;
    double error = m->totals[TV_GAE_KL] / S / settings->kl_target - 1;
    p->kl_coef *= 1 + fmax(-0.2, fmin(0.2, error)) * S / settings->kl_horizon;
}

/* Losses that are not finite are those of models that are beyond use; a gradient alone may be an accident. */
static tv_status expect_finite_losses(const measurement *m) {
    double policy = m->policy[TV_PPO_POLICY_LOSS] + m->policy[TV_PPO_APPROX_KL],
           value = m->value[TV_PPO_VALUE_LOSS];
    return isfinite(policy) && isfinite(value)
               ? TV_OK
               : tv_fail(TV_E_NUMERIC, "the %s loss of the iteration's updates is not finite",
                         isfinite(policy) ? "value model's" : "policy's");
}

/* What is wrong but no reason to stop goes into the line, and is said when it begins. */
static void watch_policy(tv_ppo *p, const measurement *m) {
    const uint64_t step = p->run->state.step + 1;
    double tokens = (double)tv_policy_rollout_response_tokens(&p->rollout), entropy = 0;
    for (uint64_t i = 0; i < p->rollout.sequences * p->rollout.tokens; i++)
        if (p->rollout.targets[i] != TV_IGNORED_TARGET)
            entropy += (double)p->rollout.entropies[i] / fmax(tokens, 1);
    tv_policy_describe_collapse(&p->run->settings.ppo, entropy,
                                m->totals[TV_GAE_LOG_RATIO] / (double)p->rollout.sequences, p->warning,
                                sizeof p->warning);
    if (!p->warning[0])
        p->collapsed_since = 0;
    else if (!p->collapsed_since) {
        p->collapsed_since = step;
        tv_warn("iteration %" PRIu64
                ": the policy is %s; use an earlier checkpoint, and a lower train.lr or a "
                "higher ppo.kl_coef",
                step, p->warning);
    }
    if (!(m->skipped > 0))
        return;
    tv_warn("iteration %" PRIu64 ": the gradient was not finite in %.0f of %.0f updates, which were skipped",
            step, m->skipped, m->updates + m->value_updates);
    if (!p->warning[0])
        snprintf(p->warning, sizeof p->warning, "%.0f updates skipped: gradient not finite", m->skipped);
}

/* ---- the whole of it ---- */

void tv_ppo_within_begin(tv_ppo *p) {
    const tv_ppo_settings *settings = &p->run->settings.ppo;
    measurement *m = &p->measured;
    tv_policy_within *w = &p->within;
    *w = (tv_policy_within){.run = p->run,
                            .scorers = p->scorers,
                            .prompts = p->prompts,
                            .rollout = &p->rollout,
                            .epochs = settings->epochs,
                            .minibatch = settings->minibatch};
    /* What is made anew from the responses is not in it. */
    tv_policy_within_add(w, "policy", m->policy, TV_HEAD_STATS);
    tv_policy_within_add(w, "value", m->value, TV_HEAD_STATS);
    tv_policy_within_add(w, "terms", &m->terms, 1);
    tv_policy_within_add(w, "value_terms", &m->value_terms, 1);
    tv_policy_within_add(w, "epoch_kl", &m->epoch_kl, 1);
    tv_policy_within_add(w, "epoch_terms", &m->epoch_terms, 1);
    tv_policy_within_add(w, "first_ratio_deviation", &m->first_deviation, 1);
    tv_policy_within_add(w, "grad_norm", &m->grad_norm, 1);
    tv_policy_within_add(w, "value_grad_norm", &m->value_grad_norm, 1);
    tv_policy_within_add(w, "ptx_loss", &m->ptx_loss, 1);
    tv_policy_within_add(w, "updates", &m->updates, 1);
    tv_policy_within_add(w, "value_updates", &m->value_updates, 1);
    tv_policy_within_add(w, "ptx_updates", &m->ptx_updates, 1);
    tv_policy_within_add(w, "skipped", &m->skipped, 1);
    tv_policy_within_add_times(w, &m->times);
    tv_policy_within_add(w, "seconds_device", &m->device_seconds, 1);
}

/* All that stands before the advantages. */
static tv_status roll_out(tv_ppo *p, measurement *m) {
    *m = (measurement){0};
    tv_policy_within_restart(&p->within);
    double begin = tv_seconds();
    TV_RETURN_IF_FAILED(draw_training(p));
    double drawn = tv_seconds();
    tv_rollout_rates(p->drawer, &m->times.draw_rate, &m->times.prompt_shared);
    /* None of the passes needs the scores, for which a program still works meanwhile. */
    TV_RETURN_IF_FAILED(evaluate_roles(p));
    double passed = tv_seconds();
    TV_RETURN_IF_FAILED(tv_policy_rewards_score(p->scorers, p->prompts, &p->rollout, true));
    TV_RETURN_IF_FAILED(take_scores(p, p->prompts, m));
    m->times.draw = drawn - begin;
    m->times.score = tv_seconds() - passed;
    m->times.forward = passed - drawn;
    return TV_OK;
}

/* The same of what a checkpoint held: it was drawn, scored and evaluated, by the models of the iteration's
 * begin. */
static tv_status take_up(tv_ppo *p, measurement *m) {
    p->within.taken_up = false;
    m->score = m->ended = 0;
    return take_scores(p, p->prompts, m);
}

static tv_status learn(tv_ppo *p, measurement *m) {
    TV_RETURN_IF_FAILED(p->within.taken_up ? take_up(p, m) : roll_out(p, m));
    double begin = tv_seconds();
    TV_RETURN_IF_FAILED(tv_ppo_advantages_run(p->advantages, &p->rollout, p->rewards, p->kl_coef, m->totals));
    m->times.forward += tv_seconds() - begin;
    return update_all(p);
}

static tv_status iterate(tv_ppo *p) {
    measurement *m = &p->measured;
    const double waited = tv_waited_seconds(p->run->device);
    tv_status status = learn(p, m);
    m->device_seconds += tv_waited_seconds(p->run->device) - waited;
    if (status != TV_OK)
        return status;
    TV_RETURN_IF_FAILED(expect_finite_losses(m));
    describe(p, m);
    const bool measures = p->val && tv_policy_line_measures(p->run);
    double score = 0, kl = 0;
    if (measures)
        TV_RETURN_IF_FAILED(evaluate(p, &score, &kl));
    watch_policy(p, m);
    const tv_policy_line line = {
        .examples = p->rollout.sequences,
        .loss = m->policy[TV_PPO_POLICY_LOSS] / fmax(m->terms, 1) +
                p->run->settings.ppo.vf_coef * m->value[TV_PPO_VALUE_LOSS] / fmax(m->value_terms, 1),
        .grad_norm = m->grad_norm / fmax(m->updates, 1),
        .seconds = tv_policy_times_sum(&m->times),
        .numbers = p->numbers,
        .number_count = p->number_count,
        .warning = p->warning,
        .has_val_loss = measures,
        .val_loss = -(score - p->kl_coef * kl),
    };
    TV_RETURN_IF_FAILED(tv_policy_line_write(p->run, &p->rollout, &line));
    watch_kl(p, m);
    control_kl(p, m);
    return TV_OK;
}

tv_status tv_ppo_iterate(tv_ppo *p) {
    tv_status status = iterate(p);
    return status == TV_E_NUMERIC ? tv_policy_line_end(p->run) : status;
}
