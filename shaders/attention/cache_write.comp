/* Puts k and v of tokens that are fed side by side into the caches: row r goes to positions(r) of row slots(r).
 *
 * qkv: (rows, (H + 2 Hkv) D), already rotated; slots, positions: (rows); caches: (slots, Hkv, max_tokens, D), written there alone. A row
 * whose slot is not bound is left out. No two rows name the same place. A workgroup takes one row; 16 bytes per element of k.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) readonly buffer Qkv {
    TV_ACT qkv[];
};
layout(std430, binding = 1) readonly buffer Positions {
    uint positions[];
};
layout(std430, binding = 2) writeonly buffer KCache {
    TV_ACT k_cache[];
};
layout(std430, binding = 3) writeonly buffer VCache {
    TV_ACT v_cache[];
};
layout(std430, binding = 4) readonly buffer Slots {
    uint slots[];
};
layout(push_constant) uniform Push {
    tv_attention_decode_push p;
};

void main() {
    uint row = tv_group();
    if (row >= p.rows)
        return;
    uint slot = slots[p.first_row + row] - p.first_slot;
    if (slot >= p.slots)
        return;
    uint position = min(positions[p.first_row + row], p.max_tokens - 1), width = p.kv_heads * p.head_size;
    uint k_new = (row * (p.heads + 2 * p.kv_heads) + p.heads) * p.head_size;
    for (uint i = gl_LocalInvocationIndex; i < width; i += gl_WorkGroupSize.x) {
        uint head = i / p.head_size;
        uint at = ((slot * p.kv_heads + head) * p.max_tokens + position) * p.head_size + (i - head * p.head_size);
        k_cache[at] = qkv[k_new + i];
        v_cache[at] = qkv[k_new + width + i];
    }
}
