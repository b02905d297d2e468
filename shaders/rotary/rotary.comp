/* Rotary positions (Su et al. 2021), in place: with c, s = table[position, i],
 *   (x[i], x[i + D/2]) <- (x[i] c - x[i + D/2] s, x[i + D/2] c + x[i] s); direction -1 negates s, the inverse.
 *
 * qkv: (rows, row_stride), its first `heads` heads are overwritten; table: (max_positions, D/2, 2) fp32.
 * One invocation per pair, with -DTV_HALVES (qkv is halves, half_size even) per two neighbouring ones; positions lie inside the table. 6 FLOPs and 16 bytes per pair at fp32.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"
#include "pairs.glsl"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer Positions {
    uint positions[];
};
layout(std430, binding = 1) readonly buffer Table {
    vec2 table[];
};
layout(std430, binding = 2) buffer Qkv {
    TV_PAIRS qkv[];
};
layout(push_constant) uniform Push {
    tv_rotary_push p;
};

void main() {
    uint thread = tv_thread(), half_size = p.half_size / TV_EACH;
    uint pairs = p.heads * half_size;
    uint row = thread / pairs;
    if (row >= p.rows)
        return;
    uint i = thread % half_size;
    uint head = thread % pairs / half_size;
    uint position = p.has_positions != 0 ? positions[row] : (p.first_row + row) % p.tokens;
    uint entry = position * p.half_size + i * TV_EACH;
#ifdef TV_HALVES
    vec2 cosine = vec2(table[entry].x, table[entry + 1].x), sine = vec2(table[entry].y, table[entry + 1].y) * p.direction;
#else
    float cosine = table[entry].x, sine = table[entry].y * p.direction;
#endif
    uint at = row * (p.row_stride / TV_EACH) + head * 2 * half_size + i;
    tv_pair a = tv_pair_value(qkv[at]);
    tv_pair b = tv_pair_value(qkv[at + half_size]);
    qkv[at] = TV_PAIRED(a * cosine - b * sine);
    qkv[at + half_size] = TV_PAIRED(b * cosine + a * sine);
}
