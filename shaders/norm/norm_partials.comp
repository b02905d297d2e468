/* Partial sums for d_gain and d_bias over one chunk of rows:
 *   partials[0][chunk][c] = sum d_output (x - mean) rstd (with has_gain),  partials[last][chunk][c] = sum d_output (with has_bias, not
 *   with TV_RMS)
 *
 * d_output, sum: (rows, C); mean, rstd: (rows); partials: (has_gain + has_bias, chunks, C), overwritten. An invocation owns TV_WIDTH columns of one
 * chunk and adds its rows in ascending order, so the result does not depend on the device's scheduling.
 * -DTV_HALVES: d_output is halves. Limits: rows * C of one dispatch below 2^32. 5 FLOPs an element; floor 8 bytes an element.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
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
    uint part_chunk = tv_group() / blocks, chunk = p.first_chunk + part_chunk;
    uint c = tv_group() % blocks * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    uint first = part_chunk * p.rows_per_chunk, end = min(first + p.rows_per_chunk, p.rows);
    if (first >= p.rows || c >= width)
        return;
    tv_vec d_gain = tv_vec(0), d_bias = tv_vec(0);
    for (uint row = first; row < end; row++) {
        tv_vec d = tv_value(d_output[row * width + c]);
#ifdef TV_RMS
        d_gain += d * (tv_vec(x[row * width + c]) * row_rstd[row]);
#else
        d_gain += d * ((tv_vec(x[row * width + c]) - row_mean[row]) * row_rstd[row]);
        d_bias += d;
#endif
    }
    if (p.has_gain != 0)
        partials[chunk * width + c] = d_gain;
#ifndef TV_RMS
    if (p.has_bias != 0)
        partials[(p.has_gain * p.chunks + chunk) * width + c] = d_bias;
#endif
}
