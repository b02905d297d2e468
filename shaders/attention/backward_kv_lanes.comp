/* Causal attention, gradients of keys and values, for CPUs (Dao et al. 2022, algorithm 2):
 *   P = exp(scale q k - lse), dV = P^T dO, dS = P (dO v - delta), dK = scale dS^T Q.
 *
 * The k and v heads of d_qkv: (B, T, (H + 2 Hkv) D) are overwritten. A workgroup is 8 lanes, a lane is a key of one key-value
 * head; it sums over the query heads of its group and over the queries in ascending order. See lanes.glsl.
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
layout(std430, binding = 0) readonly buffer Qkv {
    TV_ACT qkv[];
};
layout(std430, binding = 1) readonly buffer DocStart {
    uint doc_start[];
};
layout(std430, binding = 2) readonly buffer DOutput {
    TV_ACT d_y[];
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
    [[unroll]] for (uint d = 0; d < part_chunks * 8; d++) {
        k[d] = !wide && d < head_size ? float(qkv[k_base + d]) * (p.scale * log2_e) : 0.0;
        v[d] = !wide && d < head_size ? float(qkv[v_base + d]) : 0.0;
        d_k[d] = 0.0;
        d_v[d] = 0.0;
    }
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
            if (wide) {
                for (uint c = 0; c < chunks; c++) {
                    float k8[8], v8[8];
                    [[unroll]] for (uint e = 0; e < 8; e++) {
                        bool inside = c * 8 + e < head_size;
                        k8[e] = inside ? float(qkv[k_base + c * 8 + e]) * (p.scale * log2_e) : 0.0;
                        v8[e] = inside ? float(qkv[v_base + c * 8 + e]) : 0.0;
                    }
                    [[unroll]] for (uint i = 0; i < block; i++) {
                        uint t = min(i0 + i, p.tokens - 1);
                        float q = float(qkv[batch_base + t * stride + h * head_size + channel(c)]);
                        float d_o = float(d_y[((b * p.tokens + t) * p.heads + h) * head_size + channel(c)]);
                        DOT8(s[i], k8, 0, q);
                        DOT8(d_p[i], v8, 0, d_o);
                    }
                }
            }
            [[unroll]] for (uint i = 0; i < block; i++) {
                uint t = min(i0 + i, p.tokens - 1);
                uint q_row = batch_base + t * stride + h * head_size;
                uint y_row = ((b * p.tokens + t) * p.heads + h) * head_size;
                float q[MAX_CHUNKS], d_o[MAX_CHUNKS];
                [[unroll]] for (uint c = 0; c < part_chunks; c++) {
                    q[c] = float(qkv[q_row + channel(c0 + c)]);
                    d_o[c] = float(d_y[y_row + channel(c0 + c)]);
                    if (!wide) {
                        DOT8(s[i], k, c * 8, q[c]);
                        DOT8(d_p[i], v, c * 8, d_o[c]);
                    }
                }
                bool seen = i0 + i < p.tokens && own <= t && own >= subgroupBroadcast(near_first, i);
                float prob = seen ? exp2(s[i] - subgroupBroadcast(near_lse, i)) : 0.0;
                float d_s = prob * (d_p[i] - subgroupBroadcast(near_delta, i));
                [[unroll]] for (uint c = 0; c < part_chunks; c++) {
                    AXPY8(d_v, c * 8, prob, d_o[c]);
                    AXPY8(d_k, c * 8, d_s, q[c]);
                }
            }
        }
    }
    if (own < p.tokens) {
        [[unroll]] for (uint d = 0; d < part_chunks * 8; d++)
            if (ragged ? c0 * 8 + d < head_size : true) {
                d_qkv[k_base + c0 * 8 + d] = TV_ACT(d_k[d] * p.scale);
                d_qkv[v_base + c0 * 8 + d] = TV_ACT(d_v[d]);
            }
    }
}
