/* Four neighbours of a stored row at a time, for the products of GPUs: loaded without a branch and held as they are stored until they
 * are wanted, so that loads are in flight while something else is computed.
 *
 * Whoever includes this has included weights.glsl and its functions, and declares `a`, `b` and, over the same bindings, `a4` and (for
 * floats) `b4`, and the constant ALIGNED: all starts, strides and sides are multiples of 4, so that one load takes four values.
 * What lies past the end of a row is its last value, read again.
 */
#ifndef TV_QUADS_GLSL
#define TV_QUADS_GLSL

/* As stored: floats; or a word or two of weights, and the word that their scale stands in. */
#if TV_WEIGHT == TV_WEIGHT_F32
#define TV_RAW vec4
#else
#define TV_RAW uvec2
#endif

/* Elements column .. column + 3, column a multiple of 4, of the row that begins at `row` and has `columns` > 0. */
vec4 tv_quad_a(uint row, uint column, uint columns) {
    if (ALIGNED)
        return a4[(row + min(column, columns - 4)) / 4];
    vec4 values;
    for (uint e = 0; e < 4; e++)
        values[e] = float(a[row + min(column + e, columns - 1)]);
    return values;
}

TV_RAW tv_quad_b(uint row, uint column, uint columns) {
#if TV_WEIGHT == TV_WEIGHT_F32
    if (ALIGNED)
        return b4[(row + min(column, columns - 4)) / 4];
    vec4 values;
    for (uint e = 0; e < 4; e++)
        values[e] = float(b[row + min(column + e, columns - 1)]);
    return values;
#elif TV_WEIGHT_EACH == 2
    uint word = column / 2, last = (columns - 1) / 2;
    return uvec2(b[row + min(word, last)], b[row + min(word + 1, last)]);
#else /* rows of whole blocks, scales behind them, two to a word */
    uint within = min(column, columns - 4);
    return uvec2(b[row + tv_weight_word_of(within)],
                 b[row + columns / TV_WEIGHT_EACH + within / (2 * TV_WEIGHT_BLOCK)]);
#endif
}

vec4 tv_quad_values(TV_RAW raw, uint column, uint columns) {
#if TV_WEIGHT == TV_WEIGHT_F32
    return raw;
#elif TV_WEIGHT_EACH == 2
    return vec4(tv_weight_of_word(raw.x, 0), tv_weight_of_word(raw.x, 1), tv_weight_of_word(raw.y, 0),
                tv_weight_of_word(raw.y, 1));
#else
    uint within = min(column, columns - 4), first = tv_weight_place(within);
    float scale = tv_half(raw.y >> 16 * (within / TV_WEIGHT_BLOCK % 2));
    return scale * vec4(tv_weight_of_word(raw.x, first), tv_weight_of_word(raw.x, first + 1),
                        tv_weight_of_word(raw.x, first + 2), tv_weight_of_word(raw.x, first + 3));
#endif
}

/* Nothing from column `columns` on. */
vec4 tv_quad_within(vec4 values, uint column, uint columns) {
    if (ALIGNED)
        return column < columns ? values : vec4(0.0);
    return mix(vec4(0.0), values, lessThan(uvec4(column, column + 1, column + 2, column + 3), uvec4(columns)));
}

#endif
