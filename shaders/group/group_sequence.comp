/* One ratio a sequence (GSPO, Zheng et al. 2025): in every row of a sequence the mean of lp - lp_old over those of its rows whose target is
 * not ignored; 0 where there is none.
 *
 * targets, logprobs, table, sequence_ratios: (sequences, T); the last is overwritten. One workgroup a sequence; lane i adds up rows
 * i, i + lanes, ..., so a mean does not depend on where the sequence lies. 28 bytes a row.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "grid.glsl"
#include "push_constants.h"
#include "reduce.glsl"

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) readonly buffer Targets {
    uint targets[];
};
layout(std430, binding = 1) readonly buffer Logprobs {
    float logprobs[];
};
layout(std430, binding = 2) readonly buffer Table {
    tv_group_row table[];
};
layout(std430, binding = 3) writeonly buffer SequenceRatios {
    float sequence_ratios[];
};
layout(push_constant) uniform Push {
    tv_group_sequence_push p;
};

const uint ignored = 0xffffffffu;

void main() {
    uint sequence = tv_group();
    if (sequence >= p.sequences)
        return;
    uint first = sequence * p.tokens, end = first + p.tokens;
    float sum = 0.0, count = 0.0;
    for (uint row = first + gl_LocalInvocationIndex; row < end; row += gl_WorkGroupSize.x)
        if (targets[row] != ignored) {
            sum += logprobs[row] - table[row].old_logprob;
            count += 1.0;
        }
    sum = tv_group_sum(sum);
    count = tv_group_sum(count);
    float mean = count > 0.0 ? sum / count : 0.0;
    for (uint row = first + gl_LocalInvocationIndex; row < end; row += gl_WorkGroupSize.x)
        sequence_ratios[row] = mean;
}
