/* Rows of a text's tensors, as the kernels on matrices for whole texts stage them. Include behind strips.glsl; the including shader
 * declares tile_source4(which, index): four float as their bits, or four of T in x and y.
 */
#ifndef TV_ATTENTION_TEXT_ROWS_GLSL
#define TV_ATTENTION_TEXT_ROWS_GLSL

/* A matrix in memory: row r of `source` begins at base + r * stride. */
struct tile_matrix {
    uint source, base, stride;
};

/* Four channels as they are in memory, of row `first` + `row`, or the last one; 0 from channel D on. Written so that what changes in a
 * loop is only first's product, the same for all invocations. */
uvec4 tile_fetch(tile_matrix m, uint first, uint row, uint channel) {
    uint column = m.base + min(channel, D - 4);
    uint at = min(column + row * m.stride + first * m.stride, column + (p.tokens - 1) * m.stride);
    uvec4 bits = tile_source4(m.source, at / 4);
    return channel < D ? bits : uvec4(0);
}

#endif
