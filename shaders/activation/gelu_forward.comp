/* GELU, the tanh approximation of GPT-2: y = x/2 (1 + tanh u) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3).
 *
 * x: (count), y: (count), overwritten. `count` is in elements, an invocation takes TV_WIDTH of them. Memory bound on GPUs: 8 bytes per
 * element at fp32.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "vector.glsl"

layout(local_size_x = 256) in;
layout(std430, binding = 0) readonly buffer X {
    TV_ACTS x[];
};
layout(std430, binding = 1) writeonly buffer Y {
    TV_ACTS y[];
};
layout(push_constant) uniform Push {
    tv_count_push p;
};

const float sqrt_2_over_pi = 0.7978845608028654;

void main() {
    uint i = tv_thread();
    if (i >= p.count / TV_WIDTH)
        return;
    tv_vec v = tv_vec(x[i]);
    tv_vec e = tv_exp_minus(2.0 * sqrt_2_over_pi * v * (1.0 + 0.044715 * v * v));
    y[i] = TV_ACTS(v / (1.0 + e));
}
