/* The policy's loss where answers of a prompt are compared with each other (GRPO, Shao et al. 2024, and its kin), per token:
 *   rho = e^(lp - lp_old), or e^sequence_ratio where a sequence has one ratio (GSPO, Zheng et al. 2025);
 *   CLIP  pg = max(-A rho, -A clip(rho, 1 - clip_low, 1 + clip_high)), d pg / d lp = -A rho, or 0 where the clipped term is the larger one;
 *   CISPO pg = -A min(rho, clip_high) lp, the minimum held fixed (MiniMax 2025);
 *   KL (k3) of the reference: e^d - 1 - d, d = lp_ref - lp;
 *   loss = weight (pg + beta KL), d_logprobs = loss_scale times its derivative.
 * One ratio for all n tokens of a sequence, each of the same weight: lp enters with 1/n and n terms, so the derivative is that of a token.
 *
 * All (rows); table: (rows) tv_group_row; stats: (rows, TV_GROUP_STATS), columns TV_GROUP_* of sizes.h. Outputs are overwritten; rows whose
 * target is ignored get zeros and their inputs are not read; lp_ref is not read with beta 0, sequence_ratios not without p.sequence. Equal
 * log-probabilities have a ratio of exactly 1. Exponents are taken within +-40. What is not finite makes its row NaN. 72 bytes a row.
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
layout(std430, binding = 2) readonly buffer Entropies {
    float entropies[];
};
layout(std430, binding = 3) readonly buffer SequenceRatios {
    float sequence_ratios[];
};
layout(std430, binding = 4) readonly buffer Table {
    tv_group_row table[];
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
    tv_group_push p;
};

const uint ignored = 0xffffffffu;

float expm1_of(float x) {
    return tv_is_finite(x) ? tv_expm1(clamp(x, -40.0, 40.0)) : TV_NAN;
}

void main() {
    uint row = tv_thread();
    if (row >= p.rows)
        return;
    uint at = row * TV_GROUP_STATS;
    if (targets[row] == ignored) {
        d_logprobs[row] = 0.0;
        for (uint c = 0; c < TV_GROUP_STATS; c++)
            stats[at + c] = 0.0;
        return;
    }
    tv_group_row r = table[row];
    float logprob = logprobs[row], advantage = r.advantage;
    float log_ratio = p.sequence != 0 ? sequence_ratios[row] : logprob - r.old_logprob;
    float minus_1 = expm1_of(log_ratio), ratio = 1.0 + minus_1;
    float loss, slope;
    bool low = false, high = false;
    if (p.mode == TV_GROUP_CISPO) {
        float limited = min(ratio, p.clip_high);
        high = ratio > p.clip_high && advantage > 0.0;
        slope = -advantage * limited;
        loss = slope * logprob;
    } else {
        float plain = -advantage * ratio, limited = -advantage * clamp(ratio, 1.0 - p.clip_low, 1.0 + p.clip_high);
        bool clipped = limited > plain;
        low = clipped && advantage < 0.0;
        high = clipped && advantage > 0.0;
        slope = clipped ? 0.0 : plain;
        loss = clipped ? limited : plain;
    }
    float kl = 0.0;
    if (p.beta > 0.0) {
        float d = r.ref_logprob - logprob, rise = expm1_of(d);
        kl = rise - d;
        loss += p.beta * kl;
        slope -= p.beta * rise;
    }
    if (!tv_is_finite(minus_1))
        loss = slope = TV_NAN;
    d_logprobs[row] = constants.loss_scale * r.weight * slope;
    stats[at + TV_GROUP_LOSS] = r.weight * loss;
    stats[at + TV_GROUP_CLIPPED_LOW] = low ? 1.0 : 0.0;
    stats[at + TV_GROUP_CLIPPED_HIGH] = high ? 1.0 : 0.0;
    stats[at + TV_GROUP_RATIO_MINUS_1] = minus_1;
    stats[at + TV_GROUP_RATIO_MINUS_1_SQ] = minus_1 * minus_1;
    stats[at + TV_GROUP_KL] = kl;
    stats[at + TV_GROUP_ENTROPY] = entropies[row];
    stats[at + TV_GROUP_TOKENS] = 1.0;
}
