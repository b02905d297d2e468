/* RMSNorm of each query and key head by itself, in place: x <- x / sqrt(mean(x^2) + eps) * (gain + gain_offset).
 *
 * qkv: (rows, row_stride), its first H heads are normed with q_gain (D), the Hkv behind them with k_gain (D); raw: (rows, (H + Hkv) D),
 * the heads as they were, and rstd: (rows, H + Hkv), overwritten. One workgroup a head of a row. Limits: rows * row_stride of one
 * dispatch below 2^32. Memory bound: 12 bytes per element at fp32.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "grid.glsl"
#include "push_constants.h"
#include "reduce.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) buffer Qkv {
    TV_ACT qkv[];
};
layout(std430, binding = 1) readonly buffer QGain {
    TV_PARAM q_gain[];
};
layout(std430, binding = 2) readonly buffer KGain {
    TV_PARAM k_gain[];
};
layout(std430, binding = 3) writeonly buffer Raw {
    TV_ACT raw[];
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
    uint head = group % both, base = group / both * p.row_stride + head * p.head_size;
    uint lane = gl_LocalInvocationIndex, lanes = gl_WorkGroupSize.x;
    float squares = 0.0;
    for (uint d = lane; d < p.head_size; d += lanes) {
        float x = float(qkv[base + d]);
        squares += x * x;
    }
    /* Not inversesqrt: see norm_forward.comp. */
    float rstd = 1.0 / sqrt(tv_group_sum(squares) / float(p.head_size) + p.eps);
    for (uint d = lane; d < p.head_size; d += lanes) {
        TV_ACT x = qkv[base + d];
        float gain = head < p.heads ? float(q_gain[d]) : float(k_gain[d]);
        raw[group * p.head_size + d] = x;
        qkv[base + d] = TV_ACT(float(x) * rstd * (gain + p.gain_offset));
    }
    if (lane == 0)
        head_rstd[group] = rstd;
}
