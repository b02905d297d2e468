/* Muon's step, from what Newton-Schulz left:
 *
 *   parameter = (1 - lr weight_decay) parameter (with `decay`) - lr muon_rms scale update
 *
 * Of each matrix (gl_WorkGroupID.z): parameter: (count), updated where state.finite. update: (count). 3 FLOPs per 12 bytes: memory bound.
 */
#version 460
#extension GL_GOOGLE_include_directive : require

#include "grid.glsl"
#include "push_constants.h"
#include "sizes.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) buffer Parameter {
    float parameter[];
};
layout(std430, binding = 1) readonly buffer Update {
    float update[];
};
layout(std430, binding = 2) readonly buffer Step {
    tv_step_constants constants;
};
layout(std430, binding = 3) readonly buffer State {
    tv_update_state state;
};
layout(push_constant) uniform Push {
    tv_muon_apply_push p;
};

void main() {
    uint i = tv_thread(), matrix = gl_WorkGroupID.z;
    if (i >= p.count || state.finite == 0)
        return;
    float keep = (p.decays >> matrix & 1u) != 0 ? 1.0 - constants.lr * constants.weight_decay : 1.0;
    float rate = constants.lr * constants.muon_rms * p.scale;
    uint at = p.parameters[matrix] + i;
    parameter[at] = keep * parameter[at] - rate * update[matrix * TV_MUON_STRIDE(p.count) + i];
}
