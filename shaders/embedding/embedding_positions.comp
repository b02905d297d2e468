/* d_table[t] += sum of d_output[r] over the rows at position t, (first_position + r) % T = t, in ascending order.
 *
 * d_output: (rows, C); d_table: (table_count, C) fp32, the chunk of the position table from table_first on, accumulated. One workgroup
 * a position. Limits: rows * C of one dispatch and the chunk below 2^32. Floor: 4 bytes per element of d_output, 8 per
 * element of d_table.
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
layout(std430, binding = 1) buffer DTable {
    tv_vec d_table[];
};
layout(push_constant) uniform Push {
    tv_embedding_scatter_push p;
};

void main() {
    uint table_row = tv_group();
    if (table_row >= p.table_count)
        return;
    uint width = p.channels / TV_WIDTH;
    uint period = p.tokens_per_row;
    uint first = (p.table_first + table_row + period - p.first_position) % period;
    if (first >= p.rows)
        return;
    for (uint c = gl_LocalInvocationIndex; c < width; c += gl_WorkGroupSize.x) {
        tv_vec sum = tv_vec(0);
        for (uint row = first; row < p.rows; row += period)
            sum += tv_vec(d_output[row * width + c]);
        d_table[table_row * width + c] += sum;
    }
}
