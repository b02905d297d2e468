/* Column sums of blocks of rows: output[first + b * columns + c] (+)= sum over the rows r of block b of x[r, c].
 *
 * x: (rows, columns). output: (blocks, columns), overwritten or, with `accumulate`, added to. One invocation per block and vector of
 * columns, neighbours on neighbouring columns; rows are added in order, eight at a time as a tree.
 * Limits: rows * columns below 2^31; columns a multiple of TV_WIDTH. One FLOP per 4 bytes: memory bound.
 * -DTV_HALVES: x is halves.
 */
#version 460
#extension GL_GOOGLE_include_directive : require

layout(local_size_x = TV_LOCAL_SIZE) in;

#include "grid.glsl"
#include "push_constants.h"
#include "vector.glsl"

layout(std430, binding = 0) readonly buffer X {
    TV_NARROWS x[];
};
layout(std430, binding = 1) buffer Output {
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
    tv_vec sum = tv_vec(0.0);
    uint i = row * width + column;
    for (; row + 8 <= end; row += 8, i += 8 * width)
        sum += ((tv_value(x[i]) + tv_value(x[i + width])) + (tv_value(x[i + 2 * width]) + tv_value(x[i + 3 * width]))) +
               ((tv_value(x[i + 4 * width]) + tv_value(x[i + 5 * width])) + (tv_value(x[i + 6 * width]) + tv_value(x[i + 7 * width])));
    for (; row < end; row++, i += width)
        sum += tv_value(x[i]);
    uint at = p.first / TV_WIDTH + block * width + column;
    sums[at] = p.accumulate != 0 ? sums[at] + sum : sum;
}
