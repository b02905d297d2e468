/* GELU, the tanh approximation of GPT-2: y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
 *
 * x: (count), y: (count), overwritten. Memory bound: 8 bytes per element at fp32.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "types.glsl"

layout(local_size_x = 256) in;
layout(std430, binding = 0) readonly buffer X {
    TV_ACT x[];
};
layout(std430, binding = 1) writeonly buffer Y {
    TV_ACT y[];
};
layout(push_constant) uniform Push {
    tv_count_push p;
};

const float sqrt_2_over_pi = 0.7978845608028654;

void main() {
    uint i = tv_thread();
    if (i >= p.count)
        return;
    float v = float(x[i]);
    float inner = sqrt_2_over_pi * (v + 0.044715 * v * v * v);
    y[i] = TV_ACT(0.5 * v * (1.0 + tv_tanh(inner)));
}
