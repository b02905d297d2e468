/* The blocks that decode_matrix.comp left of split keys, merged in order (matrix_order.glsl): output (rows, H D), overwritten, of T
 * where TYPES has bit 1.
 *
 * An invocation takes four channels of a query head of a row. Rows whose slot is not bound are left out.
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
layout(std430, binding = 0) readonly buffer Positions {
    uint positions[];
};
layout(std430, binding = 1) readonly buffer Slots {
    uint slots[];
};
layout(std430, binding = 2) readonly buffer Parts {
    vec4 parts[];
};
layout(std430, binding = 3) writeonly buffer Output {
    vec4 y[];
};
layout(std430, binding = 3) writeonly buffer OutputT {
    uvec2 y_t[];
};
layout(push_constant) uniform Push {
    tv_attention_decode_push p;
};
#include "decode_cache.glsl"
#include "decode_parts.glsl"
#include "matrix_order.glsl"
#include "window.glsl"

void main() {
    uint at = tv_thread(), which = at / (D / 4), quad = at % (D / 4);
    if (which >= p.rows * p.heads)
        return;
    uint row = which / p.heads;
    if (tv_cache_slot(row) >= p.slots)
        return;
    uint position = min(positions[p.first_row + row], p.max_tokens - 1), size = tv_decode_part(D / 4);
    uint base = which * ((p.max_tokens + 63) / 64) * size;
    vec2 first = vec2(lowest, 0.0), second = first, factors;
    vec4 o = vec4(0.0);
    for (uint block = tv_window_start(position) / 64; block <= position / 64; block++) {
        uint from = base + block * size;
        if (TV_MATRIX_LANES > 16)
            second = merge_sums(second, parts[from + D / 4 + 1].xy, factors);
        first = merge_sums(first, parts[from + D / 4].xy, factors);
        o = o * factors.x + parts[from + quad] * factors.y;
    }
    vec4 value = o * (1.0 / (first.y + second.y));
    if ((TYPES >> 1 & 1) != 0)
        y_t[at] = tv_pack4(value);
    else
        y[at] = value;
}
