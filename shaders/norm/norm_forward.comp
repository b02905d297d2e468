/* x = input + residual; y = (x - mean) / sqrt(var + eps) * gain + bias (TV_RMS: y = x / sqrt(mean(x^2) + eps) * gain);
 * each gain is its parameter plus gain_offset.
 *
 * input, residual, sum, y: (rows, C); gain, bias: (C); mean, rstd: (rows). sum, y, mean and rstd are overwritten. One workgroup a
 * row; the variance is the mean of squared differences. Without a residual `sum` is bound to the input and only read.
 * Each invocation reads back what it wrote itself, so sum may lie over residual or input.
 * -DTV_TEXELS=1, with TV_VEC4, for CPUs: input, residual, gain and bias are bound as texels of four, and a row stays in registers (norm_row.glsl).
 * What is not there is bound as something else and not read. The sums are the same.
 * -DTV_HALVES: y is halves. Limits: rows * C of one dispatch below 2^32. About 8 FLOPs an element; floor 8 bytes an element, 16 with a residual.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "grid.glsl"
#include "push_constants.h"
#include "reduce.glsl"
#include "vector.glsl"

layout(local_size_x_id = 0) in;
#if TV_TEXELS
/* Constants, because both sides of a branch are run where this kernel is. */
layout(constant_id = 1) const uint NORM_EACH = 1;
layout(constant_id = 2) const bool NORM_RESIDUAL = false;
layout(constant_id = 3) const bool NORM_SHIFT = false;
#ifdef TV_RMS
const bool NORM_RMS = true;
#else
const bool NORM_RMS = false;
#endif
layout(binding = 0) uniform samplerBuffer x_in;
layout(binding = 1) uniform samplerBuffer residual;
layout(binding = 2) uniform samplerBuffer gain;
layout(binding = 3) uniform samplerBuffer shift;
#else
layout(std430, binding = 0) readonly buffer Input {
    TV_ACTS x_in[];
};
layout(std430, binding = 1) readonly buffer Residual {
    TV_ACTS residual[];
};
layout(std430, binding = 2) readonly buffer Gain {
    TV_PARAMS gain[];
};
layout(std430, binding = 3) readonly buffer Bias {
    TV_PARAMS bias[];
};
#endif
layout(std430, binding = 4) buffer Sum {
    TV_ACTS x[];
};
layout(std430, binding = 5) writeonly buffer Output {
    TV_NARROWS y[];
};
layout(std430, binding = 6) writeonly buffer Mean {
    float row_mean[];
};
layout(std430, binding = 7) writeonly buffer Rstd {
    float row_rstd[];
};
layout(push_constant) uniform Push {
    tv_norm_push p;
};

#if TV_TEXELS
#define NORM_INPUT(at)  texelFetch(x_in, int(at))
#define NORM_SUM(at)    x[at]
#define NORM_OUTPUT(at) y[at]
#include "norm_row.glsl"
#endif

void main() {
    uint row = tv_group();
    if (row >= p.rows)
        return;
#if TV_TEXELS
    vec2 statistics = tv_norm_row(row, p.channels, p.eps, p.gain_offset);
    float mean = statistics.x, rstd = statistics.y;
    uint lane = gl_LocalInvocationIndex;
#else
    uint lane = gl_LocalInvocationIndex, lanes = gl_WorkGroupSize.x;
    uint width = p.channels / TV_WIDTH, base = row * width;
    float inverse_channels = 1.0 / float(p.channels);

    /* Sum for the mean, or sum of squares for RMS. */
    tv_vec total = tv_vec(0);
    if (p.has_residual != 0) {
        for (uint c = lane; c < width; c += lanes) {
            TV_ACTS stored = TV_ACTS(tv_vec(x_in[base + c]) + tv_vec(residual[base + c]));
            x[base + c] = stored;
            tv_vec v = tv_vec(stored);
#ifdef TV_RMS
            total += v * v;
#else
            total += v;
#endif
        }
    } else {
        for (uint c = lane; c < width; c += lanes) {
            tv_vec v = tv_vec(x[base + c]);
#ifdef TV_RMS
            total += v * v;
#else
            total += v;
#endif
        }
    }
    float reduced = tv_group_sum(tv_sum_of(total)) * inverse_channels;
#ifdef TV_RMS
    float mean = 0.0, variance = reduced;
#else
    float mean = reduced;
    tv_vec squares = tv_vec(0);
    for (uint c = lane; c < width; c += lanes) {
        tv_vec difference = tv_vec(x[base + c]) - mean;
        squares += difference * difference;
    }
    float variance = tv_group_sum(tv_sum_of(squares)) * inverse_channels;
#endif
    /* Not inversesqrt: some drivers take the processor's estimate of 12 bits. */
    float rstd = 1.0 / sqrt(variance + p.eps);

    if (p.has_bias != 0) {
        for (uint c = lane; c < width; c += lanes)
            y[base + c] = TV_NARROWED((tv_vec(x[base + c]) - mean) * rstd * (tv_vec(gain[c]) + p.gain_offset) + tv_vec(bias[c]));
    } else {
        for (uint c = lane; c < width; c += lanes)
            y[base + c] = TV_NARROWED((tv_vec(x[base + c]) - mean) * rstd * (tv_vec(gain[c]) + p.gain_offset));
    }
#endif
    if (lane == 0) {
#ifndef TV_RMS
        row_mean[row] = mean;
#endif
        row_rstd[row] = rstd;
    }
}
