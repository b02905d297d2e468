/* output[r] = scale token_table[tokens[r]] + position_table[position of r]; the position is positions[r], or (first_position + r) % T.
 *
 * tokens, positions: (rows); token_table: (V, C), with -DTV_WEIGHT of that type (weights.glsl); position_table: (max_positions, C); output: (rows, C), overwritten. A dispatch sees one
 * chunk of each table and writes the rows whose token and position lie in them, so over all pairs of chunks each row is written
 * once. A row whose token or position lies outside of its whole table, which the host refuses, belongs to the first chunk and becomes
 * NaN. One workgroup a row. Limits: rows * C of one dispatch and each chunk below 2^32. Floor: 8 bytes per output element, 12 with
 * positions.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"
#include "vector.glsl"
#ifdef TV_WEIGHT
#include "weights.glsl"
#endif

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) readonly buffer Tokens {
    uint tokens[];
};
layout(std430, binding = 1) readonly buffer Positions {
    uint positions[];
};
layout(std430, binding = 2) readonly buffer TokenTable {
#ifdef TV_WEIGHT
    TV_WEIGHT_WORD b[];
#else
    TV_PARAMS token_table[];
#endif
};
layout(std430, binding = 3) readonly buffer PositionTable {
    TV_PARAMS position_table[];
};
layout(std430, binding = 4) writeonly buffer Output {
    TV_ACTS y[];
};
layout(push_constant) uniform Push {
    tv_embedding_push p;
};

#ifdef TV_WEIGHT
#define TV_WEIGHT_FUNCTIONS
#include "weights.glsl"
#define TOKEN(c) tv_weight(token_row * tv_weight_row_words(p.channels), p.channels, c)
#else
#define TOKEN(c) tv_vec(token_table[token_row * width + (c)])
#endif

void main() {
    uint row = tv_group();
    if (row >= p.rows)
        return;
    uint width = p.channels / TV_WIDTH, lane = gl_LocalInvocationIndex, lanes = gl_WorkGroupSize.x;
    uint token = tokens[row], token_row = token - p.token_first;
    bool inside = token_row < p.token_count;
    bool valid = token < p.vocab;
    if (!inside && (valid || p.token_first != 0))
        return;
    if (p.has_position_table == 0) {
        for (uint c = lane; c < width; c += lanes)
            y[row * width + c] = TV_ACTS(valid ? p.scale * TOKEN(c) : tv_vec(uintBitsToFloat(0x7fc00000u)));
        return;
    }
    uint position = p.has_positions != 0 ? positions[row] : (p.first_position + row) % p.tokens_per_row;
    uint position_row = position - p.position_first;
    inside = position_row < p.position_count;
    if (!inside && (position < p.max_positions || p.position_first != 0))
        return;
    valid = valid && inside;
    for (uint c = lane; c < width; c += lanes)
        y[row * width + c] = TV_ACTS(valid ? p.scale * TOKEN(c) + tv_vec(position_table[position_row * width + c])
                                           : tv_vec(uintBitsToFloat(0x7fc00000u)));
}
