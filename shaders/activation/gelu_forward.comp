/* GELU, the tanh approximation of GPT-2 (maths.glsl): y = x/2 (1 + tanh u).
 *
 * x: (count), y: (count), overwritten. `count` is in elements, an invocation takes TV_WIDTH of them. Memory bound on GPUs: 8 bytes per
 * element at fp32. -DTV_HALVES: both are halves.
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
layout(std430, binding = 1) writeonly buffer Y {
    TV_NARROWS y[];
};
layout(push_constant) uniform Push {
    tv_count_push p;
};

void main() {
    uint i = tv_thread();
    if (i >= p.count / TV_WIDTH)
        return;
    tv_vec v = tv_value(x[i]);
    y[i] = TV_NARROWED(v / (1.0 + tv_gelu_exp(v)));
}
