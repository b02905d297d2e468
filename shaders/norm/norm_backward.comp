/* With n = (x - mean) rstd and g = d_output * gain:
 *   d_sum = rstd (g - mean(g) - n mean(g n)) + d_residual     (TV_RMS: without mean and mean(g))
 *
 * d_output, sum, d_residual, d_sum: (rows, C); gain: (C); mean, rstd: (rows). d_sum is overwritten. One workgroup a row; each
 * invocation reads its elements before it writes them, so d_sum may lie over d_residual or d_output.
 * -DTV_HALVES: d_output is halves. Limits: rows * C of one dispatch below 2^32. About 14 FLOPs an element; floor 12 bytes an element, 16 with d_residual.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "grid.glsl"
#include "push_constants.h"
#include "reduce.glsl"
#include "vector.glsl"

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) readonly buffer DOutput {
    TV_NARROWS d_output[];
};
layout(std430, binding = 1) readonly buffer Sum {
    TV_ACTS x[];
};
layout(std430, binding = 2) readonly buffer Gain {
    TV_PARAMS gain[];
};
layout(std430, binding = 3) readonly buffer Mean {
    float row_mean[];
};
layout(std430, binding = 4) readonly buffer Rstd {
    float row_rstd[];
};
layout(std430, binding = 5) readonly buffer DResidual {
    TV_ACTS d_residual[];
};
layout(std430, binding = 6) writeonly buffer DSum {
    TV_ACTS d_sum[];
};
layout(push_constant) uniform Push {
    tv_norm_push p;
};

void main() {
    uint row = tv_group();
    if (row >= p.rows)
        return;
    uint lane = gl_LocalInvocationIndex, lanes = gl_WorkGroupSize.x;
    uint width = p.channels / TV_WIDTH, base = row * width;
    float inverse_channels = 1.0 / float(p.channels);
    float rstd = row_rstd[row];
#ifdef TV_RMS
    float mean = 0.0;
#else
    float mean = row_mean[row];
    tv_vec sum_g = tv_vec(0);
#endif
    tv_vec sum_gn = tv_vec(0);
    for (uint c = lane; c < width; c += lanes) {
        tv_vec g = tv_value(d_output[base + c]) * (tv_vec(gain[c]) + p.gain_offset);
        sum_gn += g * (tv_vec(x[base + c]) - mean);
#ifndef TV_RMS
        sum_g += g;
#endif
    }
    /* mean(g n) rstd: what the difference x - mean is multiplied with. */
    float slope = tv_group_sum(tv_sum_of(sum_gn)) * inverse_channels * rstd * rstd;
#ifdef TV_RMS
    float mean_g = 0.0;
#else
    float mean_g = tv_group_sum(tv_sum_of(sum_g)) * inverse_channels;
#endif
    if (p.has_residual != 0) {
        for (uint c = lane; c < width; c += lanes) {
            tv_vec g = tv_value(d_output[base + c]) * (tv_vec(gain[c]) + p.gain_offset);
            tv_vec d = rstd * (g - mean_g - (tv_vec(x[base + c]) - mean) * slope);
            d_sum[base + c] = TV_ACTS(d + tv_vec(d_residual[base + c]));
        }
    } else {
        for (uint c = lane; c < width; c += lanes) {
            tv_vec g = tv_value(d_output[base + c]) * (tv_vec(gain[c]) + p.gain_offset);
            d_sum[base + c] = TV_ACTS(rstd * (g - mean_g - (tv_vec(x[base + c]) - mean) * slope));
        }
    }
}
