/* Direct preference optimisation (Rafailov et al. 2023) of one pair: x = beta ((lp_c - ref_c) - (lp_r - ref_r)), lp summed over the response;
 * loss = t softplus(-x) + (1 - t) softplus(x); d_logprobs = loss_scale * beta * ((1 - t) sigmoid(x) - t sigmoid(-x)) over the rows of the
 * chosen response, the negative of it over those of the rejected one.
 *
 * table: (P); logprobs, d_logprobs: (N); stats: (P, TV_DPO_STATS), columns TV_DPO_* of sizes.h. d_logprobs is written in the responses, the
 * rest is the launcher's to clear; stats is overwritten. One workgroup a pair; lane i adds up rows i, i + lanes, ... of a response, so a
 * sum does not depend on where the response lies. A log-probability that is not finite makes its pair NaN. 8 bytes a row.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "sizes.h"
#include "reduce.glsl"

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) readonly buffer Table {
    tv_dpo_pair table[];
};
layout(std430, binding = 1) readonly buffer Logprobs {
    float logprobs[];
};
layout(std430, binding = 2) readonly buffer Step {
    tv_step_constants constants;
};
layout(std430, binding = 3) writeonly buffer Gradients {
    float d_logprobs[];
};
layout(std430, binding = 4) writeonly buffer Stats {
    float stats[];
};
layout(push_constant) uniform Push {
    tv_dpo_push p;
};

/* The rows of a response that are there. */
uint end_of(uint first, uint count) {
    return first >= p.rows ? first : first + min(count, p.rows - first);
}

float sum_of(uint first, uint count) {
    float sum = 0.0;
    for (uint row = first + gl_LocalInvocationIndex; row < end_of(first, count); row += gl_WorkGroupSize.x)
        sum += logprobs[row];
    return tv_group_sum(sum);
}

void spread(uint first, uint count, float gradient) {
    for (uint row = first + gl_LocalInvocationIndex; row < end_of(first, count); row += gl_WorkGroupSize.x)
        d_logprobs[row] = gradient;
}

void main() {
    uint number = tv_group();
    if (number >= p.pairs)
        return;
    tv_dpo_pair pair = table[number];
    uint at = number * TV_DPO_STATS;
    bool lane_0 = gl_LocalInvocationIndex == 0;
    if (pair.chosen_count + pair.rejected_count == 0) {
        if (lane_0)
            for (uint c = 0; c < TV_DPO_STATS; c++)
                stats[at + c] = 0.0;
        return;
    }
    float chosen = sum_of(pair.chosen_first, pair.chosen_count);
    float rejected = sum_of(pair.rejected_first, pair.rejected_count);
    float reward_chosen = p.beta * (chosen - pair.chosen_reference);
    float reward_rejected = p.beta * (rejected - pair.rejected_reference);
    float x = reward_chosen - reward_rejected, target = pair.target, rest = 1.0 - target;
    bool finite = tv_is_finite(x);
    if (p.has_gradient != 0) {
        float slope = finite ? rest * tv_sigmoid(x) - target * tv_sigmoid(-x) : TV_NAN;
        float gradient = constants.loss_scale * p.beta * slope;
        spread(pair.chosen_first, pair.chosen_count, gradient);
        spread(pair.rejected_first, pair.rejected_count, -gradient);
    }
    if (lane_0) {
        float loss = finite ? target * tv_softplus(-x) + rest * tv_softplus(x) : TV_NAN;
        stats[at + TV_DPO_LOSS] = loss;
        stats[at + TV_DPO_CHOSEN] = reward_chosen;
        stats[at + TV_DPO_REJECTED] = reward_rejected;
        stats[at + TV_DPO_MARGIN] = x;
        stats[at + TV_DPO_ACCURACY] = x > 0.0 ? 1.0 : x == 0.0 ? 0.5 : 0.0;
        stats[at + TV_DPO_CHOSEN_LOGPROB] = chosen;
        stats[at + TV_DPO_REJECTED_LOGPROB] = rejected;
        stats[at + TV_DPO_UNUSED] = 0.0;
    }
}
