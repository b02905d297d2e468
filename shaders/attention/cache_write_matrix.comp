/* Puts k and v of tokens that are fed side by side into caches of T: row r goes to positions(r) of row slots(r). Rounded as the kernels of
 * attention on matrices round what they read.
 *
 * qkv: (rows, (H + 2 Hkv) D), already rotated, of T where TYPES has bit 0; the rest as in cache_write.comp. D is a multiple of 4. A
 * workgroup takes one row; 8 to 12 bytes per element of k.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "matrix.glsl"
#include "grid.glsl"
#include "push_constants.h"

layout(local_size_x_id = 4) in;
layout(constant_id = 4) const uint INVOCATIONS = 128;
layout(constant_id = 5) const uint D = 64;
layout(constant_id = 6) const uint TYPES = 0;
layout(std430, binding = 0) readonly buffer Qkv {
    vec4 qkv[];
};
layout(std430, binding = 0) readonly buffer QkvT {
    uvec2 qkv_t[];
};
layout(std430, binding = 1) readonly buffer Positions {
    uint positions[];
};
layout(std430, binding = 2) writeonly buffer KCache {
    uvec2 k_cache[];
};
layout(std430, binding = 3) writeonly buffer VCache {
    uvec2 v_cache[];
};
layout(std430, binding = 4) readonly buffer Slots {
    uint slots[];
};
layout(push_constant) uniform Push {
    tv_attention_decode_push p;
};

uvec2 quad_of(uint at) {
    return (TYPES & 1) != 0 ? qkv_t[at] : tv_pack4(qkv[at]);
}

void main() {
    uint row = tv_group();
    if (row >= p.rows)
        return;
    uint slot = slots[p.first_row + row] - p.first_slot;
    if (slot >= p.slots)
        return;
    uint position = min(positions[p.first_row + row], p.max_tokens - 1), quads = D / 4, width = p.kv_heads * quads;
    uint k_new = (row * (p.heads + 2 * p.kv_heads) + p.heads) * quads;
    for (uint i = gl_LocalInvocationIndex; i < width; i += INVOCATIONS) {
        uint at = ((slot * p.kv_heads + i / quads) * p.max_tokens + position) * quads + i % quads;
        k_cache[at] = quad_of(k_new + i);
        v_cache[at] = quad_of(k_new + width + i);
    }
}
