/* C = fma(scale, slice, C) for the sums of slices of k in their order, from the bias, 0 or, with accumulate, what C held on: the
 * end of a product whose slices different workgroups made. With TOTAL_FIRST, as the tiles of matrix units have it, C = fma(scale, sum of the
 * slices from 0 on in their order, C).
 *
 * slices: (slices, m, n), packed; C: (m, n), rows p.ldc apart; bias: (n). An invocation per value, neighbours on neighbouring columns:
 * every read and write of a subgroup is one stretch of memory. 2 FLOPs per slice and value, 4 (slices + 1) m n bytes (one more m n with
 * accumulate): memory bound, mostly from caches, because the slices were just written.
 * Limit: slices * m * n below 2^32.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "types.glsl"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(constant_id = 0) const bool GELU = false;
layout(constant_id = 1) const bool TOTAL_FIRST = false;
layout(std430, binding = 0) readonly buffer Slices {
    float slices[];
};
layout(std430, binding = 1) readonly buffer Bias {
    TV_PARAM bias[];
};
layout(std430, binding = 2) buffer C {
    TV_ACT c[];
};
layout(push_constant) uniform Push {
    tv_matmul_slices_push p;
};

void main() {
    uint value = tv_thread(), all = p.m * p.n;
    if (value >= all)
        return;
    uint row = value / p.n, column = value % p.n, at = p.first_c + row * p.ldc + column;
    float before = p.accumulate != 0 ? float(c[at]) : p.has_bias != 0 ? float(bias[p.first_bias + column]) : 0.0;
    float total = TOTAL_FIRST ? 0.0 : before;
    for (uint s = 0; s < p.slices; s++)
        total = fma(TOTAL_FIRST ? 1.0 : p.scale, slices[s * all + value], total);
    if (TOTAL_FIRST)
        total = fma(p.scale, total, before);
    if (GELU)
        total /= 1.0 + tv_gelu_exp(total);
    c[at] = TV_ACT(total);
}
