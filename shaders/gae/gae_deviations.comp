/* Squared deviations of each sequence's advantages from the mean over all: deviations[s] = sum over the response of (A - mean)^2.
 *
 * extents: (S); totals: (TV_GAE_SUMS), of which the sum of advantages and the number of tokens are read; advantages: (S, T); deviations: (S), overwritten.
 * One invocation a sequence, summed in order. A second pass, because E[A^2] - mean^2 loses the digits. 4 bytes a token.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"
#include "sizes.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer Extents {
    tv_gae_extent extents[];
};
layout(std430, binding = 1) readonly buffer Totals {
    float totals[];
};
layout(std430, binding = 2) readonly buffer Advantages {
    float advantages[];
};
layout(std430, binding = 3) writeonly buffer Deviations {
    float deviations[];
};
layout(push_constant) uniform Push {
    tv_gae_push p;
};

void main() {
    uint sequence = tv_thread();
    if (sequence >= p.sequences)
        return;
    tv_gae_extent extent = extents[sequence];
    uint first = min(extent.first, p.tokens), count = min(extent.count, p.tokens - first);
    float mean = totals[TV_GAE_ADVANTAGE] / max(totals[TV_GAE_TOKENS], 1.0), sum = 0.0;
    for (uint t = first; t < first + count; t++) {
        float deviation = advantages[sequence * p.tokens + t] - mean;
        sum += deviation * deviation;
    }
    deviations[sequence] = sum;
}
