/* Partial sums for d_gain and d_bias over one chunk of rows:
 *   partials[chunk][0][c] = sum d_output (x - mean) rstd,  partials[chunk][1][c] = sum d_output (not with TV_RMS)
 *
 * d_output, sum: (rows, C); mean, rstd: (rows); partials: (chunks, 2, C), overwritten. An invocation owns TV_WIDTH columns of one
 * chunk and adds its rows in ascending order, so the result does not depend on the device's scheduling.
 * Limits: rows * C of one dispatch below 2^32. 5 FLOPs an element; floor 8 bytes an element.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"
#include "vector.glsl"

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) readonly buffer DOutput {
    TV_ACTS d_output[];
};
layout(std430, binding = 1) readonly buffer Sum {
    TV_ACTS x[];
};
layout(std430, binding = 2) readonly buffer Mean {
    float row_mean[];
};
layout(std430, binding = 3) readonly buffer Rstd {
    float row_rstd[];
};
layout(std430, binding = 4) writeonly buffer Partials {
    tv_vec partials[];
};
layout(push_constant) uniform Push {
    tv_norm_partials_push p;
};

void main() {
    uint width = p.channels / TV_WIDTH;
    uint blocks = (width + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;
    uint chunk = tv_group() / blocks;
    uint c = tv_group() % blocks * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    if (chunk >= p.chunks || c >= width)
        return;
    uint first = chunk * p.rows_per_chunk, end = min(first + p.rows_per_chunk, p.rows);
    tv_vec d_gain = tv_vec(0), d_bias = tv_vec(0);
    for (uint row = first; row < end; row++) {
        tv_vec d = tv_vec(d_output[row * width + c]);
#ifdef TV_RMS
        d_gain += d * (tv_vec(x[row * width + c]) * row_rstd[row]);
#else
        d_gain += d * ((tv_vec(x[row * width + c]) - row_mean[row]) * row_rstd[row]);
        d_bias += d;
#endif
    }
    partials[2 * chunk * width + c] = d_gain;
#ifndef TV_RMS
    partials[(2 * chunk + 1) * width + c] = d_bias;
#endif
}
