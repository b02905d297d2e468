/* Rotary positions (Su et al. 2021), in place: with c, s = table[position, i],
 *   (x[i], x[i + D/2]) <- (x[i] c - x[i + D/2] s, x[i + D/2] c + x[i] s); direction -1 negates s, the inverse.
 *
 * qkv: (rows, row_stride), its first `heads` heads are overwritten; table: (max_positions, D/2, 2) fp32.
 * One invocation per pair; positions lie inside the table. 6 FLOPs and 16 bytes per pair at fp32.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"
#include "types.glsl"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer Positions {
    uint positions[];
};
layout(std430, binding = 1) readonly buffer Table {
    vec2 table[];
};
layout(std430, binding = 2) buffer Qkv {
    TV_ACT qkv[];
};
layout(push_constant) uniform Push {
    tv_rotary_push p;
};

void main() {
    uint thread = tv_thread();
    uint pairs = p.heads * p.half_size;
    uint row = thread / pairs;
    if (row >= p.rows)
        return;
    uint i = thread % p.half_size;
    uint head = thread % pairs / p.half_size;
    uint position = p.has_positions != 0 ? positions[row] : (p.first_row + row) % p.tokens;
    vec2 angle = table[position * p.half_size + i];
    float sine = angle.y * p.direction;
    uint at = row * p.row_stride + head * 2 * p.half_size + i;
    float a = float(qkv[at]);
    float b = float(qkv[at + p.half_size]);
    qkv[at] = TV_ACT(a * angle.x - b * sine);
    qkv[at + p.half_size] = TV_ACT(b * angle.x + a * sine);
}
