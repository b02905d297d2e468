/* Generalised advantage estimation over the response rows of each sequence, from the last to the first (Schulman et al. 2015):
 *   reward_t = -beta kl_t, plus the score at the last row;  delta_t = reward_t + gamma V_(t+1) - V_t
 *   A_t = delta_t + gamma lambda A_(t+1);  R_t = A_t + V_t;  V and A behind the last row are 0.
 *
 * old_logprobs, ref_logprobs, values, advantages, returns: (S, T); extents: (S); beta: (1); sums: (S, TV_GAE_SUMS), columns TV_GAE_* of sizes.h.
 * advantages, returns and sums are overwritten; values, advantages and returns are 0 outside the response, whose inputs are not read.
 * One invocation a sequence, sums in the order of the walk: a recurrence has no more parallelism, and a rollout is a few hundred sequences.
 * Floor: 24 bytes a token, which latency exceeds. Limits: S * T of one dispatch below 2^32.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "sizes.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer Extents {
    tv_gae_extent extents[];
};
layout(std430, binding = 1) readonly buffer Beta {
    float beta[];
};
layout(std430, binding = 2) readonly buffer OldLogprobs {
    float old_logprobs[];
};
layout(std430, binding = 3) readonly buffer RefLogprobs {
    float ref_logprobs[];
};
layout(std430, binding = 4) buffer Values {
    float values[];
};
layout(std430, binding = 5) writeonly buffer Advantages {
    float advantages[];
};
layout(std430, binding = 6) writeonly buffer Returns {
    float returns[];
};
layout(std430, binding = 7) writeonly buffer Sums {
    float sums[];
};
layout(push_constant) uniform Push {
    tv_gae_push p;
};

/* e^-d - 1 + d. Its series near 0, where the three terms cancel: to the ninth power it errs below 1e-8 relative at 0.5. */
float k3(float d) {
    if (abs(d) >= 0.5)
        return exp(min(-d, 80.0)) - 1.0 + d;
    return d * d / 2.0 *
           (1.0 - d / 3.0 * (1.0 - d / 4.0 * (1.0 - d / 5.0 * (1.0 - d / 6.0 * (1.0 - d / 7.0 * (1.0 - d / 8.0 * (1.0 - d / 9.0)))))));
}

float divergence(float d) {
    return p.estimator == TV_KL_1 ? d : p.estimator == TV_KL_2 ? 0.5 * d * d : tv_is_finite(d) ? k3(d) : TV_NAN;
}

void main() {
    uint sequence = tv_thread();
    if (sequence >= p.sequences)
        return;
    tv_gae_extent extent = extents[sequence];
    uint first = min(extent.first, p.tokens), count = min(extent.count, p.tokens - first);
    float coefficient = beta[0], next_value = 0.0, next_advantage = 0.0;
    float kl_sum = 0.0, entropy_sum = 0.0, reward_sum = 0.0, ratio_sum = 0.0, advantage_sum = 0.0, return_sum = 0.0;
    for (uint back = 0; back < p.tokens; back++) {
        uint t = p.tokens - 1 - back, i = sequence * p.tokens + t;
        if (t < first || t >= first + count) {
            values[i] = 0.0;
            advantages[i] = 0.0;
            returns[i] = 0.0;
            continue;
        }
        float old = old_logprobs[i], value = values[i], difference = old - ref_logprobs[i], kl = divergence(difference);
        float penalty = -coefficient * kl, reward = t + 1 == first + count ? penalty + extent.score : penalty;
        float advantage = (reward + p.gamma * next_value - value) + p.gamma * p.lambda * next_advantage;
        advantages[i] = advantage;
        returns[i] = advantage + value;
        kl_sum += kl;
        entropy_sum -= old;
        reward_sum += penalty;
        ratio_sum += difference;
        advantage_sum += advantage;
        return_sum += advantage + value;
        next_value = value;
        next_advantage = advantage;
    }
    uint at = sequence * TV_GAE_SUMS;
    sums[at + TV_GAE_KL] = kl_sum;
    sums[at + TV_GAE_ENTROPY] = entropy_sum;
    sums[at + TV_GAE_NON_SCORE_REWARD] = reward_sum;
    sums[at + TV_GAE_LOG_RATIO] = ratio_sum;
    sums[at + TV_GAE_ADVANTAGE] = advantage_sum;
    sums[at + TV_GAE_TOKENS] = float(count);
    sums[at + TV_GAE_RETURN] = return_sum;
    sums[at + TV_GAE_UNUSED] = 0.0;
}
