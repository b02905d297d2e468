/* Sums of blocks: output[first + b] (+)= x[b * 4096] + ... + x[b * 4096 + 4095].
 *
 * x: (count), bound twice, as vectors and for the last elements as scalars. output: (blocks), overwritten or, with `accumulate`, added to.
 * One workgroup per block; the order of additions depends on the workgroup's size alone, so a device repeats its bits.
 * Limits: count below 2^31. One FLOP per 4 bytes: memory bound.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require

layout(local_size_x_id = 0) in;

#include "grid.glsl"
#include "push_constants.h"
#include "reduce.glsl"

layout(std430, binding = 0) readonly buffer Vectors {
    vec4 x4[];
};
layout(std430, binding = 1) readonly buffer Scalars {
    float x[];
};
layout(std430, binding = 2) buffer Output {
    float sums[];
};
layout(push_constant) uniform Push {
    tv_reduce_push p;
};

void main() {
    uint begin = tv_group() * TV_REDUCE_BLOCK;
    if (begin >= p.count)
        return;
    uint end = min(begin + TV_REDUCE_BLOCK, p.count), end4 = end / 4;
    uint lane = gl_LocalInvocationIndex, lanes = gl_WorkGroupSize.x;
    vec4 sum = vec4(0.0);
    uint i = begin / 4 + lane;
    for (; i + 3 * lanes < end4; i += 4 * lanes)
        sum += (x4[i] + x4[i + lanes]) + (x4[i + 2 * lanes] + x4[i + 3 * lanes]);
    for (; i < end4; i += lanes)
        sum += x4[i];
    float value = (sum.x + sum.y) + (sum.z + sum.w);
    if (end4 * 4 + lane < end)
        value += x[end4 * 4 + lane];
    value = tv_group_sum(value);
    if (lane == 0) {
        uint at = p.first + begin / TV_REDUCE_BLOCK;
        sums[at] = p.accumulate != 0 ? sums[at] + value : value;
    }
}
