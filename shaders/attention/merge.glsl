/* One order of attention's sums, for whole texts and for decoding on GPUs: the keys of a document come in blocks of 64 from its first
 * one. Of each block alone: the scores, channel after channel, in units of log2; their maximum; weights exp2(score - maximum), exact
 * zeros where masked; their sums over the keys 4 x .. 4 x + 3, then 32 + 4 x .. 32 + 4 x + 3, for x = 0 .. 7; the products with the
 * values, key after key. Blocks are merged in order: maximum m' = max(m, m_b), then sums and products S' = S_b exp2(m_b - m') +
 * S exp2(m - m'), rounded as fma(S_b, ., S * .). At the end the eight sums are added in order, and products are multiplied by the
 * inverse. A block without a key that is seen changes no bit. `precise`, because each kernel's compiler would fuse or order otherwise.
 */
#ifndef TV_ATTENTION_MERGE_GLSL
#define TV_ATTENTION_MERGE_GLSL

const float log2_e = 1.4426950408889634;
/* A masked score. Drivers of CPUs make exp2 of what is far below a normal number, which is not 0. */
const float lowest = -3.0e38;

vec4 block_scores(vec4 products, float scale) {
    precise vec4 scores = products * (scale * log2_e);
    return scores;
}

vec4 block_weights(vec4 scores, float block_top) {
    precise vec4 below = scores - block_top;
    return mix(exp2(below), vec4(0.0), equal(scores, vec4(lowest)));
}

float add_weights(float sum, vec4 weights) {
    precise float added = sum + weights.x;
    added = added + weights.y;
    added = added + weights.z;
    added = added + weights.w;
    return added;
}

/* What the merged sums keep of a part whose maximum was `part_top`. exp2(0) need not be 1. */
float merge_part(float part_top, float merged_top) {
    precise float below = part_top - merged_top;
    return part_top < merged_top ? part_top == lowest ? 0.0 : exp2(below) : 1.0;
}

vec4 merge_parts(vec4 old, float keeps_old, vec4 block, float keeps_block) {
    precise vec4 kept = old * keeps_old;
    precise vec4 merged = fma(block, vec4(keeps_block), kept);
    return merged;
}

float add_sums(float sums[8]) {
    precise float whole = sums[0];
    for (uint x = 1; x < 8; x++)
        whole = whole + sums[x];
    return whole;
}

#endif
