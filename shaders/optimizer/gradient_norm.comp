/* Sums of squares of blocks of gradients that neither overflow nor miss what is not finite.
 *
 * gradient: bound twice, as vectors and for the last elements as scalars. For each segment of the dispatch (segments.glsl), pairs:
 * (blocks, 2), overwritten from float `partial` on, then `padding` zeros. Block b (4,096 elements) gives (sum of g^2, 0); where an element is above 2^40 it gives
 * (0, sum of (2^-80 g)^2); where one is NaN or infinite it gives (infinity, 0). After Blue 1978, with the scale chosen per block
 * (what the scale flushes to 0 is below 2^-20 of the block's largest). NaN is told by its bits, which no compiler reasons away.
 * 2 FLOPs per 4 bytes: memory bound.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require

layout(local_size_x_id = 0) in;

#include "grid.glsl"
#include "push_constants.h"
#include "reduce.glsl"

layout(std430, binding = 0) readonly buffer Vectors {
    vec4 gradient4[];
};
layout(std430, binding = 1) readonly buffer Scalars {
    float gradient[];
};
layout(std430, binding = 2) writeonly buffer Partials {
    float pairs[];
};
layout(push_constant) uniform Push {
    tv_segments_push p;
};

#define TV_SEGMENTS_BINDING 3
#include "segments.glsl"

const uint infinity_bits = 0x7f800000u;
const uint big_bits = 0x53800000u;               /* 2^40: 2^48 squares below it do not overflow */
const float big_scale = 8.271806125530277e-25; /* 2^-80: squares between 2^-80 and 2^96 */

/* The sum over [begin, end) of the gradient from `at` on of (scale g)^2; `largest` takes the largest bit pattern of a magnitude. */
float sum_squares(uint at, uint begin, uint end, float scale, inout uint largest) {
    uint lane = gl_LocalInvocationIndex, lanes = gl_WorkGroupSize.x, end4 = end / 4;
    vec4 sum = vec4(0.0);
    for (uint i = begin / 4 + lane; i < end4; i += lanes) {
        vec4 g = gradient4[at / 4 + i];
        uvec4 bits = floatBitsToUint(g) & 0x7fffffffu;
        largest = max(largest, max(max(bits.x, bits.y), max(bits.z, bits.w)));
        g *= scale;
        sum += g * g;
    }
    float value = (sum.x + sum.y) + (sum.z + sum.w);
    if (end4 * 4 + lane < end) {
        float g = gradient[at + end4 * 4 + lane];
        largest = max(largest, floatBitsToUint(g) & 0x7fffffffu);
        g *= scale;
        value += g * g;
    }
    return tv_group_sum(value);
}

void main() {
    uint group = tv_group();
    tv_update_segment s = tv_segment_of(group, p.first, p.segments);
    uint block = group - s.first_group, begin = block * TV_REDUCE_BLOCK;
    if (begin >= s.count)
        return;
    uint end = min(begin + TV_REDUCE_BLOCK, s.count), largest = 0;
    float plain = sum_squares(s.gradient, begin, end, 1.0, largest), scaled = 0.0;
    float kind = tv_group_max(largest >= infinity_bits ? 2.0 : largest > big_bits ? 1.0 : 0.0);
    if (kind == 1.0) {
        plain = 0.0;
        scaled = sum_squares(s.gradient, begin, end, big_scale, largest);
    } else if (kind == 2.0) {
        plain = uintBitsToFloat(infinity_bits);
    }
    if (gl_LocalInvocationIndex == 0) {
        pairs[s.partial + 2 * block] = plain;
        pairs[s.partial + 2 * block + 1] = scaled;
    }
    if (end == s.count)
        for (uint i = gl_LocalInvocationIndex; i < s.padding; i += gl_WorkGroupSize.x)
            pairs[s.partial + 2 * block + 2 + i] = 0.0;
}
