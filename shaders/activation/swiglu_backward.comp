/* Gradient of SwiGLU (swiglu_forward.comp): with s = sigmoid(gate),
 *   d_gate = d_y up s (1 + gate (1 - s)),  d_up = d_y gate s;  1 - s is taken as e^-gate s.
 * With -DTV_GELU of GeGLU: s = sigmoid(2u) of gelu_backward.comp, and gate (1 - s) is times 2u'.
 *
 * gate_up: (rows, 2F), gate then up in each row, overwritten with its gradient; one binding, because two that overlap may be
 * reordered by a driver. d_y: (rows, F). Limits: 2 rows F of one dispatch below 2^32. Memory bound on GPUs: 20 bytes per
 * element of d_y at fp32. -DTV_HALVES: both are halves.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "vector.glsl"

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) buffer GateUp {
    TV_NARROWS gate_up[];
};
layout(std430, binding = 1) readonly buffer DY {
    TV_NARROWS d_y[];
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
        uint g = 2 * row * width + f, u = g + width;
        tv_vec gate = tv_value(gate_up[g]), up = tv_value(gate_up[u]), d = tv_value(d_y[row * width + f]);
#ifdef TV_GELU
        tv_vec e = tv_gelu_exp(gate);
        tv_vec slope = 2.0 * tv_sqrt_2_over_pi * (1.0 + 3.0 * 0.044715 * gate * gate);
#else
        tv_vec e = tv_exp_minus(gate);
        const float slope = 1.0;
#endif
        tv_vec s = 1.0 / (1.0 + e);
        gate_up[g] = TV_NARROWED(d * up * s * (1.0 + gate * slope * (e * s)));
        gate_up[u] = TV_NARROWED(d * gate * s);
    }
}
