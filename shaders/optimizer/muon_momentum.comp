/* Muon's momentum, and the sums of squares of what is to be made orthogonal:
 *
 *   m += (1 - momentum) (g - m),  update = g + momentum (m - g),  g = clip_scale * gradient
 *   partials[block] = sum of update^2 over 4,096 elements
 *
 * Of each matrix (gl_WorkGroupID.z): gradient: (count), set to 0. moment: (count), updated. update: (count), partials: (blocks),
 * overwritten. When state.finite is 0 the gradients alone are touched. Beginnings need not be aligned, because v begins within a fused qkv. 9
 * FLOPs per 24 bytes: memory bound.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require

layout(local_size_x_id = 0) in;

#include "grid.glsl"
#include "push_constants.h"
#include "reduce.glsl"
#include "sizes.h"

layout(std430, binding = 0) buffer Gradient {
    float gradient[];
};
layout(std430, binding = 1) buffer Moment {
    float moment[];
};
layout(std430, binding = 2) writeonly buffer Update {
    float update[];
};
layout(std430, binding = 3) writeonly buffer Partials {
    float partials[];
};
layout(std430, binding = 4) readonly buffer Step {
    tv_step_constants constants;
};
layout(std430, binding = 5) readonly buffer State {
    tv_update_state state;
};
layout(push_constant) uniform Push {
    tv_muon_momentum_push p;
};

void main() {
    uint block = tv_group(), begin = block * TV_REDUCE_BLOCK, matrix = gl_WorkGroupID.z;
    if (begin >= p.count)
        return;
    uint partial_at = p.first_partial + matrix * TV_MUON_STRIDE((p.count + TV_REDUCE_BLOCK - 1) / TV_REDUCE_BLOCK);
    uint end = min(begin + TV_REDUCE_BLOCK, p.count), stride = gl_WorkGroupSize.x;
    uint gradient_at = p.gradients[matrix], moment_at = p.moments[matrix], update_at = matrix * TV_MUON_STRIDE(p.count);
    if (state.finite == 0) {
        for (uint i = begin + gl_LocalInvocationIndex; i < end; i += stride)
            gradient[gradient_at + i] = 0.0;
        return;
    }
    float clip_scale = state.clip_scale, momentum = constants.momentum, rate = 1.0 - momentum, sum = 0.0;
    for (uint i = begin + gl_LocalInvocationIndex; i < end; i += stride) {
        float g = clip_scale * gradient[gradient_at + i];
        float m = moment[moment_at + i];
        m += rate * (g - m);
        float u = g + momentum * (m - g);
        moment[moment_at + i] = m;
        update[update_at + i] = u;
        gradient[gradient_at + i] = 0.0;
        sum += u * u;
    }
    sum = tv_group_sum(sum);
    if (gl_LocalInvocationIndex == 0)
        partials[partial_at + block] = sum;
}
