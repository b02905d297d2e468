/* The way back from log-probabilities: logits become d / tau * (onehot - softmax(logits / tau)), d the gradient of the row's logprob.
 *
 * logits: (rows, V), in place; targets, d_logprobs: (rows); lse: (rows, 2) as token_logprobs wrote it. One workgroup a row, one pass, because
 * softmax = e^((l - m) - log S). The element of the target is touched by one invocation only.
 * An ignored target gives exact zeros; neither its logits nor its d are read. A target outside of the vocabulary has an lse of NaN,
 * which makes its row NaN. Limits: rows * V of one dispatch below 2^32. Floor: 8 bytes per logit.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"
#include "vector.glsl"

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) buffer Logits {
    TV_ACTS logits[];
};
layout(std430, binding = 1) readonly buffer Targets {
    uint targets[];
};
layout(std430, binding = 2) readonly buffer Lse {
    vec2 lse[];
};
layout(std430, binding = 3) readonly buffer Gradients {
    float d_logprobs[];
};
layout(push_constant) uniform Push {
    tv_token_logprobs_push p;
};

const uint ignored = 0xffffffffu;

void main() {
    uint row = tv_group();
    if (row >= p.rows)
        return;
    uint lane = gl_LocalInvocationIndex, lanes = gl_WorkGroupSize.x;
    uint width = p.vocab / TV_WIDTH, base = p.first_logit / TV_WIDTH + row * width;
    uint target = targets[p.first_row + row];
    if (target == ignored) {
        for (uint v = lane; v < width; v += lanes)
            logits[base + v] = TV_ACTS(0);
        return;
    }
    float scale = p.inverse_temperature, d = d_logprobs[p.first_row + row] * scale;
    vec2 parts = lse[p.first_lse + row];
    /* Written out, because some drivers return numbers for exp(NaN). */
    if (target >= p.vocab)
        d = uintBitsToFloat(0x7fc00000u);
    for (uint v = lane; v < width; v += lanes) {
        tv_vec gradient = -d * exp((scale * tv_vec(logits[base + v]) - parts.x) - parts.y);
        if (v == target / TV_WIDTH) {
#ifdef TV_VEC4
            gradient[target % TV_WIDTH] += d;
#else
            gradient += d;
#endif
        }
        logits[base + v] = TV_ACTS(gradient);
    }
}
