/* Gradient of head_norm_forward.comp, in place: with n = x rstd and g = d (gain + gain_offset), d <- rstd (g - n mean(g n)).
 *
 * d_qkv: (rows, row_stride), its first H + Hkv heads are overwritten; raw: (rows, (H + Hkv) D) and rstd: (rows, H + Hkv) of the forward
 * pass. One workgroup a head of a row. Limits: rows * row_stride of one dispatch below 2^32. Memory bound: 12 bytes per element at fp32.
 * -DTV_HALVES: d_qkv and raw are halves, D even.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "grid.glsl"
#include "pairs.glsl"
#include "push_constants.h"
#include "reduce.glsl"

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) buffer DQkv {
    TV_PAIRS d_qkv[];
};
layout(std430, binding = 1) readonly buffer QGain {
    TV_PARAM q_gain[];
};
layout(std430, binding = 2) readonly buffer KGain {
    TV_PARAM k_gain[];
};
layout(std430, binding = 3) readonly buffer Raw {
    TV_PAIRS raw[];
};
layout(std430, binding = 4) readonly buffer Rstd {
    float head_rstd[];
};
layout(push_constant) uniform Push {
    tv_head_norm_push p;
};

tv_pair gradient(uint at, uint head, uint d) {
    tv_pair gain = head < p.heads ? TV_PAIR_OF(q_gain, d) : TV_PAIR_OF(k_gain, d);
    return tv_pair_value(d_qkv[at + d]) * (gain + p.gain_offset);
}

void main() {
    uint group = tv_group(), both = p.heads + p.kv_heads;
    if (group >= p.rows * both)
        return;
    uint width = p.head_size / TV_EACH, head = group % both;
    uint base = group / both * (p.row_stride / TV_EACH) + head * width;
    uint lane = gl_LocalInvocationIndex, lanes = gl_WorkGroupSize.x;
    float rstd = head_rstd[group];
    tv_pair products = tv_pair(0);
    for (uint d = lane; d < width; d += lanes)
        products += gradient(base, head, d) * tv_pair_value(raw[group * width + d]);
    float slope = tv_group_sum(tv_pair_sum(products)) / float(p.head_size) * rstd * rstd;
    for (uint d = lane; d < width; d += lanes)
        d_qkv[base + d] = TV_PAIRED(rstd * (gradient(base, head, d) - tv_pair_value(raw[group * width + d]) * slope));
}
