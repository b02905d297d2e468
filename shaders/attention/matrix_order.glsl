/* One order of attention's sums on matrix units, for whole texts (forward_matrix.comp) and for decoding (decode_matrix.comp,
 * decode_merge_matrix.comp): keys come in blocks of 64 from the text's first one. Of each block alone: products q k, a chain of matrix
 * instructions along the channels; their maximum, in units of log2 and rounded down to a whole number; weights
 * exp2(c product - maximum), c = scale log2(e), whose sums are made by lanes as matrix_weights.glsl has it, and which are rounded to T;
 * the products with the values, a chain along the keys. Blocks are merged in order: m' = max(m, m_b), S' = S 2^(m - m') + S_b 2^(m_b - m').
 * Maxima are whole, so these factors are powers of two, no multiplication rounds, and it does not matter which of them a compiler fuses:
 * matrices and single values are merged to the same bits. A block without a key that is seen changes no bit.
 */
#ifndef TV_ATTENTION_MATRIX_ORDER_GLSL
#define TV_ATTENTION_MATRIX_ORDER_GLSL

const float lowest = -3.0e38; /* the product of a masked key, and the maximum of a block of such */

/* What sums with the maximum `top` are multiplied with beside `larger`, which is not below it. */
float merge_factor(float top, float larger) {
    float apart = top - larger;
    return apart < -126.0 ? 0.0 : uintBitsToFloat(uint(int(apart) + 127) << 23);
}

/* Maxima and sums, of a row so far and of a block; what O and the block's product are multiplied with. */
vec2 merge_sums(vec2 row, vec2 block, out vec2 factors) {
    float top = max(row.x, block.x);
    factors = vec2(merge_factor(row.x, top), merge_factor(block.x, top));
    return vec2(top, row.y * factors.x + block.y * factors.y);
}

#endif
