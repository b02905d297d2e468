/* PPO's clipped loss per token (Schulman et al. 2017): loss = max(-A rho, -A clip(rho, 1 - eps, 1 + eps)), rho = e^(lp - lp_old);
 * d_logprobs = loss_scale * d loss / d lp = -loss_scale * A rho, or 0 where the clipped term is the larger one.
 *
 * All (rows); stats: (rows, TV_PPO_POLICY_STATS), columns TV_PPO_* of sizes.h. Outputs are overwritten; rows whose target is ignored get zeros and
 * their inputs are not read. rho - 1 keeps its digits near 0 and is exactly 0 for equal log-probabilities. For rho, log rho is taken
 * within +-40, so that (rho - 1)^2 stays in fp32. A log-probability that is not finite makes its row NaN. 52 bytes a row.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "sizes.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer Targets {
    uint targets[];
};
layout(std430, binding = 1) readonly buffer Logprobs {
    float logprobs[];
};
layout(std430, binding = 2) readonly buffer OldLogprobs {
    float old_logprobs[];
};
layout(std430, binding = 3) readonly buffer Advantages {
    float advantages[];
};
layout(std430, binding = 4) readonly buffer Entropies {
    float entropies[];
};
layout(std430, binding = 5) readonly buffer Step {
    tv_step_constants constants;
};
layout(std430, binding = 6) writeonly buffer Gradients {
    float d_logprobs[];
};
layout(std430, binding = 7) writeonly buffer Stats {
    float stats[];
};
layout(push_constant) uniform Push {
    tv_ppo_push p;
};

const uint ignored = 0xffffffffu;
const uint columns = TV_PPO_POLICY_STATS;

void main() {
    uint row = tv_thread();
    if (row >= p.rows)
        return;
    uint at = row * columns;
    if (targets[row] == ignored) {
        d_logprobs[row] = 0.0;
        for (uint c = 0; c < columns; c++)
            stats[at + c] = 0.0;
        return;
    }
    float log_ratio = logprobs[row] - old_logprobs[row], advantage = advantages[row];
    float minus_1 = tv_is_finite(log_ratio) ? tv_expm1(clamp(log_ratio, -40.0, 40.0)) : TV_NAN;
    float ratio = 1.0 + minus_1;
    float plain = -advantage * ratio, limited = -advantage * clamp(ratio, 1.0 - p.clip, 1.0 + p.clip);
    bool clipped = limited > plain;
    d_logprobs[row] = clipped ? 0.0 : constants.loss_scale * plain;
    stats[at + TV_PPO_POLICY_LOSS] = clipped ? limited : plain;
    stats[at + TV_PPO_APPROX_KL] = 0.5 * log_ratio * log_ratio;
    stats[at + TV_PPO_CLIPPED] = clipped ? 1.0 : 0.0;
    stats[at + TV_PPO_RATIO_MINUS_1] = minus_1;
    stats[at + TV_PPO_RATIO_MINUS_1_SQ] = minus_1 * minus_1;
    stats[at + TV_PPO_ENTROPY] = entropies[row];
}
