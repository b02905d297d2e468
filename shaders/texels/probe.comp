/* What a device loads from texels: the self-test behind kernels/texels.c.
 *
 * texels: (count) of four. sums: (count, 4), overwritten: sums[i] = the sum over j = 0 ... i % 7 of texels[(13 i + 5 j) % count]. Lanes load
 * different texels and a different number of them, as in the kernels that read texels. Of whole numbers below 2^20 the sums are exact.
 * Limits: count below 2^24. Only the launch counts.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(binding = 0) uniform samplerBuffer texels;
layout(std430, binding = 1) writeonly buffer Sums {
    vec4 sums[];
};
layout(push_constant) uniform Push {
    tv_count_push p;
};

void main() {
    uint i = tv_thread();
    if (i >= p.count)
        return;
    vec4 sum = vec4(0.0);
    for (uint j = 0; j <= i % 7; j++)
        sum += texelFetch(texels, int((13 * i + 5 * j) % p.count));
    sums[i] = sum;
}
