/* What the CPU variants share: one subgroup of 8 or 16 lanes, a lane per row of the result.
 *
 * The lanes read a block of the other side's rows, each value once, and hand them round with constant-lane broadcasts, so that
 * nothing is shared through memory and no barrier is executed. A lane reads a value at a time, or with -DTV_TEXELS, for heads of
 * multiples of 4, a texel of four: a texel costs hardly more than a value, and loads are what decides there.
 * Head sizes up to 64 are unrolled into registers. Wider ones would take minutes to compile: there a workgroup computes the whole
 * scores in loops but accumulates one part of at most 64 channels of the result. Include after the layout and the push constants.
 */
#ifndef TV_ATTENTION_LANES_GLSL
#define TV_ATTENTION_LANES_GLSL

#include "sizes.h"

#define LANES TV_CPU_LANES
#define CHUNK TV_ATTENTION_CHUNK
#define MAX_CHUNKS (TV_ATTENTION_LANES_PART / CHUNK) /* of a part */

layout(constant_id = 0) const uint head_size = 64;
/* Rows of the other side taken at once, at most 8: an iteration of a loop costs a blend of every carried value under the
 * execution mask on a CPU, and too many rows spill. The launcher knows the balance.
 */
layout(constant_id = 1) const uint block = 8;

const uint chunks = (head_size + CHUNK - 1) / CHUNK;
const uint parts = (chunks + MAX_CHUNKS - 1) / MAX_CHUNKS;
const uint part_chunks = (chunks + parts - 1) / parts;
const bool wide = parts > 1;
const bool ragged = parts * part_chunks * CHUNK != head_size;

#define MAX_D (CHUNK * MAX_CHUNKS)
#define MAX_BLOCK 8

/* Below every score and finite, so that differences stay finite too. */
const float lowest = -3.0e38;
const float log2_e = 1.4426950408889634;
const float ln_2 = 0.6931471805599453;

/* HELD: `held` keeps what HOLD reads: of the block's rows, row j at `base` + min(j0 + j, last) * `stride`, the channels of `count`
 * chunks from chunk `first` on, past the end of a head its last ones again: the zeros of the padded other factor remove them.
 * OF_HELD: channel d of these, of row j.
 */
#if TV_TEXELS
#define HELD(held) vec4 held[MAX_BLOCK * MAX_D / 4 / LANES]
#define HOLD(held, array, base, j0, last, stride, first, count)                                                        \
    [[unroll]] for (uint f = 0; f < (block * (count) * (CHUNK / 4) + LANES - 1) / LANES; f++) {                        \
        uint n = f * LANES + gl_SubgroupInvocationID;                                                                  \
        uint of = min(j0 + n / ((count) * (CHUNK / 4)), last) * (stride);                                              \
        uint quad = min((first) * (CHUNK / 4) + n % ((count) * (CHUNK / 4)), head_size / 4 - 1);                       \
        held[f] = texelFetch(array, int(((base) + of) / 4 + quad));                                                    \
    }
#define TEXEL_OF(j, d, count) ((j) * (count) * (CHUNK / 4) + (d) / 4)
#define OF_HELD(held, j, d, count)                                                                                     \
    subgroupBroadcast(held[TEXEL_OF(j, d, count) / LANES][(d) % 4], TEXEL_OF(j, d, count) % LANES)
/* Four channels of an own row. */
#define OWN_QUAD(array, at, d) texelFetch(array, int(((at) + (d)) / 4))
#else
#define HELD(held) float held[MAX_BLOCK][MAX_CHUNKS]
#define HOLD(held, array, base, j0, last, stride, first, count)                                                        \
    [[unroll]] for (uint r = 0; r < block; r++)                                                                        \
        [[unroll]] for (uint n = 0; n < (count); n++) {                                                                \
            uint d = ((first) + n) * CHUNK + gl_SubgroupInvocationID % CHUNK;                                          \
            held[r][n] = float(array[(base) + min(j0 + r, last) * (stride) + (ragged ? min(d, head_size - 1) : d)]);   \
        }
#define OF_HELD(held, j, d, count) subgroupBroadcast(held[j][(d) / CHUNK], (d) % CHUNK)
#define OWN_QUAD(array, at, d)                                                                                             \
    vec4(array[(at) + (d)], array[(at) + min((d) + 1, head_size - 1)], array[(at) + min((d) + 2, head_size - 1)],      \
         array[(at) + min((d) + 3, head_size - 1)])
#endif

/* own[0 .. count) = channels from `first` on of the row at `at`, times `by`, 0 past the end of the head. */
#define OWN_ROW(own, array, at, first, count, by)                                                                      \
    [[unroll]] for (uint d = 0; d < (count); d += 4) {                                                                 \
        vec4 values = OWN_QUAD(array, at, min((first) + d, (head_size - 1) / 4 * 4)) * (by);                               \
        [[unroll]] for (uint e = 0; e < 4; e++)                                                                        \
            own[d + e] = !ragged || (first) + d + e < head_size ? values[e] : 0.0;                                     \
    }

#endif
