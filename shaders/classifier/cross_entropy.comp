/* Softmax and cross-entropy: loss = log sum_v e^(l_v - m) - (l_target - m), m = max l; with has_gradient the logits are overwritten with
 * (softmax - onehot) * loss_scale.
 *
 * logits: (rows, V), in place; targets: (rows); losses: (rows), overwritten; with has_hits, hits: (rows), overwritten with 1 where the
 * target's logit is the row's maximum, else 0. One workgroup a row. A first pass finds maximum and sum
 * together (Milakov and Gimelshein 2018), four loads at a time, so that one exponential in 17 is for rescaling; a second writes the
 * gradient. The element of the target is read and written by the one invocation whose element it is, which also writes the loss.
 * An ignored target (0xffffffff) gives loss 0 and gradient 0, and its logits are not read. A target that is neither below V nor
 * ignored makes the whole row NaN, so that the update is skipped and counted.
 * Logits may be -inf (masked). Limits: rows * V of one dispatch below 2^32. Floor: 4 bytes per logit, 12 with the gradient.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "grid.glsl"
#include "push_constants.h"
#include "reduce.glsl"
#include "vector.glsl"

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) buffer Logits {
    TV_ACTS logits[];
};
layout(std430, binding = 1) readonly buffer Targets {
    uint targets[];
};
layout(std430, binding = 2) writeonly buffer Losses {
    float losses[];
};
layout(std430, binding = 3) readonly buffer Step {
    tv_step_constants constants;
};
layout(std430, binding = 4) writeonly buffer Hits {
    float hits[];
};
layout(push_constant) uniform Push {
    tv_cross_entropy_push p;
};

const uint ignored = 0xffffffffu;
/* Below every finite logit, and finite, so that differences of maxima are never inf - inf. */
const float lowest = -3.4028234e38;

void main() {
    uint row = tv_group();
    if (row >= p.rows)
        return;
    uint lane = gl_LocalInvocationIndex, lanes = gl_WorkGroupSize.x;
    uint width = p.vocab / TV_WIDTH, base = p.first_logit / TV_WIDTH + row * width;
    uint place_of_row = p.first_row + row, target = targets[place_of_row];
    if (target == ignored) {
        if (p.has_gradient != 0)
            for (uint v = lane; v < width; v += lanes)
                logits[base + v] = TV_ACTS(0);
        if (lane == 0) {
            losses[place_of_row] = 0.0;
            if (p.has_hits != 0)
                hits[place_of_row] = 0.0;
        }
        return;
    }

    float maximum = lowest, sum = 0.0;
    uint v = lane;
    for (; v + 3 * lanes < width; v += 4 * lanes) {
        tv_vec a = tv_vec(logits[base + v]), b = tv_vec(logits[base + v + lanes]);
        tv_vec c = tv_vec(logits[base + v + 2 * lanes]), d = tv_vec(logits[base + v + 3 * lanes]);
        float larger = max(maximum, tv_max_of(max(max(a, b), max(c, d))));
        sum = sum * exp(maximum - larger) +
              tv_sum_of((exp(a - larger) + exp(b - larger)) + (exp(c - larger) + exp(d - larger)));
        maximum = larger;
    }
    for (; v < width; v += lanes) {
        tv_vec a = tv_vec(logits[base + v]);
        float larger = max(maximum, tv_max_of(a));
        sum = sum * exp(maximum - larger) + tv_sum_of(exp(a - larger));
        maximum = larger;
    }
    float row_maximum = tv_group_max(maximum);
    float row_sum = tv_group_sum(sum * exp(maximum - row_maximum));

    /* Written out, because some drivers return numbers for exp(NaN) and log(NaN). */
    bool valid = target < p.vocab, broken = !valid || row_maximum > -lowest;
    const float nan = uintBitsToFloat(0x7fc00000u);
    uint place = valid ? target / TV_WIDTH : 0;
    bool owner = place % lanes == lane;
    float shifted = 0.0;
    if (owner) {
#ifdef TV_VEC4
        shifted = float(logits[base + place][target % TV_WIDTH]) - row_maximum;
#else
        shifted = float(logits[base + place]) - row_maximum;
#endif
        losses[place_of_row] = broken ? nan : log(row_sum) - shifted;
        if (p.has_hits != 0)
            hits[place_of_row] = !broken && shifted == 0.0 ? 1.0 : 0.0;
    }
    if (p.has_gradient == 0)
        return;
    float scale = constants.loss_scale, factor = broken ? nan : scale / row_sum;
    for (uint w = lane; w < width; w += lanes)
        logits[base + w] = TV_ACTS(exp(tv_vec(logits[base + w]) - row_maximum) * factor);
    if (owner && valid) {
        float gradient = exp(shifted) * factor - scale;
#ifdef TV_VEC4
        logits[base + place][target % TV_WIDTH] = TV_ACT(gradient);
#else
        logits[base + place] = TV_ACT(gradient);
#endif
    }
}
