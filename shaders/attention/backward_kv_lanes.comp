/* Causal attention, gradients of keys and values, for CPUs (Dao et al. 2022, algorithm 2):
 *   P = exp(scale q k - lse), dV = P^T dO, dS = P (dO v - delta), dK = scale dS^T Q.
 *
 * The k and v heads of d_qkv: (B, T, (H + 2 Hkv) D) are overwritten. A workgroup is 8 or 16 lanes, a lane is a key of one
 * key-value head; it sums over the query heads of its group and over the queries in ascending order. See lanes.glsl.
 * 4 B H T (T + 1) D FLOPs; bytes at least those of qkv, d_output, dK and dV.
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
#if TV_TEXELS
layout(binding = 0) uniform samplerBuffer qkv;
layout(binding = 2) uniform samplerBuffer d_y;
#else
layout(std430, binding = 0) readonly buffer Qkv {
    TV_ACT qkv[];
};
layout(std430, binding = 2) readonly buffer DOutput {
    TV_ACT d_y[];
};
#endif
layout(std430, binding = 1) readonly buffer DocStart {
    uint doc_start[];
};
layout(std430, binding = 3) readonly buffer Lse {
    float lse[];
};
layout(std430, binding = 4) readonly buffer Delta {
    float delta[];
};
layout(std430, binding = 5) writeonly buffer DQkv {
    TV_ACT d_qkv[];
};
layout(push_constant) uniform Push {
    tv_attention_push p;
};
#include "lanes.glsl"
#include "window.glsl"

void main() {
    uint key_blocks = (p.tokens + LANES - 1) / LANES;
    uint group = tv_group();
    if (group >= p.batch * p.kv_heads * key_blocks * parts)
        return;
    uint c0 = group % parts * part_chunks; /* first chunk of the part */
    group /= parts;
    uint j0 = group % key_blocks * LANES;
    uint kv_head = group / key_blocks % p.kv_heads;
    uint b = group / key_blocks / p.kv_heads;
    uint own = j0 + gl_SubgroupInvocationID;
    uint j = min(own, p.tokens - 1);
    uint stride = (p.heads + 2 * p.kv_heads) * head_size;
    uint batch_base = b * p.tokens * stride;
    uint k_base = batch_base + j * stride + (p.heads + kv_head) * head_size;
    uint v_base = k_base + p.kv_heads * head_size;

    float k[MAX_D], v[MAX_D], d_k[MAX_D], d_v[MAX_D];
    if (!wide) {
        OWN_ROW(k, qkv, k_base, 0, part_chunks * CHUNK, p.scale * log2_e)
        OWN_ROW(v, qkv, v_base, 0, part_chunks * CHUNK, 1.0)
    }
    [[unroll]] for (uint d = 0; d < part_chunks * CHUNK; d++)
        d_k[d] = d_v[d] = 0.0;
    uint group_heads = p.heads / p.kv_heads, end = tv_window_end(min(j0 + LANES, p.tokens) - 1, p.tokens);
    for (uint h = kv_head * group_heads; h < (kv_head + 1) * group_heads; h++) {
        uint stats = (b * p.heads + h) * p.tokens;
        for (uint i0 = j0; i0 < end; i0 += block) {
            /* One load brings the statistics of 8 queries. */
            uint near = min(i0 + gl_SubgroupInvocationID, p.tokens - 1);
            float near_lse = lse[stats + near] * log2_e;
            float near_delta = delta[stats + near];
            uint near_first = max(tv_window_start(near), p.has_documents != 0 ? doc_start[b * p.tokens + near] : 0);
            float s[MAX_BLOCK], d_p[MAX_BLOCK];
            [[unroll]] for (uint i = 0; i < block; i++)
                s[i] = d_p[i] = 0.0;
            uint last = p.tokens - 1, q_base = batch_base + h * head_size;
            uint y_base = (b * p.tokens * p.heads + h) * head_size, y_stride = p.heads * head_size;
            HELD(q);
            HELD(d_o);
            if (wide) {
                for (uint c = 0; c < chunks; c++) {
                    float k_part[CHUNK], v_part[CHUNK];
                    OWN_ROW(k_part, qkv, k_base, c * CHUNK, CHUNK, p.scale * log2_e)
                    OWN_ROW(v_part, qkv, v_base, c * CHUNK, CHUNK, 1.0)
                    HOLD(q, qkv, q_base, i0, last, stride, c, 1)
                    HOLD(d_o, d_y, y_base, i0, last, y_stride, c, 1)
                    [[unroll]] for (uint i = 0; i < block; i++)
                        [[unroll]] for (uint d = 0; d < CHUNK; d++) {
                            s[i] = fma(k_part[d], OF_HELD(q, i, d, 1), s[i]);
                            d_p[i] = fma(v_part[d], OF_HELD(d_o, i, d, 1), d_p[i]);
                        }
                }
            }
            HOLD(q, qkv, q_base, i0, last, stride, c0, part_chunks)
            HOLD(d_o, d_y, y_base, i0, last, y_stride, c0, part_chunks)
            if (!wide) {
                [[unroll]] for (uint i = 0; i < block; i++)
                    [[unroll]] for (uint d = 0; d < part_chunks * CHUNK; d++) {
                        s[i] = fma(k[d], OF_HELD(q, i, d, part_chunks), s[i]);
                        d_p[i] = fma(v[d], OF_HELD(d_o, i, d, part_chunks), d_p[i]);
                    }
            }
            [[unroll]] for (uint i = 0; i < block; i++) {
                uint t = min(i0 + i, last);
                bool seen = i0 + i < p.tokens && own <= t && own >= subgroupBroadcast(near_first, i);
                s[i] = seen ? exp2(s[i] - subgroupBroadcast(near_lse, i)) : 0.0; /* the probability */
                d_p[i] = s[i] * (d_p[i] - subgroupBroadcast(near_delta, i));     /* d_s */
            }
            [[unroll]] for (uint d = 0; d < part_chunks * CHUNK; d++)
                [[unroll]] for (uint i = 0; i < block; i++) {
                    d_v[d] = fma(s[i], OF_HELD(d_o, i, d, part_chunks), d_v[d]);
                    d_k[d] = fma(d_p[i], OF_HELD(q, i, d, part_chunks), d_k[d]);
                }
        }
    }
    if (own < p.tokens) {
        [[unroll]] for (uint d = 0; d < part_chunks * CHUNK; d++)
            if (ragged ? c0 * CHUNK + d < head_size : true) {
                d_qkv[k_base + c0 * CHUNK + d] = TV_ACT(d_k[d] * p.scale);
                d_qkv[v_base + c0 * CHUNK + d] = TV_ACT(d_v[d]);
            }
    }
}
