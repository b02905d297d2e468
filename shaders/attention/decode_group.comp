/* Attention of one decoding step: the new k and v go into the cache at positions(row), and the query attends to
 * [0, positions(row)], of it the window's keys.
 *
 * qkv: (rows, (H + 2 Hkv) D); caches: (rows, Hkv, max_tokens, D), one position written; output: (rows, H D), overwritten.
 * With slots (rows), row r attends to row slots(r) of the caches, where cache_write.comp has put the new k and v before; a row whose slot
 * is not bound is left out.
 * A workgroup serves one query head and goes through the cache 128 keys at a time: four invocations share a key's score, so
 * that neighbours read neighbouring addresses; then the invocations stand along the channels for the values. The step's own
 * k and v are read from qkv, so no workgroup reads what another one writes. D up to 256.
 * 4 D FLOPs per key and query head; bytes at least the filled part of the caches, once per query head.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "grid.glsl"
#include "push_constants.h"
#include "types.glsl"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer Qkv {
    TV_ACT qkv[];
};
layout(std430, binding = 1) readonly buffer Positions {
    uint positions[];
};
layout(std430, binding = 2) buffer KCache {
    TV_ACT k_cache[];
};
layout(std430, binding = 3) buffer VCache {
    TV_ACT v_cache[];
};
/* The same bytes, four channels at a time. */
layout(std430, binding = 2) buffer KCache4 {
    TV_ACT4 k_cache4[];
};
layout(std430, binding = 3) buffer VCache4 {
    TV_ACT4 v_cache4[];
};
layout(std430, binding = 5) writeonly buffer Output {
    TV_ACT y[];
};
layout(std430, binding = 4) readonly buffer Slots {
    uint slots[];
};
layout(push_constant) uniform Push {
    tv_attention_decode_push p;
};
#include "reduce.glsl"
#include "window.glsl"

/* 1: D is a multiple of 4 and rows are read as vectors. */
layout(constant_id = 0) const uint aligned = 1;
/* Invocations along the channels of a value: the power of two that holds D / 4. */
layout(constant_id = 1) const uint columns = 16;

const uint KEYS = 128;
const float lowest = -3.0e38;
const float log2_e = 1.4426950408889634;

shared vec4 query[64];
shared float partial[KEYS * 4];
shared float probability[KEYS];
shared vec4 merged[KEYS];

vec4 new_value(uint base, uint d) {
    vec4 value = vec4(0.0);
    for (uint e = 0; e < 4; e++)
        if (d + e < p.head_size)
            value[e] = float(qkv[base + d + e]);
    return value;
}

vec4 cached_k(uint base, uint d) {
    if (aligned != 0)
        return vec4(k_cache4[(base + d) / 4]);
    vec4 value = vec4(0.0);
    for (uint e = 0; e < 4; e++)
        if (d + e < p.head_size)
            value[e] = float(k_cache[base + d + e]);
    return value;
}

vec4 cached_v(uint base, uint d) {
    if (aligned != 0)
        return vec4(v_cache4[(base + d) / 4]);
    vec4 value = vec4(0.0);
    for (uint e = 0; e < 4; e++)
        if (d + e < p.head_size)
            value[e] = float(v_cache[base + d + e]);
    return value;
}

void main() {
    uint group = tv_group();
    if (group >= p.rows * p.heads)
        return;
    uint row = group / p.heads, h = group % p.heads;
    uint slot = p.has_slots != 0 ? slots[p.first_row + row] - p.first_slot : row;
    if (p.has_slots != 0 && slot >= p.slots)
        return;
    uint group_heads = p.heads / p.kv_heads;
    uint kv_head = h / group_heads;
    uint thread = gl_LocalInvocationIndex;
    uint position = min(positions[p.first_row + row], p.max_tokens - 1);
    uint row_base = row * (p.heads + 2 * p.kv_heads) * p.head_size;
    uint k_new = row_base + (p.heads + kv_head) * p.head_size;
    uint v_new = k_new + p.kv_heads * p.head_size;
    uint cache_base = (slot * p.kv_heads + kv_head) * p.max_tokens * p.head_size;
    uint vectors = (p.head_size + 3) / 4;
    uint column = thread % columns, share = thread / columns, shares = KEYS / columns;

    for (uint c = thread; c < vectors; c += KEYS)
        query[c] = new_value(row_base + h * p.head_size, c * 4) * (p.scale * log2_e);
    barrier();

    float top = lowest, sum = 0.0;
    vec4 o = vec4(0.0);
    /* Keys [0, position) from the cache and the last one from qkv. */
    uint start = tv_window_start(position);
    for (uint j0 = start / KEYS * KEYS; j0 <= position; j0 += KEYS) {
        uint keys = min(KEYS, position + 1 - j0);
        for (uint i = thread; i < KEYS * 4; i += KEYS) {
            uint key = i / 4;
            if (key >= keys)
                continue;
            float s = 0.0;
            for (uint c = i % 4; c < vectors; c += 4) {
                vec4 k = j0 + key == position ? new_value(k_new, c * 4)
                                              : cached_k(cache_base + (j0 + key) * p.head_size, c * 4);
                s += dot(query[c], k);
            }
            partial[i] = s;
        }
        barrier();
        float s = lowest;
        bool seen = thread < keys && j0 + thread >= start;
        if (seen)
            s = partial[4 * thread] + partial[4 * thread + 1] + partial[4 * thread + 2] + partial[4 * thread + 3];
        float new_top = max(top, tv_group_max(s));
        float shrink = exp2(top - new_top);
        top = new_top;
        float prob = seen ? exp2(s - top) : 0.0;
        sum = sum * shrink + prob;
        probability[thread] = prob;
        barrier();
        o *= shrink;
        if (column < vectors)
            for (uint key = share; key < keys; key += shares) {
                vec4 v = j0 + key == position ? new_value(v_new, column * 4)
                                              : cached_v(cache_base + (j0 + key) * p.head_size, column * 4);
                o += probability[key] * v;
            }
        barrier();
    }
    float scale = 1.0 / tv_group_sum(sum);
    merged[thread] = o;
    barrier();
    if (share == 0 && column < vectors) {
        for (uint other = 1; other < shares; other++)
            o += merged[other * columns + column];
        o *= scale;
        for (uint e = 0; e < 4; e++)
            if (column * 4 + e < p.head_size)
                y[group * p.head_size + column * 4 + e] = TV_ACT(o[e]);
    }
    if (p.has_slots == 0 && h % group_heads == 0) {
        for (uint d = thread; d < p.head_size; d += KEYS) {
            k_cache[cache_base + position * p.head_size + d] = qkv[k_new + d];
            v_cache[cache_base + position * p.head_size + d] = qkv[v_new + d];
        }
    }
}
