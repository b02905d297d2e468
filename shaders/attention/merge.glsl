/* One order of attention's sums, for whole texts and for decoding on GPUs: the keys of a document come in blocks of 64 from its first
 * one. Of each block alone: the maximum of its scores (in units of log2); weights exp2(score - maximum), exact zeros where masked;
 * their sums over the keys 4 x .. 4 x + 3, then 32 + 4 x .. 32 + 4 x + 3, for x = 0 .. 7; the products with the values, key after key.
 * Blocks are merged in order: maximum m' = max(m, m_b), then sums and products S' = S_b exp2(m_b - m') + S exp2(m - m'), rounded as
 * fma(S_b, ., S * .). At the end the eight sums are added in order. A block without a key that is seen changes no bit.
 */
#ifndef TV_ATTENTION_MERGE_GLSL
#define TV_ATTENTION_MERGE_GLSL

/* A masked score is `lowest`. Drivers of CPUs make exp2 of what is far below a normal number, which is not 0. */
const float lowest = -3.0e38;

vec4 block_weights(vec4 scores, float block_top) {
    return mix(exp2(scores - block_top), vec4(0.0), equal(scores, vec4(lowest)));
}

/* What the merged sums keep of a part whose maximum was `part_top`. exp2(0) need not be 1. */
float merge_part(float part_top, float merged_top) {
    return part_top < merged_top ? part_top == lowest ? 0.0 : exp2(part_top - merged_top) : 1.0;
}

#endif
