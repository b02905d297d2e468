/* From a block's products, in a subgroup's strips, to weights in T, their maxima and sums: what the kernels on matrices for whole texts
 * and for decoding share. matrix_order.glsl says the rest. Include behind strips.glsl, with STRIP_COLUMNS 32.
 */
#ifndef TV_ATTENTION_MATRIX_WEIGHTS_GLSL
#define TV_ATTENTION_MATRIX_WEIGHTS_GLSL

#include "matrix_order.glsl"

#ifndef WEIGHTS
#define WEIGHTS strip
#endif

float score_units(float scale) {
    precise float units = scale * log2_e;
    return units;
}

/* A lane's part of its rows' products. */
vec4 lane_scores[LANE_ROWS * 2 * STRIP_QUADS];

/* Of the columns 32 `side` on, from a strip. */
void take_scores(uint side, uint base) {
    [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++)
        [[unroll]] for (uint x = 0; x < EACH(STRIP_QUADS); x++)
            lane_scores[(i * 2 + side) * STRIP_QUADS + x] = uintBitsToFloat(strip[base + strip_row(i) * STRIP_PITCH + strip_quad(x)]);
}

/* Row i sees the keys `first` to `last` of those from j0 on. */
void mask_scores(uint i, uint j0, uint first, uint last) {
    [[unroll]] for (uint side = 0; side < EACH(2); side++)
        [[unroll]] for (uint x = 0; x < EACH(STRIP_QUADS); x++)
            [[unroll]] for (uint e = 0; e < EACH(4); e++) {
                uint j = j0 + side * 32 + strip_quad(x) * 4 + e, at = (i * 2 + side) * STRIP_QUADS + x;
                lane_scores[at][e] = j - first <= last - first ? lane_scores[at][e] : lowest;
            }
}

/* The weights of row i go to `strip`, or what the including shader defines as WEIGHTS, as T, in rows from `base` on. Their maximum, and
 * the sum of this lane's columns. */
vec2 weigh(uint i, float units, uint base) {
    float most = lowest;
    [[unroll]] for (uint x = 0; x < EACH(2 * STRIP_QUADS); x++) {
        vec4 quad = lane_scores[i * 2 * STRIP_QUADS + x];
        most = max(most, max(max(quad.x, quad.y), max(quad.z, quad.w)));
    }
    if (ROW_LANES > 1)
        most = max(most, subgroupShuffleXor(most, 16));
    /* Where no key of the block is seen, its weights are 0 all the same. RADV does not fuse fma where what is added is negated there. */
    precise float bottom = most * -units;
    float minus_top = most == lowest ? 0.0 : ceil(bottom);
    precise float sum = 0.0;
    [[unroll]] for (uint side = 0; side < EACH(2); side++)
        [[unroll]] for (uint x = 0; x < EACH(STRIP_QUADS); x += 2) {
            uint at = (i * 2 + side) * STRIP_QUADS + x;
            vec4 lower = exp2(fma(lane_scores[at], vec4(units), vec4(minus_top)));
            vec4 upper = exp2(fma(lane_scores[at + 1], vec4(units), vec4(minus_top)));
            precise vec4 both = lower + upper;
            sum = sum + (both.x + both.y + (both.z + both.w));
            WEIGHTS[base + strip_row(i) * STRIP_PITCH + side * 4 + strip_quad(x) / 2] = uvec4(tv_pack4(lower), tv_pack4(upper));
        }
    return vec2(most == lowest ? lowest : -minus_top, sum);
}

float whole_sum(float sum) {
    return ROW_LANES > 1 ? sum + subgroupShuffleXor(sum, 16) : sum;
}

#endif
