/* Where a decoding step leaves the blocks of split keys: of each row, query head and block, in order, `columns` vectors of the product,
 * two of the eight sums, and one whose first value is the maximum. */
#ifndef TV_ATTENTION_DECODE_PARTS_GLSL
#define TV_ATTENTION_DECODE_PARTS_GLSL

uint tv_decode_part(uint columns) {
    return columns + 3;
}

/* Workgroups that share the keys of a row and key-value head. */
uint tv_decode_segments(uint max_tokens, uint part_blocks) {
    return ((max_tokens + 63) / 64 + part_blocks - 1) / part_blocks;
}

#endif
