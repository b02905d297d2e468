/* Attention of one decoding step, for CPUs: the new k and v go into the cache at positions(row), and the query attends to
 * [0, positions(row)], of it the window's keys.
 *
 * qkv: (rows, (H + 2 Hkv) D); caches: (rows, Hkv, max_tokens, D), one position written; output: (rows, H D), overwritten.
 * With slots (rows), row r attends to row slots(r) of the caches, where cache_write.comp has put the new k and v before; a row whose slot
 * is not bound is left out.
 * A workgroup is 8 or 16 lanes for one query head, or for one part of its result where D is over 64. A lane holds four channels, so that 8
 * lanes read a key, or several short ones, as one piece of memory: the caches of many rows are larger than the processor's, and read
 * in any other order they cost twice as much. Lanes exchange the partial scores of as many keys as they are, so that each has one to
 * exponentiate; the softmax is online. The step's own k and v are read from qkv, so no workgroup reads what another one writes.
 * -DTV_TEXELS=1, for D a multiple of 4: a texel of four channels costs hardly more than one channel, so inputs and caches are
 * bound as texels (the caches once more; what is read of them was written by earlier dispatches). The sums are the same.
 * 4 D FLOPs per key and query head; bytes at least the filled part of the caches, once per query head.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "grid.glsl"
#include "push_constants.h"
#include "types.glsl"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 1) readonly buffer Positions {
    uint positions[];
};
layout(std430, binding = 2) buffer KCache {
    TV_ACT k_cache[];
};
layout(std430, binding = 3) buffer VCache {
    TV_ACT v_cache[];
};
layout(std430, binding = 5) writeonly buffer Output {
    TV_ACT y[];
};
layout(std430, binding = 4) readonly buffer Slots {
    uint slots[];
};
#if TV_TEXELS
layout(binding = 0) uniform samplerBuffer qkv;
layout(binding = 6) uniform samplerBuffer k_texels;
layout(binding = 7) uniform samplerBuffer v_texels;
#define QUAD(texels, at, d) texelFetch(texels, int(((at) + (d)) / 4))
#else
layout(std430, binding = 0) readonly buffer Qkv {
    TV_ACT qkv[];
};
#define k_texels k_cache
#define v_texels v_cache
/* Past the end of a head its last channel again. */
#define QUAD(array, at, d)                                                                                             \
    vec4(array[(at) + min(d, end)], array[(at) + min((d) + 1, end)], array[(at) + min((d) + 2, end)],                  \
         array[(at) + min((d) + 3, end)])
#endif
layout(push_constant) uniform Push {
    tv_attention_decode_push p;
};
#include "lanes.glsl"
#include "window.glsl"

const uint end = head_size - 1, last_quad = end / 4 * 4;
const uint SPAN = 8; /* lanes at most that share a key */
const uint span = head_size > 16 ? SPAN : head_size > 8 ? 4 : head_size > 4 ? 2 : 1;
const uint keys = LANES / span;                                                   /* read at once */
const uint part_quads = part_chunks * 2, each = (part_quads + span - 1) / span;   /* of a lane in the result */
const uint MAX_EACH = MAX_D / 4 / SPAN;

/* Channels d to d + 3 of the query, 0 past its end. */
vec4 query(uint at, uint d) {
    vec4 q = QUAD(qkv, at, min(d, last_quad));
    return head_size % 32 == 0 ? q : mix(vec4(0.0), q, lessThanEqual(d + uvec4(0, 1, 2, 3), uvec4(end)));
}

/* The i-th of the lanes that share a key gets the sum over them of values[i]: 7 exchanges in place of 8 sums. At each step a lane
 * keeps the half of the values that its own number says, and gets the other lane's part of it. */
float sum_to_lanes(float values[SPAN], uint lane) {
    vec4 four = vec4(values[0], values[1], values[2], values[3]);
    if (span > 4) {
        vec4 more = vec4(values[4], values[5], values[6], values[7]);
        bool upper = (lane & 4) != 0;
        four = (upper ? more : four) + subgroupShuffleXor(upper ? four : more, 4);
    }
    vec2 two = four.xy;
    if (span > 2) {
        bool upper = (lane & 2) != 0;
        two = (upper ? four.zw : two) + subgroupShuffleXor(upper ? two : four.zw, 2);
    }
    if (span == 1)
        return two.x;
    bool upper = (lane & 1) != 0;
    return (upper ? two.y : two.x) + subgroupShuffleXor(upper ? two.x : two.y, 1);
}

float max_over_lanes(float value) {
    [[unroll]] for (uint other = 1; other < LANES; other *= 2)
        value = max(value, subgroupShuffleXor(value, other));
    return value;
}

void main() {
    uint group = tv_group();
    if (group >= p.rows * p.heads * parts)
        return;
    uint d0 = group % parts * part_chunks * CHUNK; /* first channel of the part */
    group /= parts;
    uint row = group / p.heads, h = group % p.heads;
    uint slot = p.has_slots != 0 ? slots[p.first_row + row] - p.first_slot : row;
    if (p.has_slots != 0 && slot >= p.slots)
        return;
    uint group_heads = p.heads / p.kv_heads;
    uint kv_head = h / group_heads;
    uint lane = gl_SubgroupInvocationID, beside = lane / span, own = lane % span * 4;
    uint position = min(positions[p.first_row + row], p.max_tokens - 1);
    uint row_base = row * (p.heads + 2 * p.kv_heads) * head_size;
    uint q_base = row_base + h * head_size;
    uint k_new = row_base + (p.heads + kv_head) * head_size;
    uint v_new = k_new + p.kv_heads * head_size;
    uint cache_base = (slot * p.kv_heads + kv_head) * p.max_tokens * head_size;

    vec4 q[MAX_EACH], o[MAX_EACH];
    float own_score = 0.0;
    if (wide) {
        for (uint d = own; d < head_size; d += 4 * SPAN)
            own_score += dot(query(q_base, d), QUAD(qkv, k_new, min(d, last_quad)));
    } else {
        [[unroll]] for (uint i = 0; i < each; i++) {
            uint d = own + 4 * SPAN * i;
            q[i] = query(q_base, d);
            own_score += dot(q[i], QUAD(qkv, k_new, min(d, last_quad)));
        }
    }
    [[unroll]] for (uint other = 1; other < span; other *= 2)
        own_score += subgroupShuffleXor(own_score, other);
    own_score *= p.scale * log2_e;

    [[unroll]] for (uint i = 0; i < each; i++)
        o[i] = vec4(0.0);
    float top = lowest, sum = 0.0;
    uint start = tv_window_start(position);
    for (uint j0 = start / LANES * LANES; j0 < position; j0 += LANES) {
        uint at[SPAN];
        float scores[SPAN];
        [[unroll]] for (uint f = 0; f < span; f++)
            at[f] = cache_base + min(j0 + f * keys + beside, position - 1) * head_size;
        if (wide) {
            [[unroll]] for (uint f = 0; f < span; f++)
                scores[f] = 0.0;
            for (uint d = own; d < head_size; d += 4 * SPAN) {
                vec4 part = query(q_base, d);
                [[unroll]] for (uint f = 0; f < span; f++)
                    scores[f] += dot(part, QUAD(k_texels, at[f], min(d, last_quad)));
            }
        } else {
            [[unroll]] for (uint f = 0; f < span; f++) {
                vec4 products = vec4(0.0);
                [[unroll]] for (uint i = 0; i < each; i++)
                    products = fma(q[i], QUAD(k_texels, at[f], min(own + 4 * SPAN * i, last_quad)), products);
                scores[f] = (products.x + products.y) + (products.z + products.w);
            }
        }
        /* Of key j0 + lane % span * keys + beside. */
        float s = sum_to_lanes(scores, lane) * p.scale * log2_e;
        uint key = j0 + lane % span * keys + beside;
        s = key >= start && key < position ? s : lowest;
        float new_top = max(top, max_over_lanes(s));
        float shrink = exp2(top - new_top);
        top = new_top;
        float prob = s == lowest ? 0.0 : exp2(s - top);
        sum = sum * shrink + prob;
        [[unroll]] for (uint i = 0; i < each; i++)
            o[i] *= shrink;
        [[unroll]] for (uint f = 0; f < span; f++) {
            float weight = span == LANES ? subgroupBroadcast(prob, f) : subgroupShuffle(prob, beside * span + f);
            [[unroll]] for (uint i = 0; i < each; i++)
                o[i] = fma(vec4(weight), QUAD(v_texels, at[f], min(d0 + own + 4 * SPAN * i, last_quad)), o[i]);
        }
    }
    /* The step's own key comes last, in every lane alike. */
    float all_top = max(top, own_score);
    float shrink = exp2(top - all_top);
    float own_prob = exp2(own_score - all_top);
    float scale = 1.0 / (subgroupAdd(sum) * shrink + own_prob);
    [[unroll]] for (uint i = 0; i < each; i++) {
        [[unroll]] for (uint other = span; other < LANES; other *= 2)
            o[i] += subgroupShuffleXor(o[i], other);
        uint d = own + 4 * SPAN * i;
        if (beside > 0 || d >= part_chunks * CHUNK)
            continue;
        d += d0;
        vec4 k = QUAD(qkv, k_new, min(d, last_quad)), v = QUAD(qkv, v_new, min(d, last_quad));
        vec4 result = fma(vec4(own_prob), v, o[i] * shrink) * scale;
        [[unroll]] for (uint c = 0; c < 4; c++)
            if (d + c < head_size) {
                y[(row * p.heads + h) * head_size + d + c] = TV_ACT(result[c]);
                if (p.has_slots == 0 && h % group_heads == 0) {
                    k_cache[cache_base + position * head_size + d + c] = TV_ACT(k[c]);
                    v_cache[cache_base + position * head_size + d + c] = TV_ACT(v[c]);
                }
            }
    }
}
