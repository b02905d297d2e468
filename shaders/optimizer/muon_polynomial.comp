/* The part of Newton-Schulz's polynomial that needs no product, of a batch of matrices: out = a I + b gram.
 *
 * gram, out: (matrices, stride), of each `rows` rows of (side, side) from first_row on; out is overwritten. c gram gram is added by a
 * product. 8 bytes per element: memory bound.
 */
#version 460
#extension GL_GOOGLE_include_directive : require

#include "grid.glsl"
#include "push_constants.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer Gram {
    float gram[];
};
layout(std430, binding = 1) writeonly buffer Polynomial {
    float polynomial[];
};
layout(push_constant) uniform Push {
    tv_muon_polynomial_push p;
};

void main() {
    uint i = tv_thread();
    if (i >= p.rows * p.side)
        return;
    uint row = i / p.side, at = gl_WorkGroupID.z * p.stride + i;
    bool diagonal = i - row * p.side == row + p.first_row;
    polynomial[at] = p.b * gram[at] + (diagonal ? p.a : 0.0);
}
