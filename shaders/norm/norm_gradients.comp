/* d_gain += sum over chunks of partials[chunk][0], d_bias += of partials[chunk][1], chunks in ascending order.
 *
 * partials: (chunks, 2, C); d_gain, d_bias: (C) fp32, accumulated; without has_gain or has_bias that half is not read. An invocation owns
 * one column. Floor: 8 bytes for each column and chunk.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer Partials {
    float partials[];
};
layout(std430, binding = 1) buffer DGain {
    float d_gain[];
};
layout(std430, binding = 2) buffer DBias {
    float d_bias[];
};
layout(push_constant) uniform Push {
    tv_norm_partials_push p;
};

float column_sum(uint column) {
    float sum = 0.0;
    for (uint chunk = 0; chunk < p.chunks; chunk++)
        sum += partials[2 * chunk * p.channels + column];
    return sum;
}

void main() {
    uint column = tv_thread();
    if (p.has_gain != 0 && column < p.channels)
        d_gain[column] += column_sum(column);
    else if (p.has_bias != 0 && column >= p.channels && column < 2 * p.channels)
        d_bias[column - p.channels] += column_sum(column);
}
