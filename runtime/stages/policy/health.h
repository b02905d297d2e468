/* Signs that a policy is beyond use: numbers that are not finite, answers without a choice, a policy far
 * away.
 *
 * Promise: numbers of prompts and padding are never looked at.
 */
#ifndef TV_STAGES_POLICY_HEALTH_H
#define TV_STAGES_POLICY_HEALTH_H

#include "run/settings.h"
#include "stages/policy/rollout.h"

/* `status` with a sentence unless `numbers` (S, T), called `what`, are finite at every response token. */
tv_status tv_policy_expect_finite(const tv_policy_rollout *rollout, const float *numbers, const char *what,
                                  tv_status status);

/* The same of one answer. */
tv_status tv_policy_expect_finite_answer(const tv_policy_rollout *rollout, uint64_t sequence,
                                         const float *numbers, const char *what, tv_status status);

/* "collapsed: ..." or "far from its reference: ..." into text; empty while neither is so. `entropy` is the
 * mean per token in nats, `kl` the mean per answer. */
void tv_policy_describe_collapse(const tv_ppo_settings *settings, double entropy, double kl, char *text,
                                 uint64_t size);

/* Warns where the ratios of an iteration's first minibatch are not 1, which deviate by so much. Where the old
 * log-probabilities came with the draws, *passes becomes true: drawing has not the bits of training here. */
void tv_policy_watch_first(double deviation, const tv_policy_rollout *rollout, bool *passes);

#endif
