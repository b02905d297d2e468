/* SwiGLU: y = silu(gate) * up, silu(g) = g sigmoid(g). With -DTV_GELU GeGLU: y = gelu(gate) * up, its tanh approximation (maths.glsl).
 *
 * gate_up: (rows, 2F), gate then up in each row; y: (rows, F), overwritten. A workgroup takes one tile of one row, so that no invocation
 * divides by F. Limits: 2 rows F of one dispatch below 2^32. Memory bound on GPUs: 12 bytes per element of y at fp32.
 * -DTV_HALVES: both are halves.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "vector.glsl"

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) readonly buffer GateUp {
    TV_NARROWS gate_up[];
};
layout(std430, binding = 1) writeonly buffer Y {
    TV_NARROWS y[];
};
layout(push_constant) uniform Push {
    tv_swiglu_push p;
};

void main() {
    uint row = tv_group() / p.tiles;
    if (row >= p.rows)
        return;
    uint first = tv_group() % p.tiles * p.tile;
    uint end = min(first + p.tile, p.features) / TV_WIDTH, width = p.features / TV_WIDTH;
    for (uint f = first / TV_WIDTH + gl_LocalInvocationIndex; f < end; f += gl_WorkGroupSize.x) {
        tv_vec gate = tv_value(gate_up[2 * row * width + f]), up = tv_value(gate_up[(2 * row + 1) * width + f]);
#ifdef TV_GELU
        tv_vec e = tv_gelu_exp(gate);
#else
        tv_vec e = tv_exp_minus(gate);
#endif
        y[row * width + f] = TV_NARROWED(gate / (1.0 + e) * up);
    }
}
