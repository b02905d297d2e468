/* What the CPU variants share: one subgroup of 8 lanes, a lane per row of the result.
 *
 * The 8 lanes read 8 neighbouring values of the other side's row in one load and hand them round with constant-lane
 * broadcasts, so that nothing is shared through memory and no barrier is executed. Head sizes up to 64 are unrolled into
 * registers. Wider ones would take minutes to compile: there a workgroup computes the whole scores in loops but accumulates one
 * part of at most 64 channels of the result. Include after the layout and the push constants.
 */
#ifndef TV_ATTENTION_LANES_GLSL
#define TV_ATTENTION_LANES_GLSL

#include "sizes.h"

#define LANES TV_CPU_LANES
#define MAX_CHUNKS (TV_ATTENTION_LANES_PART / LANES) /* of a part */

layout(constant_id = 0) const uint head_size = 64;
/* Rows of the other side taken at once, at most 8: an iteration of a loop costs a blend of every carried value under the
 * execution mask on a CPU, and too many rows spill. The launcher knows the balance.
 */
layout(constant_id = 1) const uint block = 8;

const uint chunks = (head_size + 7) / 8;
const uint parts = (chunks + MAX_CHUNKS - 1) / MAX_CHUNKS;
const uint part_chunks = (chunks + parts - 1) / parts;
const bool wide = parts > 1;
const bool ragged = parts * part_chunks * 8 != head_size;

#define MAX_D (8 * MAX_CHUNKS)
#define MAX_BLOCK 8

/* Below every score and finite, so that differences stay finite too. */
const float lowest = -3.0e38;
const float log2_e = 1.4426950408889634;
const float ln_2 = 0.6931471805599453;

/* The channel of this lane in chunk c; past the end the last channel, whose products the zeros of the padded side remove. */
uint channel(uint c) {
    uint d = c * LANES + gl_SubgroupInvocationID;
    return ragged ? min(d, head_size - 1) : d;
}

/* sum += dot of 8 channels, and y += x * 8 channels; `values` holds a channel per lane. */
#define DOT8(sum, x, at, values)                                                                                       \
    sum += x[(at) + 0] * subgroupBroadcast(values, 0) + x[(at) + 1] * subgroupBroadcast(values, 1) +                   \
           x[(at) + 2] * subgroupBroadcast(values, 2) + x[(at) + 3] * subgroupBroadcast(values, 3) +                   \
           x[(at) + 4] * subgroupBroadcast(values, 4) + x[(at) + 5] * subgroupBroadcast(values, 5) +                   \
           x[(at) + 6] * subgroupBroadcast(values, 6) + x[(at) + 7] * subgroupBroadcast(values, 7)
#define AXPY8(y, at, x, values)                                                                                        \
    y[(at) + 0] += (x) * subgroupBroadcast(values, 0);                                                                 \
    y[(at) + 1] += (x) * subgroupBroadcast(values, 1);                                                                 \
    y[(at) + 2] += (x) * subgroupBroadcast(values, 2);                                                                 \
    y[(at) + 3] += (x) * subgroupBroadcast(values, 3);                                                                 \
    y[(at) + 4] += (x) * subgroupBroadcast(values, 4);                                                                 \
    y[(at) + 5] += (x) * subgroupBroadcast(values, 5);                                                                 \
    y[(at) + 6] += (x) * subgroupBroadcast(values, 6);                                                                 \
    y[(at) + 7] += (x) * subgroupBroadcast(values, 7)

#endif
