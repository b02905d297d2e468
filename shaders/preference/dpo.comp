/* Preference losses of one pair of responses, all in one form. A response of n tokens has the log-ratio r = sum lp - reference and a score
 *   SUM r (Rafailov et al. 2023), MEAN r/n (IPO, SimPO), LOG_ODDS log(e^m / (1 - e^m)) of m = r/n (ORPO);
 * x = beta (score_c - score_r) - (2 t - 1) margin; with a = t agree + (1 - t) differ and d = (1 - t) agree + t differ of the target t
 *   loss = weight (a f(x) + d f(-x) + nll (t NLL_c + (1 - t) NLL_r)), NLL = -(sum lp)/n,
 *   f: LOGISTIC softplus(-x), HINGE max(0, 1 - x), SQUARE (x - 1/2)^2, VALUE sigmoid(-x) (KTO; the rejected side is its reference point);
 * d_logprobs = loss_scale times the derivative, the same in every row of a response.
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

/* Nearer to 0 a mean log-probability has no odds in fp32. */
const float least_distance = 1.0 / 16777216.0;

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

/* The score of a log-ratio and its derivative. */
vec2 score_of(float ratio, float count) {
    if (p.score == TV_DPO_SCORE_SUM)
        return vec2(ratio, 1.0);
    float mean = ratio / count;
    if (p.score == TV_DPO_SCORE_MEAN)
        return vec2(mean, 1.0 / count);
    float rest = -tv_expm1(min(mean, -least_distance));
    return vec2(mean - log(rest), 1.0 / (count * rest));
}

/* f(x) and its derivative. */
vec2 cost_of(float x) {
    if (p.cost == TV_DPO_COST_LOGISTIC)
        return vec2(tv_softplus(-x), -tv_sigmoid(-x));
    if (p.cost == TV_DPO_COST_HINGE)
        return x < 1.0 ? vec2(1.0 - x, -1.0) : vec2(0.0);
    if (p.cost == TV_DPO_COST_SQUARE)
        return vec2((x - 0.5) * (x - 0.5), 2.0 * (x - 0.5));
    return vec2(tv_sigmoid(-x), -tv_sigmoid(x) * tv_sigmoid(-x));
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
    float chosen_count = float(max(pair.chosen_count, 1u)), rejected_count = float(max(pair.rejected_count, 1u));
    vec2 chosen_score = score_of(chosen - pair.chosen_reference, chosen_count);
    vec2 rejected_score = score_of(rejected - pair.rejected_reference, rejected_count);
    float reward_chosen = p.beta * chosen_score.x, reward_rejected = p.beta * rejected_score.x;
    float margin = reward_chosen - reward_rejected, target = pair.target, rest = 1.0 - target;
    float x = margin - (target - rest) * p.margin;
    float agree = target * p.agree + rest * p.differ, differ = rest * p.agree + target * p.differ;
    float nll_chosen = -chosen / chosen_count, nll_rejected = -rejected / rejected_count;
    vec2 ahead = cost_of(x), behind = cost_of(-x);
    bool finite = tv_is_finite(x);
    if (p.has_gradient != 0) {
        float scale = constants.loss_scale * pair.weight;
        float slope = finite ? p.beta * (agree * ahead.y - differ * behind.y) : TV_NAN;
        spread(pair.chosen_first, pair.chosen_count,
               scale * (slope * chosen_score.y - p.nll * target / chosen_count));
        spread(pair.rejected_first, pair.rejected_count,
               -scale * (slope * rejected_score.y + p.nll * rest / rejected_count));
    }
    if (lane_0) {
        float loss = agree * ahead.x + differ * behind.x + p.nll * (target * nll_chosen + rest * nll_rejected);
        stats[at + TV_DPO_LOSS] = finite ? pair.weight * loss : TV_NAN;
        stats[at + TV_DPO_CHOSEN] = reward_chosen;
        stats[at + TV_DPO_REJECTED] = reward_rejected;
        stats[at + TV_DPO_MARGIN] = margin;
        stats[at + TV_DPO_ACCURACY] = margin > 0.0 ? 1.0 : margin == 0.0 ? 0.5 : 0.0;
        stats[at + TV_DPO_CHOSEN_LOGPROB] = chosen;
        stats[at + TV_DPO_REJECTED_LOGPROB] = rejected;
        stats[at + TV_DPO_NLL] = nll_chosen;
    }
}
