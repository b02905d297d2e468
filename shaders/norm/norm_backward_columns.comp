/* norm_backward.comp and norm_partials.comp in one reading, and the column sums of d_sum:
 *   d_sum = rstd (g - mean(g) - n mean(g n)) + d_residual,  n = (x - mean) rstd, g = d_output * gain    (TV_RMS: without mean and mean(g))
 *   partials[0][chunk][c] = sum d_output n (with has_gain), [next] = sum d_output (with has_bias), [last] = sum d_sum (with has_columns)
 *
 * d_output, sum, d_residual, d_sum: (rows, C); gain: (C); mean, rstd: (rows); partials: (has_gain + has_bias + has_columns, chunks, C).
 * d_sum and partials are overwritten. One workgroup a chunk of rows, which it takes in ascending order; an invocation owns one vector of
 * columns, reads it before it writes it, so d_sum may lie over d_residual or d_output, and has the next row's on its way while the row's
 * sums go round. -DTV_HALVES: d_output is halves. Limits: C at most 4 for each invocation. About 19 FLOPs an element; floor 12 bytes an element, 16 with d_residual.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "grid.glsl"
#include "push_constants.h"
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
layout(std430, binding = 7) writeonly buffer Partials {
    tv_vec partials[];
};
layout(push_constant) uniform Push {
    tv_norm_partials_push p;
};

/* Of a row's two sums, a pair for each subgroup; rows take turns, so that one barrier a row is enough. */
shared vec2 subgroup_sums[2][256];

vec2 group_sums(vec2 own, uint turn) {
    vec2 sum = subgroupAdd(own);
    if (gl_NumSubgroups == 1)
        return sum;
    if (subgroupElect())
        subgroup_sums[turn][gl_SubgroupID] = sum;
    barrier();
    sum = vec2(0.0);
    for (uint i = 0; i < gl_NumSubgroups; i++)
        sum += subgroup_sums[turn][i];
    return sum;
}

void main() {
    uint part_chunk = tv_group();
    uint first = part_chunk * p.rows_per_chunk, end = min(first + p.rows_per_chunk, p.rows);
    if (first >= p.rows)
        return;
    uint width = p.channels / TV_WIDTH, column = min(gl_LocalInvocationIndex, width - 1);
    bool own = gl_LocalInvocationIndex < width;
    float inverse_channels = 1.0 / float(p.channels);
    tv_vec column_gain = tv_vec(gain[column]) + p.gain_offset;
    tv_vec next_d = tv_value(d_output[first * width + column]), next_x = tv_vec(x[first * width + column]);
    tv_vec gain_sum = tv_vec(0), bias_sum = tv_vec(0), column_sum = tv_vec(0);
    for (uint row = first; row < end; row++) {
        float rstd = row_rstd[row];
#ifdef TV_RMS
        float mean = 0.0;
#else
        float mean = row_mean[row];
#endif
        tv_vec d = own ? next_d : tv_vec(0), n = (next_x - mean) * rstd, g = d * column_gain;
        gain_sum += d * n;
        bias_sum += d;
        uint after = min(row + 1, end - 1) * width + column;
        next_d = tv_value(d_output[after]);
        next_x = tv_vec(x[after]);
        tv_vec past = p.has_residual != 0 ? tv_vec(d_residual[row * width + column]) : tv_vec(0);
        vec2 sums = group_sums(vec2(tv_sum_of(g), tv_sum_of(g * n)), row % 2) * inverse_channels;
#ifdef TV_RMS
        sums.x = 0.0;
#endif
        d = rstd * (g - sums.x - n * sums.y) + past;
        column_sum += d;
        if (own)
            d_sum[row * width + column] = TV_ACTS(d);
    }
    if (!own)
        return;
    uint chunk = p.first_chunk + part_chunk;
    if (p.has_gain != 0)
        partials[chunk * width + column] = gain_sum;
    if (p.has_bias != 0)
        partials[(p.has_gain * p.chunks + chunk) * width + column] = bias_sum;
    if (p.has_columns != 0)
        partials[((p.has_gain + p.has_bias) * p.chunks + chunk) * width + column] = column_sum;
}
