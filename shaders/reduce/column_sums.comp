/* Adds the partial sums of several gradients to them: gradient[c] += sum over chunks of partials[chunk][c].
 *
 * Of each gradient: partials (chunks, columns) from its place in the first binding on; gradient (columns) fp32 from its place in the
 * second, accumulated. An invocation owns one column of one of them; chunks are added in order, eight at a time as a tree. Floor: 4
 * bytes for each column and chunk.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer Partials {
    float partials[];
};
layout(std430, binding = 1) buffer Gradients {
    float gradients[];
};
layout(push_constant) uniform Push {
    tv_column_sums_push p;
};

void main() {
    uint column = tv_thread(), first = 0, from = 0, to = 0, columns = 0;
    /* All of them, so that push constants are read at places that the compiler knows. */
    for (uint i = 0; i < TV_COLUMN_SUMS; i++) {
        uint own = i < p.count ? p.columns[i] : 0;
        if (column >= first && column - first < own) {
            from = p.partials[i] + column - first;
            to = p.gradients[i] + column - first;
            columns = own;
        }
        first += own;
    }
    if (column >= first)
        return;
    float sum = 0.0;
    uint chunk = 0;
    for (; chunk + 8 <= p.chunks; chunk += 8, from += 8 * columns)
        sum += ((partials[from] + partials[from + columns]) + (partials[from + 2 * columns] + partials[from + 3 * columns])) +
               ((partials[from + 4 * columns] + partials[from + 5 * columns]) +
                (partials[from + 6 * columns] + partials[from + 7 * columns]));
    for (; chunk < p.chunks; chunk++, from += columns)
        sum += partials[from];
    gradients[to] += sum;
}
