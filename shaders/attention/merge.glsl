/* One order of attention's sums, for whole texts and for decoding on GPUs: the keys of a document come in blocks of 64 from its first
 * one. Of each block alone: the products q k, channel after channel; their maximum, from where on they are in units of log2; weights
 * exp2(c product - maximum), c = scale log2(e), rounded once, exact zeros where masked; their sums over the keys 4 x .. 4 x + 3, then
 * 32 + 4 x .. 32 + 4 x + 3, for x = 0 .. 7; the products with the values, key after key. Blocks are merged in order: maximum
 * m' = max(m, m_b), then sums and products S' = S_b exp2(m_b - m') + S exp2(m - m'), rounded as fma(S_b, ., S * .), where the larger
 * of the two is not multiplied. At the end the eight sums are added in order, and products are multiplied by the
 * inverse. A block without a key that is seen changes no bit. `precise`, because each kernel's compiler would fuse or order otherwise.
 */
#ifndef TV_ATTENTION_MERGE_GLSL
#define TV_ATTENTION_MERGE_GLSL

const float log2_e = 1.4426950408889634;
/* The product of a masked key, and the maximum of a block without another: so far above what a masked key's becomes that its weight
 * is 0. Drivers of CPUs make exp2 of what is far below a normal number, which is not 0: whoever asks them for weights masks those. */
const float lowest = -1.0e38;
const float lowest_top = -1.0e30;

float block_scale(float scale) {
    precise float units = scale * log2_e;
    return units;
}

/* Of the largest product. */
float block_top(float most, float units) {
    precise float top = most * units;
    return max(top, lowest_top);
}

/* RADV does not fuse fma where what is added is negated there: minus_units, so that nothing is. */
vec4 block_weights(vec4 products, float units, float most, float minus_units) {
    precise float bottom = most * minus_units;
    return exp2(fma(products, vec4(units), vec4(min(bottom, -lowest_top))));
}

vec4 mask_weights(vec4 weights, vec4 products) {
    return mix(weights, vec4(0.0), equal(products, vec4(lowest)));
}

float add_weights(float sum, vec4 weights) {
    precise float added = sum + weights.x;
    added = added + weights.y;
    added = added + weights.z;
    added = added + weights.w;
    return added;
}

/* What merged sums keep of the old ones (x) and of a block (y), whose maxima were so. */
vec2 merge_factors(float top, float block) {
    precise float apart = top - block;
    float lower = exp2(max(-abs(apart), -150.0));
    return block > top ? vec2(lower, 1.0) : vec2(1.0, lower);
}

vec4 merge_parts(vec4 old, vec4 block, vec2 factors) {
    precise vec4 kept = old * factors.x;
    precise vec4 merged = fma(block, vec4(factors.y), kept);
    return merged;
}

float add_sums(float sums[8]) {
    precise float whole = sums[0];
    for (uint x = 1; x < 8; x++)
        whole = whole + sums[x];
    return whole;
}

#endif
