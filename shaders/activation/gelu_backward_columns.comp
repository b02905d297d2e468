/* gelu_backward.comp and the column sums of what it gives, the gradient of a bias:
 *   sums[first + chunk * columns + c] = sum over the chunk's rows of d_x[row, c]
 *
 * x, d_y, d_x: (rows, columns), d_x overwritten; it may lie over d_y. sums: (chunks, columns), overwritten. An invocation owns TV_WIDTH
 * columns of one chunk and takes its rows in ascending order. Limits: columns a multiple of TV_WIDTH, rows * columns below 2^32. Memory
 * bound: 12 bytes per element at fp32. -DTV_HALVES: x, d_y and d_x are halves.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "vector.glsl"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer X {
    TV_NARROWS x[];
};
layout(std430, binding = 1) readonly buffer DY {
    TV_NARROWS d_y[];
};
layout(std430, binding = 2) writeonly buffer DX {
    TV_NARROWS d_x[];
};
layout(std430, binding = 3) writeonly buffer Sums {
    tv_vec sums[];
};
layout(push_constant) uniform Push {
    tv_sum_rows_push p;
};

void main() {
    uint width = p.columns / TV_WIDTH;
    uint block = tv_thread() / width, column = tv_thread() % width;
    uint row = block * p.rows_per_block;
    if (row >= p.rows)
        return;
    uint end = min(row + p.rows_per_block, p.rows);
    tv_vec sum = tv_vec(0);
    for (uint i = row * width + column; row < end; row++, i += width) {
        tv_vec v = tv_value(x[i]);
        tv_vec e = tv_gelu_exp(v);
        tv_vec s = 1.0 / (1.0 + e);
        tv_vec slope = 2.0 * tv_sqrt_2_over_pi * (1.0 + 3.0 * 0.044715 * v * v);
        tv_vec d = tv_value(d_y[i]) * (s + v * slope * s * (e * s));
        d_x[i] = TV_NARROWED(d);
        sum += d;
    }
    sums[p.first / TV_WIDTH + block * width + column] = sum;
}
