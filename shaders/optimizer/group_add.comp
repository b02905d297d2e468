/* sum[i] += group[i], and the group starts at zero again: gradients of a step are sums of groups, added one by one in their order.
 *
 * group, sum: (count) fp32, count a multiple of 4; both are written. Memory bound: 16 bytes an element. The sum begins as zeros, so
 * that the first group's values come out as they are (-0 as +0).
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) buffer Group {
    vec4 group[];
};
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
    sum[i] += group[i];
    group[i] = vec4(0);
}
