/* Gradient of GELU (gelu_forward.comp): with s = sigmoid(2u), d_x = d_y (s + x s (1 - s) 2u'), u' = sqrt(2/pi) (1 + 3 * 0.044715 x^2).
 *
 * 1 - s is taken as e^-2u s, which cancels nothing.
 *
 * x, d_y, d_x: (count), d_x overwritten; it may lie over d_y, since an invocation reads its elements before it writes them. Memory
 * bound on GPUs: 12 bytes per element at fp32. -DTV_HALVES: all three are halves.
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
layout(push_constant) uniform Push {
    tv_count_push p;
};

void main() {
    uint i = tv_thread();
    if (i >= p.count / TV_WIDTH)
        return;
    tv_vec v = tv_value(x[i]);
    tv_vec e = tv_gelu_exp(v);
    tv_vec s = 1.0 / (1.0 + e);
    tv_vec slope = 2.0 * tv_sqrt_2_over_pi * (1.0 + 3.0 * 0.044715 * v * v);
    d_x[i] = TV_NARROWED(tv_value(d_y[i]) * (s + v * slope * s * (e * s)));
}
