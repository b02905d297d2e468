/* Before a step's first gradient: constants.loss_scale *= state.loss_scale, which the update divides out again (gradient_norm_finish.comp).
 *
 * Every loss head multiplies its gradient with constants.loss_scale. On the device, because the scale follows from the update before this
 * step, which the host sees later. One invocation: latency bound.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) buffer Step {
    tv_step_constants constants;
};
layout(std430, binding = 1) readonly buffer State {
    tv_update_state state;
};
layout(push_constant) uniform Push {
    tv_count_push p;
};

void main() {
    if (tv_thread() < p.count && state.loss_scale > 0.0)
        constants.loss_scale *= state.loss_scale;
}
