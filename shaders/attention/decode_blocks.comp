/* Attention of one decoding step: the new k and v go into the cache at positions(row), and the query attends to
 * [0, positions(row)], of it the window's keys.
 *
 * qkv: (rows, (H + 2 Hkv) D); caches: (rows, Hkv, max_tokens, D), one position written; output: (rows, H D), overwritten.
 * With slots (rows), row r attends to row slots(r) of the caches, where cache_write.comp has put the new k and v before; a row whose slot
 * is not bound is left out. With prefixes, whose positions stand where several rows read them: decode_cache.glsl.
 * A workgroup serves one key-value head and its query heads, up to 16 at once, so that the caches come from memory once for all of them.
 * It takes pairs of a block of 64 keys and a query head, as many as there are sets of invocations along a value's channels; one formula,
 * merge.glsl's, so that a step, a prompt's pass and the forms of GPUs for whole texts have the same bits. The step's own k and v are
 * read from qkv, so no workgroup reads what another one writes. D up to 256.
 * TV_SPLIT: a workgroup takes part_blocks blocks alone and leaves each one's product, sums and maximum in `parts`, of
 * (rows, H, blocks of max_tokens) times what decode_merge.comp reads, which merges them in order.
 * 4 D FLOPs per key and query head; bytes at least the filled part of the caches, once per key-value head.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
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
#if TV_SPLIT
layout(std430, binding = 5) writeonly buffer Parts {
    vec4 parts[];
};
#else
layout(std430, binding = 5) writeonly buffer Output {
    TV_ACT y[];
};
#endif
layout(std430, binding = 4) readonly buffer Slots {
    uint slots[];
};
layout(push_constant) uniform Push {
    tv_attention_decode_push p;
};
#include "decode_cache.glsl"
#include "decode_parts.glsl"
#include "merge.glsl"
#include "window.glsl"

/* 1: D is a multiple of 4 and rows are read as vectors. */
layout(constant_id = 0) const uint aligned = 1;
/* Invocations along the channels of a value: the power of two that holds D / 4. */
layout(constant_id = 1) const uint columns = 16;
#if TV_SPLIT
/* Blocks of keys that a workgroup takes. */
layout(constant_id = 2) const uint part_blocks = 1;
#endif

/* Pairs of a block and a query head that are computed at once. */
const uint pairs = columns > 8 ? 128 / columns : 16;

shared vec4 query[128];
shared float weights[16 * 64];
shared float partial[128], block_sums[128], block_tops[16];
shared vec4 products[128];

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
#if TV_SPLIT
    uint segments = tv_decode_segments(p.max_tokens, part_blocks);
    uint segment = group % segments;
    group /= segments;
#endif
    if (group >= p.rows * p.kv_heads)
        return;
    uint row = group / p.kv_heads, kv_head = group % p.kv_heads;
    uint slot = tv_cache_slot(row);
    if (slot >= p.slots)
        return;
    uint group_heads = p.heads / p.kv_heads;
    uint thread = gl_LocalInvocationIndex;
    uint position = min(positions[p.first_row + row], p.max_tokens - 1);
    uint row_base = row * (p.heads + 2 * p.kv_heads) * p.head_size;
    uint k_new = row_base + (p.heads + kv_head) * p.head_size;
    uint v_new = k_new + p.kv_heads * p.head_size;
    tv_cache cache = tv_cache_of(row, slot, kv_head, p.head_size);
    uint vectors = (p.head_size + 3) / 4, start = tv_window_start(position);
    uint column = thread % columns, share = thread / columns;
    /* Of the weights: which pair, and which eight keys of it. */
    uint pair = thread / 8, x = thread % 8;
    uint from = start - start % 64, end = position + 1;
    float units = block_scale(p.scale);
#if TV_SPLIT
    from = max(from, segment * part_blocks * 64);
    end = min(end, (segment + 1) * part_blocks * 64);
    if (from >= end)
        return;
#endif

    for (uint h0 = 0; h0 < group_heads; h0 += pairs) {
        uint heads = min(pairs, group_heads - h0), blocks = pairs / heads;
        uint first_head = kv_head * group_heads + h0;
        barrier();
        if (share < heads && column < vectors)
            query[share * columns + column] = new_value(row_base + (first_head + share) * p.head_size, column * 4);
        barrier();
        float sum = 0.0, sum_top = lowest_top, o_top = lowest_top;
        vec4 o = vec4(0.0);
        for (uint j0 = from; j0 < end; j0 += 64 * blocks) {
            for (uint i = thread; i < blocks * heads * 64; i += 128) {
                uint key = j0 + i / 64 / heads * 64 + i % 64, head = i / 64 % heads;
                float s = lowest;
                if (key >= start && key < end) {
                    s = 0.0;
                    for (uint c = 0; c < vectors; c++) {
                        vec4 q = query[head * columns + c];
                        vec4 k = key == position ? new_value(k_new, c * 4)
                                                 : cached_k(tv_cache_at(cache, key, p.head_size), c * 4);
                        s = fma(q.w, k.w, fma(q.z, k.z, fma(q.y, k.y, fma(q.x, k.x, s))));
                    }
                }
                weights[i] = s;
            }
            barrier();
            float most = lowest;
            if (pair < blocks * heads)
                for (uint c = 0; c < 8; c++)
                    most = max(most, weights[pair * 64 + 32 * (c / 4) + 4 * x + c % 4]);
            partial[thread] = most;
            barrier();
            if (pair < blocks * heads) {
                for (uint other = 0; other < 8; other++)
                    most = max(most, partial[pair * 8 + other]);
                float top = block_top(most, units), block_sum = 0.0;
                for (uint q = 0; q < 2; q++) {
                    uint at = pair * 64 + 32 * q + 4 * x;
                    vec4 of_keys = vec4(weights[at], weights[at + 1], weights[at + 2], weights[at + 3]);
                    vec4 weight = mask_weights(block_weights(of_keys, units, most, -units), of_keys);
                    for (uint c = 0; c < 4; c++)
                        weights[at + c] = weight[c];
                    block_sum = add_weights(block_sum, weight);
                }
                block_sums[thread] = block_sum;
                if (x == 0)
                    block_tops[pair] = top;
            }
            barrier();
            vec4 product = vec4(0.0);
            uint first_key = j0 + share / heads * 64;
            if (share < blocks * heads && column < vectors)
                for (uint key = max(first_key, start); key < min(first_key + 64, end); key++) {
                    vec4 v = key == position ? new_value(v_new, column * 4)
                                             : cached_v(tv_cache_at(cache, key, p.head_size), column * 4);
                    product = fma(vec4(weights[share * 64 + key - first_key]), v, product);
                }
#if TV_SPLIT
            /* The last pairs may be of blocks of the next segment, which has the same to write. */
            uint size = tv_decode_part(columns), all = (p.max_tokens + 63) / 64;
            uint block = first_key / 64, head = first_head + share % heads;
            if (share < blocks * heads && first_key < end)
                parts[((row * p.heads + head) * all + block) * size + column] = product;
            block = j0 / 64 + pair / heads;
            head = first_head + pair % heads;
            if (pair < blocks * heads && block * 64 < end && x < 3) {
                vec4 value = vec4(block_tops[pair], 0.0, 0.0, 0.0);
                if (x < 2)
                    for (uint c = 0; c < 4; c++)
                        value[c] = block_sums[pair * 8 + x * 4 + c];
                parts[((row * p.heads + head) * all + block) * size + columns + x] = value;
            }
#else
            products[thread] = product;
            barrier();
            for (uint i = 0; i < blocks; i++) {
                if (pair < heads) {
                    float part = block_tops[i * heads + pair];
                    sum = merge_parts(vec4(sum), vec4(block_sums[(i * heads + pair) * 8 + x]), merge_factors(sum_top, part)).x;
                    sum_top = max(sum_top, part);
                }
                if (share < heads) {
                    float part = block_tops[i * heads + share];
                    o = merge_parts(o, products[(i * heads + share) * columns + column], merge_factors(o_top, part));
                    o_top = max(o_top, part);
                }
            }
#endif
            barrier();
        }
#if !TV_SPLIT
        partial[thread] = sum;
        barrier();
        if (share < heads && column < vectors) {
            float sums[8];
            for (uint other = 0; other < 8; other++)
                sums[other] = partial[share * 8 + other];
            o *= 1.0 / add_sums(sums);
            uint at = (row * p.heads + first_head + share) * p.head_size + column * 4;
            for (uint e = 0; e < 4; e++)
                if (column * 4 + e < p.head_size)
                    y[at + e] = TV_ACT(o[e]);
        }
#endif
    }
#if TV_SPLIT
    if (p.has_slots == 0 && position / 64 / part_blocks == segment) {
#else
    if (p.has_slots == 0) {
#endif
        uint at = tv_cache_at(cache, position, p.head_size);
        for (uint d = thread; d < p.head_size; d += 128) {
            k_cache[at + d] = qkv[k_new + d];
            v_cache[at + d] = qkv[v_new + d];
        }
    }
}
