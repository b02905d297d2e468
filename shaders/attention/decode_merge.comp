/* The blocks that decode_blocks.comp left of split keys, merged in order: output (rows, H D), overwritten.
 *
 * A workgroup of 128 invocations takes as many query heads of rows as there are sets of invocations along a value's channels. Rows whose
 * slot is not bound are left out.
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
layout(std430, binding = 1) readonly buffer Slots {
    uint slots[];
};
layout(std430, binding = 2) readonly buffer Parts {
    vec4 parts[];
};
layout(std430, binding = 3) writeonly buffer Output {
    TV_ACT y[];
};
layout(push_constant) uniform Push {
    tv_attention_decode_push p;
};
#include "decode_cache.glsl"
#include "decode_parts.glsl"
#include "merge.glsl"
#include "window.glsl"

layout(constant_id = 0) const uint columns = 16;

void main() {
    uint thread = gl_LocalInvocationIndex, column = thread % columns;
    uint which = tv_group() * (TV_LOCAL_SIZE / columns) + thread / columns;
    if (which >= p.rows * p.heads)
        return;
    uint row = which / p.heads;
    if (tv_cache_slot(row) >= p.slots)
        return;
    uint position = min(positions[p.first_row + row], p.max_tokens - 1), size = tv_decode_part(columns);
    uint base = which * ((p.max_tokens + 63) / 64) * size;
    float top = lowest_top;
    vec4 o = vec4(0.0), low = vec4(0.0), high = vec4(0.0);
    for (uint block = tv_window_start(position) / 64; block <= position / 64; block++) {
        uint at = base + block * size;
        float part = parts[at + columns + 2].x;
        vec2 factors = merge_factors(top, part);
        o = merge_parts(o, parts[at + column], factors);
        low = merge_parts(low, parts[at + columns], factors);
        high = merge_parts(high, parts[at + columns + 1], factors);
        top = max(top, part);
    }
    o *= 1.0 / add_sums(float[8](low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w));
    for (uint e = 0; e < 4; e++)
        if (column * 4 + e < p.head_size)
            y[which * p.head_size + column * 4 + e] = TV_ACT(o[e]);
}
