/* Attention of one decoding step, for CPUs: the new k and v go into the cache at positions(row), and the query attends to
 * [0, positions(row)], of it the window's keys.
 *
 * qkv: (rows, (H + 2 Hkv) D); caches: (rows, Hkv, max_tokens, D), one position written; output: (rows, H D), overwritten.
 * With slots (rows), row r attends to row slots(r) of the caches, where cache_write.comp has put the new k and v before; a row whose slot
 * is not bound is left out. With prefixes, whose positions stand where several rows read them: decode_cache.glsl.
 * A workgroup is 8 or 16 lanes, and a lane is a query head of a row, so nothing crosses lanes: a shuffle among 16 lanes costs llvmpipe more than a
 * load. Scores, blocks and sums are those of forward_lanes.comp in their order, so the bits are the forward pass's and nobody beside a row
 * changes them. Where D is over 64 a workgroup makes a part of the result. The step's own k and v are read from qkv, so no workgroup reads what another
 * one writes; its key is the last of its block.
 * -DTV_TEXELS=1, for D a multiple of 4: a texel of four channels costs hardly more than one channel, so inputs and caches are
 * bound as texels (the caches once more; what is read of them was written by earlier dispatches).
 * 4 D FLOPs per key and query head; bytes at least the filled part of the caches, once per query head.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_ballot : require
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
#else
layout(std430, binding = 0) readonly buffer Qkv {
    TV_ACT qkv[];
};
#define k_texels k_cache
#define v_texels v_cache
#endif
layout(push_constant) uniform Push {
    tv_attention_decode_push p;
};
#include "decode_cache.glsl"
#include "lanes.glsl"
#include "window.glsl"

const uint last_quad = (head_size - 1) / 4 * 4;
const uint part_d = part_chunks * CHUNK;

void main() {
    uint pairs = p.rows * p.heads, group = tv_group();
    if (group >= (pairs + LANES - 1) / LANES * parts)
        return;
    uint first_d = group % parts * part_d; /* channel of the part */
    uint own = group / parts * LANES + gl_SubgroupInvocationID, pair = min(own, pairs - 1);
    uint row = pair / p.heads, h = pair % p.heads;
    uint slot = tv_cache_slot(row);
    bool bound = own < pairs && slot < p.slots;
    uint group_heads = p.heads / p.kv_heads, kv_head = h / group_heads;
    uint position = bound ? min(positions[p.first_row + row], p.max_tokens - 1) : 0;
    uint q_base = (row * (p.heads + 2 * p.kv_heads) + h) * head_size;
    uint k_new = (row * (p.heads + 2 * p.kv_heads) + p.heads + kv_head) * head_size;
    uint v_new = k_new + p.kv_heads * head_size;
    tv_cache cache = tv_cache_of(row, bound ? slot : 0, kv_head, head_size);
    uint last = max(position, 1) - 1; /* key of the cache */

    float q[MAX_D], o[MAX_D], own_score = 0.0, own_weight = 0.0;
    if (wide) {
        for (uint c = 0; c < chunks; c++) {
            float part[CHUNK], key[CHUNK];
            OWN_ROW(part, qkv, q_base, c * CHUNK, CHUNK, p.scale * log2_e)
            OWN_ROW(key, qkv, k_new, c * CHUNK, CHUNK, 1.0)
            [[unroll]] for (uint d = 0; d < CHUNK; d++)
                own_score = fma(part[d], key[d], own_score);
        }
    } else {
        OWN_ROW(q, qkv, q_base, 0, part_d, p.scale * log2_e)
        [[unroll]] for (uint d = 0; d < part_d; d += 4) {
            vec4 key = OWN_QUAD(qkv, k_new, min(d, last_quad));
            [[unroll]] for (uint e = 0; e < 4; e++)
                own_score = fma(q[d + e], key[e], own_score);
        }
    }
    [[unroll]] for (uint d = 0; d < part_d; d++)
        o[d] = 0.0;
    float top = lowest, sum = 0.0;
    uint first = tv_window_start(position), end = subgroupMax(position);
    for (uint j0 = subgroupMin(first) / block * block; j0 <= end; j0 += block) {
        float s[MAX_BLOCK], new_top = top;
        [[unroll]] for (uint j = 0; j < block; j++)
            s[j] = 0.0;
        [[dont_unroll]] for (uint i = 0; i < block; i++) {
            uint at = tv_cache_at(cache, min(j0 + i, last), head_size);
            float score = 0.0;
            if (wide) {
                for (uint c = 0; c < chunks; c++) {
                    float part[CHUNK];
                    OWN_ROW(part, qkv, q_base, c * CHUNK, CHUNK, p.scale * log2_e)
                    [[unroll]] for (uint d = 0; d < CHUNK; d += 4) {
                        vec4 key = OWN_QUAD(k_texels, at, min(c * CHUNK + d, last_quad));
                        [[unroll]] for (uint e = 0; e < 4; e++)
                            score = fma(part[d + e], key[e], score);
                    }
                }
            } else {
                [[unroll]] for (uint d = 0; d < part_d; d += 4) {
                    vec4 key = OWN_QUAD(k_texels, at, min(d, last_quad));
                    [[unroll]] for (uint e = 0; e < 4; e++)
                        score = fma(q[d + e], key[e], score);
                }
            }
            [[unroll]] for (uint j = 0; j < block; j++)
                s[j] = i == j ? score : s[j];
        }
        [[unroll]] for (uint j = 0; j < block; j++) {
            s[j] = j0 + j == position ? own_score : j0 + j < position && j0 + j >= first ? s[j] : lowest;
            new_top = max(new_top, s[j]);
        }
        float shrink = exp2(top - new_top);
        top = new_top;
        sum *= shrink;
        [[unroll]] for (uint j = 0; j < block; j++) {
            s[j] = s[j] == lowest ? 0.0 : exp2(s[j] - top);
            sum += s[j];
            if (j0 + j == position) {
                own_weight = s[j];
                s[j] = 0.0;
            }
        }
        [[unroll]] for (uint d = 0; d < part_d; d++)
            o[d] *= shrink;
        [[dont_unroll]] for (uint i = 0; i < block; i++) {
            uint at = tv_cache_at(cache, min(j0 + i, last), head_size);
            float weight = 0.0;
            [[unroll]] for (uint j = 0; j < block; j++)
                weight = i == j ? s[j] : weight;
            [[unroll]] for (uint d = 0; d < part_d; d += 4) {
                vec4 value = OWN_QUAD(v_texels, at, min(first_d + d, last_quad));
                [[unroll]] for (uint e = 0; e < 4; e++)
                    o[d + e] = fma(weight, value[e], o[d + e]);
            }
        }
    }
    if (!bound)
        return;
    float scale = 1.0 / sum;
    [[unroll]] for (uint d = 0; d < part_d; d += 4) {
        vec4 value = OWN_QUAD(qkv, v_new, min(first_d + d, last_quad));
        [[unroll]] for (uint e = 0; e < 4; e++) {
            /* Behind no key, what the cache holds may be anything. */
            float before = position == 0 ? 0.0 : o[d + e];
            if (!ragged || first_d + d + e < head_size)
                y[pair * head_size + first_d + d + e] = TV_ACT(fma(own_weight, value[e], before) * scale);
        }
    }
    if (p.has_slots != 0 || h % group_heads != 0)
        return;
    uint own_at = tv_cache_at(cache, position, head_size);
    /* A store takes the driver's compiler longer than the rest of a channel's work. */
    [[dont_unroll]] for (uint d = first_d; d < min(first_d + part_d, head_size); d += 4) {
        vec4 key = OWN_QUAD(qkv, k_new, d), value = OWN_QUAD(qkv, v_new, d);
        [[unroll]] for (uint e = 0; e < 4; e++)
            if (d + e < head_size) {
                k_cache[own_at + d + e] = TV_ACT(key[e]);
                v_cache[own_at + d + e] = TV_ACT(value[e]);
            }
    }
}
