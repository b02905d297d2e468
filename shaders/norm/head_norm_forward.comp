/* RMSNorm of each query and key head by itself, in place: x <- x / sqrt(mean(x^2) + eps) * (gain + gain_offset).
 *
 * qkv: (rows, row_stride), its first H heads are normed with q_gain (D), the Hkv behind them with k_gain (D); raw: (rows, (H + Hkv) D),
 * the heads as they were, and rstd: (rows, H + Hkv), overwritten. One workgroup a head of a row. Limits: rows * row_stride of one
 * dispatch below 2^32. Memory bound: 12 bytes per element at fp32.
 * -DTV_HALVES: qkv and raw are halves, D even.
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
layout(std430, binding = 0) buffer Qkv {
    TV_PAIRS qkv[];
};
layout(std430, binding = 1) readonly buffer QGain {
    TV_PARAM q_gain[];
};
layout(std430, binding = 2) readonly buffer KGain {
    TV_PARAM k_gain[];
};
layout(std430, binding = 3) writeonly buffer Raw {
    TV_PAIRS raw[];
};
layout(std430, binding = 4) writeonly buffer Rstd {
    float head_rstd[];
};
layout(push_constant) uniform Push {
    tv_head_norm_push p;
};

void main() {
    uint group = tv_group(), both = p.heads + p.kv_heads;
    if (group >= p.rows * both)
        return;
    uint width = p.head_size / TV_EACH, head = group % both;
    uint base = group / both * (p.row_stride / TV_EACH) + head * width;
    uint lane = gl_LocalInvocationIndex, lanes = gl_WorkGroupSize.x;
    tv_pair squares = tv_pair(0);
    for (uint d = lane; d < width; d += lanes) {
        tv_pair x = tv_pair_value(qkv[base + d]);
        squares += x * x;
    }
    /* Not inversesqrt: see norm_forward.comp. */
    float rstd = 1.0 / sqrt(tv_group_sum(tv_pair_sum(squares)) / float(p.head_size) + p.eps);
    for (uint d = lane; d < width; d += lanes) {
        TV_PAIRS x = qkv[base + d];
        tv_pair gain = head < p.heads ? TV_PAIR_OF(q_gain, d) : TV_PAIR_OF(k_gain, d);
        raw[group * width + d] = x;
        qkv[base + d] = TV_PAIRED(tv_pair_value(x) * rstd * (gain + p.gain_offset));
    }
    if (lane == 0)
        head_rstd[group] = rstd;
}
