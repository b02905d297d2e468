/* sum[i] += group[i], and the group starts at zero again: gradients of a step are sums of groups, added one by one in their order.
 *
 * group, sum: (count) fp32, count a multiple of 4; both are written. Memory bound: 16 bytes an element, 1 FLOP. The sum begins as zeros, so
 * that the first group's values come out as they are (-0 as +0).
 * -DTV_BF16: group (count) bf16, as group_round.comp gives it, read alone. 10 bytes an element.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#ifdef TV_BF16
#include "halves.glsl"
#endif
#include "push_constants.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
#ifdef TV_BF16
layout(std430, binding = 0) readonly buffer Group {
    uvec2 group[];
};
#else
layout(std430, binding = 0) buffer Group {
    vec4 group[];
};
#endif
layout(std430, binding = 1) buffer Sum {
    vec4 sum[];
};
layout(push_constant) uniform Push {
    tv_count_push p;
};

void main() {
    uint i = tv_thread();
    if (i >= p.count / 4)
        return;
#ifdef TV_BF16
    uvec2 words = group[i];
    sum[i] += vec4(tv_unpack_two(words.x, TV_TYPE_BF16), tv_unpack_two(words.y, TV_TYPE_BF16));
#else
    sum[i] += group[i];
    group[i] = vec4(0);
#endif
}
