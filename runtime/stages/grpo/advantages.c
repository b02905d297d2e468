/* Advantages of groups: see advantages.h. */
#include "stages/grpo/advantages.h"

#include <math.h>

#include "base/tokens.h"

/* Beside a deviation, so that nearly equal rewards stay small. */
static const double least_deviation = 1e-4;
static const double least_variance = 1e-8;

/* NaN is no reward: such answers are compared with none, and none with them. */
static double mean_of(const double *values, uint64_t count) {
    double sum = 0, n = 0;
    for (uint64_t i = 0; i < count; i++) {
        sum += isnan(values[i]) ? 0 : values[i];
        n += !isnan(values[i]);
    }
    return sum / fmax(n, 1);
}

/* Of a sample: over their number less 1. */
static double deviation_of(const double *values, uint64_t count) {
    double mean = mean_of(values, count), sum = 0, n = 0;
    for (uint64_t i = 0; i < count; i++) {
        sum += isnan(values[i]) ? 0 : (values[i] - mean) * (values[i] - mean);
        n += !isnan(values[i]);
    }
    return n > 1 ? sqrt(sum / (n - 1)) : 0;
}

static void fill(tv_policy_rollout *r, uint64_t sequence, double advantage) {
    for (uint64_t i = sequence * r->tokens; i < (sequence + 1) * r->tokens; i++)
        r->advantages[i] = r->targets[i] == TV_IGNORED_TARGET ? 0 : (float)advantage;
}

static double log_ratio(const tv_policy_rollout *r, uint64_t i) {
    return r->targets[i] == TV_IGNORED_TARGET ? 0 : (double)r->old_logprobs[i] - (double)r->ref_logprobs[i];
}

/* Against the mean of the others, of rewards less the price of the answer's KL. */
static void leave_one_out(const tv_grpo_settings *settings, const double *rewards, tv_policy_rollout *r,
                          uint64_t first) {
    uint64_t k = settings->answers;
    double sum = 0, others = -1;
    for (int pass = 0; pass < 2; pass++)
        for (uint64_t s = first; s < first + k; s++) {
            double kl = 0, reward;
            if (isnan(rewards[s])) {
                fill(r, s, 0);
                continue;
            }
            for (uint64_t i = s * r->tokens; settings->kl_coef > 0 && i < (s + 1) * r->tokens; i++)
                kl += log_ratio(r, i);
            reward = rewards[s] - settings->kl_coef * kl;
            sum += pass == 0 ? reward : 0;
            others += pass == 0;
            if (pass == 1)
                fill(r, s, others > 0 ? reward - (sum - reward) / others : 0);
        }
}

/* A_t = r less the price of the KL from t on, normalised over all tokens of the batch. */
static void reinforce(const tv_grpo_settings *settings, const double *rewards, tv_policy_rollout *r) {
    double count = 0, sum = 0, square = 0;
    for (uint64_t s = 0; s < r->sequences; s++) {
        double left = rewards[s];
        for (uint64_t i = (s + 1) * r->tokens; i-- > s * r->tokens;) {
            if (r->targets[i] == TV_IGNORED_TARGET || isnan(rewards[s])) {
                r->advantages[i] = 0;
                continue;
            }
            if (settings->kl_coef > 0)
                left -= settings->kl_coef * log_ratio(r, i);
            r->advantages[i] = (float)left;
            count++;
            sum += left;
        }
    }
    double mean = count > 0 ? sum / count : 0;
    for (int pass = 0; pass < 2; pass++)
        for (uint64_t i = 0; i < r->sequences * r->tokens; i++) {
            double d = (double)r->advantages[i] - mean;
            if (r->targets[i] == TV_IGNORED_TARGET || isnan(rewards[i / r->tokens]))
                continue;
            if (pass == 0)
                square += d * d;
            else
                r->advantages[i] = (float)(d / sqrt(fmax(square / count, least_variance)));
        }
}

uint64_t tv_group_equal(const tv_grpo_settings *settings, const double *rewards, uint64_t sequences,
                        uint8_t *equal) {
    uint64_t k = settings->answers, count = 0;
    for (uint64_t g = 0; g < sequences / k; g++) {
        double first = NAN;
        equal[g] = 1;
        for (uint64_t i = g * k; i < (g + 1) * k; i++) {
            equal[g] = equal[g] && (isnan(rewards[i]) || isnan(first) || rewards[i] == first);
            first = isnan(first) ? rewards[i] : first;
        }
        count += equal[g];
    }
    return count;
}

uint64_t tv_group_advantages(const tv_grpo_settings *settings, const double *rewards, tv_policy_rollout *r,
                             uint8_t *equal) {
    uint64_t k = settings->answers, groups = r->sequences / k,
             count = tv_group_equal(settings, rewards, r->sequences, equal);
    double batch = deviation_of(rewards, r->sequences);
    for (uint64_t g = 0; g < groups; g++) {
        const double *own = rewards + g * k;
        double mean = mean_of(own, k), deviation = deviation_of(own, k);
        if (settings->advantages == TV_ADVANTAGES_RLOO) {
            leave_one_out(settings, rewards, r, g * k);
            continue;
        }
        double by = settings->advantages == TV_ADVANTAGES_GROUP   ? deviation + least_deviation
                    : settings->advantages == TV_ADVANTAGES_BATCH ? batch + least_deviation
                                                                  : 1;
        /* The mean of equal numbers may be off by a rounding. */
        for (uint64_t i = 0; i < k; i++)
            fill(r, g * k + i, equal[g] || isnan(own[i]) ? 0 : (own[i] - mean) / by);
    }
    if (settings->advantages == TV_ADVANTAGES_REINFORCE)
        reinforce(settings, rewards, r);
    return count;
}
