/* Each matrix of a batch divided by its norm: update /= max(sqrt(sum of partials), 1e-7).
 *
 * update: (matrices, stride), the first `count` elements of each scaled in place. partials: (matrices, partial_stride), the first `blocks`
 * of each, as muon_momentum.comp leaves them. Each workgroup adds all of its matrix's again, in one order. 8 bytes per element: memory
 * bound.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require

layout(local_size_x_id = 0) in;

#include "grid.glsl"
#include "push_constants.h"
#include "reduce.glsl"
#include "sizes.h"

layout(std430, binding = 0) buffer Update {
    float update[];
};
layout(std430, binding = 1) readonly buffer Partials {
    float partials[];
};
layout(push_constant) uniform Push {
    tv_muon_scale_push p;
};

const uint part = TV_MUON_SCALE_BLOCKS * TV_REDUCE_BLOCK;
const float smallest_norm = 1e-7;

void main() {
    uint begin = tv_group() * part, matrix = gl_WorkGroupID.z;
    if (begin >= p.count)
        return;
    uint lane = gl_LocalInvocationIndex, lanes = gl_WorkGroupSize.x, end = min(begin + part, p.count);
    float sum = 0.0;
    for (uint i = lane; i < p.blocks; i += lanes)
        sum += partials[matrix * p.partial_stride + i];
    float scale = 1.0 / max(sqrt(tv_group_sum(sum)), smallest_norm);
    for (uint i = begin + lane; i < end; i += lanes)
        update[matrix * p.stride + i] *= scale;
}
