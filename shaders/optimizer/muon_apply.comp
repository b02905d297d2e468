/* Muon's step, from what Newton-Schulz left:
 *
 *   parameter = (1 - lr weight_decay) parameter (with `decay`) - lr muon_rms scale update
 *
 * parameter: (count) from `first` on, updated where state.finite. update: (count). 3 FLOPs per 12 bytes: memory bound.
 */
#version 460
#extension GL_GOOGLE_include_directive : require

#include "grid.glsl"
#include "push_constants.h"

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
    uint i = tv_thread();
    if (i >= p.count || state.finite == 0)
        return;
    float keep = p.decay != 0 ? 1.0 - constants.lr * constants.weight_decay : 1.0;
    float rate = constants.lr * constants.muon_rms * p.scale;
    parameter[p.first + i] = keep * parameter[p.first + i] - rate * update[i];
}
