/* The gradient's norm from the pairs of gradient_norm.comp, what it is clipped with, and whether the update is applied.
 *
 * pairs: (count, 2). state: grad_norm = sqrt(sum of plain + 2^160 sum of scaled), clip_scale = min(1, grad_clip / grad_norm) / loss_scale, finite and
 * the counters. One workgroup; each invocation adds its pairs with Kahan's compensation, so the error does not
 * grow with the number of parameters. Not finite: a pair is infinite, the norm is over fp32's range, or the clipped norm's square would be.
 * Gradients come scaled by the loss scale, which norm and clip_scale are without. Where it moves (loss_scale_growth), an update that is
 * not finite halves it, and so many applied in a row double it (Micikevicius et al. 2018, as PyTorch's GradScaler); while it still falls
 * no skipped update counts as one in a row. 8 bytes per pair: latency bound.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require

layout(local_size_x_id = 0) in;

#include "push_constants.h"
#include "reduce.glsl"

layout(std430, binding = 0) readonly buffer Partials {
    vec2 pairs[];
};
layout(std430, binding = 1) readonly buffer Step {
    tv_step_constants constants;
};
layout(std430, binding = 2) buffer State {
    tv_update_state state;
};
layout(push_constant) uniform Push {
    tv_count_push p;
};

const uint infinity_bits = 0x7f800000u;
const float small_scale = 8.271806125530277e-25; /* 2^-80 */
const float big_scale = 1.2089258196146292e24;   /* 2^80 */
const float largest_norm = 9.223372036854775e18; /* 2^63: AdamW's g^2 stays within fp32 */

void main() {
    vec2 sum = vec2(0.0), lost = vec2(0.0);
    float broken = 0.0;
    for (uint i = gl_LocalInvocationIndex; i < p.count; i += gl_WorkGroupSize.x) {
        vec2 pair = pairs[i];
        if (floatBitsToUint(pair.x) >= infinity_bits)
            broken = 1.0;
        precise vec2 term = pair - lost;
        precise vec2 next = sum + term;
        precise vec2 kept = next - sum;
        lost = kept - term;
        sum = next;
    }
    float plain = tv_group_sum(sum.x), scaled = tv_group_sum(sum.y);
    broken = tv_group_max(broken);
    if (gl_LocalInvocationIndex != 0)
        return;
    float norm = sqrt(plain);
    if (scaled > 0.0) {
        float rest = norm * small_scale;
        norm = big_scale * sqrt(scaled + rest * rest);
    }
    if (broken != 0.0 || floatBitsToUint(norm) >= infinity_bits) {
        broken = 1.0;
        norm = uintBitsToFloat(infinity_bits);
    }
    float scale = state.loss_scale > 0.0 ? state.loss_scale : 1.0, clip_scale = 1.0;
    norm /= scale;
    if (constants.grad_clip > 0.0 && norm > constants.grad_clip)
        clip_scale = constants.grad_clip / norm;
    bool applies = broken == 0.0 && norm * clip_scale <= largest_norm;
    state.grad_norm = norm;
    state.clip_scale = applies ? clip_scale / scale : 0.0;
    state.finite = applies ? 1 : 0;
    bool moves = constants.loss_scale_growth != 0;
    if (applies) {
        state.applied += 1;
        state.skipped_in_row = 0;
        uint good = state.good_steps + 1;
        bool grows = moves && good >= constants.loss_scale_growth;
        if (grows)
            state.loss_scale = min(2.0 * scale, TV_LOSS_SCALE_LARGEST);
        state.good_steps = moves && !grows ? good : 0;
    } else {
        state.skipped += 1;
        state.good_steps = 0;
        if (moves && scale > TV_LOSS_SCALE_LEAST)
            state.loss_scale = 0.5 * scale;
        else
            state.skipped_in_row += 1;
    }
}
