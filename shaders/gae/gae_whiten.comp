/* Whitening in place: A = (A - mean) / sqrt(var + 1e-8) over the response rows, mean and variance those of the population.
 *
 * extents: (S); totals: (TV_GAE_SUMS), of which the sum of advantages and the number of tokens are read; deviation: (1), the sum of their squared
 * deviations; advantages: (S, T), read and written in the response, else left. One invocation a row. 8 bytes a token.
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
layout(std430, binding = 2) readonly buffer Deviation {
    float deviation[];
};
layout(std430, binding = 3) buffer Advantages {
    float advantages[];
};
layout(push_constant) uniform Push {
    tv_gae_push p;
};

void main() {
    uint i = tv_thread(), sequence = i / p.tokens, t = i % p.tokens;
    if (sequence >= p.sequences)
        return;
    tv_gae_extent extent = extents[sequence];
    uint first = min(extent.first, p.tokens), count = min(extent.count, p.tokens - first);
    if (t < first || t >= first + count)
        return;
    float tokens = max(totals[TV_GAE_TOKENS], 1.0), mean = totals[TV_GAE_ADVANTAGE] / tokens;
    advantages[i] = (advantages[i] - mean) / sqrt(deviation[0] / tokens + 1e-8);
}
