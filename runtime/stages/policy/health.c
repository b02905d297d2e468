/* Broken policies: see health.h. */
#include "stages/policy/health.h"

#include <math.h>
#include <stdio.h>

#include "base/log.h"
#include "base/tokens.h"

/* Of a token's distribution, in nats: at 0.001 one token has 99.99 % and the rest share what is left. */
static const double least_entropy = 1e-3;
/* Times ppo.kl_target, which is where a policy is meant to be. */
static const double far_kl = 5;

tv_status tv_policy_expect_finite(const tv_policy_rollout *r, const float *numbers, const char *what,
                                  tv_status status) {
    for (uint64_t s = 0; s < r->sequences; s++)
        TV_RETURN_IF_FAILED(tv_policy_expect_finite_answer(r, s, numbers, what, status));
    return TV_OK;
}

tv_status tv_policy_expect_finite_answer(const tv_policy_rollout *r, uint64_t sequence, const float *numbers,
                                         const char *what, tv_status status) {
    for (uint64_t i = sequence * r->tokens; i < (sequence + 1) * r->tokens; i++)
        if (r->targets[i] != TV_IGNORED_TARGET && !isfinite(numbers[i]))
            return tv_fail(status, "%s are not finite: %s at token %llu of answer %llu of the iteration",
                           what, isnan(numbers[i]) ? "NaN" : "infinity",
                           (unsigned long long)(i % r->tokens + 1), (unsigned long long)(i / r->tokens + 1));
    return TV_OK;
}

void tv_policy_describe_collapse(const tv_ppo_settings *settings, double entropy, double kl, char *text,
                                 uint64_t size) {
    text[0] = '\0';
    if (!(entropy >= least_entropy))
        snprintf(text, size, "collapsed: entropy %.2g nats a token, KL %.3g an answer", entropy, kl);
    else if (settings->kl_target > 0 && !(kl <= far_kl * settings->kl_target))
        snprintf(text, size, "far from its reference: KL %.3g an answer, over %g times ppo.kl_target=%g", kl,
                 far_kl, settings->kl_target);
}

void tv_policy_watch_first(double deviation, const tv_policy_rollout *rollout, bool *passes) {
    const bool drawn = !*passes && tv_policy_rollout_is_rated(rollout);
    if (!(deviation > 0))
        return;
    tv_warn("the first minibatch's ratios deviate from 1 by %.3g: what %s the rollout and the pass that "
            "updates differ%s",
            deviation, drawn ? "drew" : "scored", drawn ? "; from here on a pass scores each rollout" : "");
    *passes = *passes || drawn;
}
