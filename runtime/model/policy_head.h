/* The policy as a loss head: log-probabilities of tokens under softmax(logits / tau), and PPO's clipped loss.
 *
 * Goes through the rows in chunks as the language head does, so that logits are never stored whole. Without a
 * gradient it is how lp_old, lp_ref and any other log-probabilities are computed: by the same kernels over
 * the same shapes, so that an untouched policy has ratios of exactly 1.
 */
#ifndef TV_MODEL_POLICY_HEAD_H
#define TV_MODEL_POLICY_HEAD_H

#include "kernels/ppo.h"
#include "model/loss_head.h"

typedef struct tv_policy_settings {
    double clip;        /* eps */
    double temperature; /* tau, above 0 */
} tv_policy_settings;

enum { TV_POLICY_TARGETS, TV_POLICY_OLD_LOGPROBS, TV_POLICY_ADVANTAGES }; /* inputs, (B, T) each */
enum { TV_POLICY_LOGPROBS, TV_POLICY_ENTROPIES }; /* outputs, (B, T), 0 where ignored */

/* A tv_head_maker over tv_policy_settings. Statistics: enum TV_PPO_POLICY_* of kernels/ppo.h; loss_scale is 1
 * / response tokens of the step. A forward pass reads the targets only. */
tv_loss_head tv_policy_head(const void *settings, uint64_t batch, uint64_t tokens);

#endif
