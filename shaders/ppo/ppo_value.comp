/* PPO's clipped value loss per token: loss = 1/2 max((V' - R)^2, (clip(V', V - eps, V + eps) - R)^2);
 * d_values = loss_scale * c_v * (V' - R), or 0 where the clipped term is the larger one.
 *
 * All (rows); stats: (rows, TV_PPO_VALUE_STATS), columns TV_PPO_VALUE_* of sizes.h. Outputs are overwritten; rows whose target is ignored get
 * zeros and their inputs are not read. eps 0: not clipped. Only a value that left the range counts as clipped: inside it the two terms
 * differ by rounding alone. 32 bytes a row.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"
#include "sizes.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer Targets {
    uint targets[];
};
layout(std430, binding = 1) readonly buffer Values {
    float values[];
};
layout(std430, binding = 2) readonly buffer OldValues {
    float old_values[];
};
layout(std430, binding = 3) readonly buffer Returns {
    float returns[];
};
layout(std430, binding = 4) readonly buffer Step {
    tv_step_constants constants;
};
layout(std430, binding = 5) writeonly buffer Gradients {
    float d_values[];
};
layout(std430, binding = 6) writeonly buffer Stats {
    float stats[];
};
layout(push_constant) uniform Push {
    tv_ppo_push p;
};

const uint ignored = 0xffffffffu;

void main() {
    uint row = tv_thread();
    if (row >= p.rows)
        return;
    uint at = row * TV_PPO_VALUE_STATS;
    if (targets[row] == ignored) {
        d_values[row] = 0.0;
        for (uint c = 0; c < TV_PPO_VALUE_STATS; c++)
            stats[at + c] = 0.0;
        return;
    }
    float value = values[row], old = old_values[row], goal = returns[row];
    float error = value - goal, loss = 0.5 * error * error;
    float limited_error = old + clamp(value - old, -p.clip, p.clip) - goal;
    float limited = 0.5 * limited_error * limited_error;
    bool clipped = p.clip > 0.0 && abs(value - old) > p.clip && limited > loss;
    d_values[row] = clipped ? 0.0 : constants.loss_scale * p.coefficient * error;
    stats[at + TV_PPO_VALUE_LOSS] = clipped ? limited : loss;
    stats[at + TV_PPO_VALUE_CLIPPED] = clipped ? 1.0 : 0.0;
}
