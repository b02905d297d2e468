/* Log-probabilities: logprob = log softmax(logits / tau)[target]; with has_entropy also the entropy of softmax(logits / tau).
 *
 * logits: (rows, V), read; targets: (rows); logprobs, entropies: (rows), overwritten; lse: (rows, 2), overwritten with m, the maximum of the
 * scaled logits, and log S, S = sum_v e^(l_v - m): logprob = (l_target - m) - log S. One workgroup a row, one pass: maximum, S and
 * W = sum_v e^(l_v - m) (l_v - m) together, four loads at a time (Milakov and Gimelshein 2018; W moves with the maximum as S does, by
 * W' = e^(m - m') (W + S (m - m'))). The entropy is log S - W / S, two terms that are never negative, so nothing cancels.
 * An ignored target (0xffffffff) gives zeros, and its logits are not read. A target that is neither below V nor ignored makes its row NaN.
 * Logits may be -inf (masked). Limits: rows * V of one dispatch below 2^32. Floor: 4 bytes per logit.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "reduce.glsl"
#include "vector.glsl"

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) readonly buffer Logits {
    TV_ACTS logits[];
};
layout(std430, binding = 1) readonly buffer Targets {
    uint targets[];
};
layout(std430, binding = 2) writeonly buffer Logprobs {
    float logprobs[];
};
layout(std430, binding = 3) writeonly buffer Lse {
    vec2 lse[];
};
layout(std430, binding = 4) writeonly buffer Entropies {
    float entropies[];
};
layout(push_constant) uniform Push {
    tv_token_logprobs_push p;
};

const uint ignored = 0xffffffffu;
/* Below every finite logit, and finite, so that differences of maxima are never inf - inf. */
const float lowest = -3.4028234e38;
/* e^-120 is 0 in fp32: where weights are that, their products with differences must be 0 and not 0 * inf. */
const float least = -120.0;

void write(uint row, float logprob, vec2 parts, float entropy) {
    logprobs[p.first_row + row] = logprob;
    lse[p.first_lse + row] = parts;
    if (p.has_entropy != 0)
        entropies[p.first_row + row] = entropy;
}

float weighted(tv_vec shifted) {
    tv_vec bounded = max(shifted, tv_vec(least));
    return tv_sum_of(exp(bounded) * bounded);
}

void main() {
    uint row = tv_group();
    if (row >= p.rows)
        return;
    uint lane = gl_LocalInvocationIndex, lanes = gl_WorkGroupSize.x;
    uint width = p.vocab / TV_WIDTH, base = p.first_logit / TV_WIDTH + row * width;
    uint target = targets[p.first_row + row];
    if (target == ignored) {
        if (lane == 0)
            write(row, 0.0, vec2(0.0), 0.0);
        return;
    }

    float scale = p.inverse_temperature, maximum = lowest, sum = 0.0, products = 0.0;
    uint v = lane;
    for (; v + 3 * lanes < width; v += 4 * lanes) {
        tv_vec a = scale * tv_vec(logits[base + v]), b = scale * tv_vec(logits[base + v + lanes]);
        tv_vec c = scale * tv_vec(logits[base + v + 2 * lanes]), d = scale * tv_vec(logits[base + v + 3 * lanes]);
        float larger = max(maximum, tv_max_of(max(max(a, b), max(c, d)))), shift = max(maximum - larger, least);
        if (p.has_entropy != 0)
            products = exp(shift) * (products + sum * shift) +
                       ((weighted(a - larger) + weighted(b - larger)) + (weighted(c - larger) + weighted(d - larger)));
        sum = sum * exp(shift) + tv_sum_of((exp(a - larger) + exp(b - larger)) + (exp(c - larger) + exp(d - larger)));
        maximum = larger;
    }
    for (; v < width; v += lanes) {
        tv_vec a = scale * tv_vec(logits[base + v]);
        float larger = max(maximum, tv_max_of(a)), shift = max(maximum - larger, least);
        if (p.has_entropy != 0)
            products = exp(shift) * (products + sum * shift) + weighted(a - larger);
        sum = sum * exp(shift) + tv_sum_of(exp(a - larger));
        maximum = larger;
    }
    float row_maximum = tv_group_max(maximum), shift = max(maximum - row_maximum, least);
    float row_sum = tv_group_sum(sum * exp(shift)), row_products = 0.0;
    if (p.has_entropy != 0)
        row_products = tv_group_sum(exp(shift) * (products + sum * shift));

    bool valid = target < p.vocab, broken = !valid || row_maximum > -lowest;
    uint place = valid ? target / TV_WIDTH : 0;
    if (place % lanes != lane)
        return;
    if (broken) {
        write(row, TV_NAN, vec2(TV_NAN), TV_NAN);
        return;
    }
#ifdef TV_VEC4
    float logit = float(logits[base + place][target % TV_WIDTH]);
#else
    float logit = float(logits[base + place]);
#endif
    float log_sum = log(row_sum);
    write(row, (scale * logit - row_maximum) - log_sum, vec2(row_maximum, log_sum), log_sum - row_products / row_sum);
}
