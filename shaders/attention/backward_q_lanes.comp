/* Causal attention, gradient of the queries, for CPUs (Dao et al. 2022, algorithm 2):
 *   P = exp(scale q k - lse), dP = dO v, delta = rowsum(dO O), dS = P (dP - delta), dQ = scale dS K.
 *
 * The q heads of d_qkv: (B, T, (H + 2 Hkv) D), and delta: (B, H, T), are overwritten. A workgroup is 8 or 16 lanes, a lane is
 * a query of one head; see lanes.glsl. 3 B H T (T + 1) D FLOPs; bytes at least those of qkv, output, d_output and dQ.
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
layout(binding = 2) uniform samplerBuffer y;
layout(binding = 3) uniform samplerBuffer d_y;
#else
layout(std430, binding = 0) readonly buffer Qkv {
    TV_ACT qkv[];
};
layout(std430, binding = 2) readonly buffer Output {
    TV_ACT y[];
};
layout(std430, binding = 3) readonly buffer DOutput {
    TV_ACT d_y[];
};
#endif
layout(std430, binding = 1) readonly buffer DocStart {
    uint doc_start[];
};
layout(std430, binding = 4) readonly buffer Lse {
    float lse[];
};
layout(std430, binding = 5) writeonly buffer Delta {
    float delta[];
};
layout(std430, binding = 6) writeonly buffer DQkv {
    TV_ACT d_qkv[];
};
layout(push_constant) uniform Push {
    tv_attention_push p;
};
#include "lanes.glsl"
#include "window.glsl"

void main() {
    uint query_blocks = (p.tokens + LANES - 1) / LANES;
    uint group = tv_group();
    if (group >= p.batch * p.heads * query_blocks * parts)
        return;
    uint c0 = group % parts * part_chunks; /* first chunk of the part */
    group /= parts;
    uint t0 = group % query_blocks * LANES;
    uint h = group / query_blocks % p.heads;
    uint b = group / query_blocks / p.heads;
    uint own = t0 + gl_SubgroupInvocationID;
    uint t = min(own, p.tokens - 1);
    uint stride = (p.heads + 2 * p.kv_heads) * head_size;
    uint batch_base = b * p.tokens * stride;
    uint k_base = batch_base + (p.heads + h / (p.heads / p.kv_heads)) * head_size;
    uint v_base = k_base + p.kv_heads * head_size;

    float q[MAX_D], d_o[MAX_D], d_q[MAX_D];
    uint q_base = batch_base + t * stride + h * head_size;
    uint y_base = ((b * p.tokens + t) * p.heads + h) * head_size;
    float own_delta = 0.0;
    if (!wide) {
        OWN_ROW(q, qkv, q_base, 0, part_chunks * CHUNK, p.scale * log2_e)
        OWN_ROW(d_o, d_y, y_base, 0, part_chunks * CHUNK, 1.0)
    }
    for (uint c = 0; c < chunks; c++) {
        float part[CHUNK], d_part[CHUNK];
        OWN_ROW(part, y, y_base, c * CHUNK, CHUNK, 1.0)
        OWN_ROW(d_part, d_y, y_base, c * CHUNK, CHUNK, 1.0)
        [[unroll]] for (uint e = 0; e < CHUNK; e++)
            own_delta = fma(part[e], d_part[e], own_delta);
    }
    [[unroll]] for (uint d = 0; d < part_chunks * CHUNK; d++)
        d_q[d] = 0.0;
    uint at = (b * p.heads + h) * p.tokens + t;
    float own_lse = lse[at] * log2_e;
    uint first = max(tv_window_start(t), p.has_documents != 0 ? doc_start[b * p.tokens + t] : 0);
    uint end = min(t0 + LANES, p.tokens);
    for (uint j0 = subgroupMin(first) / block * block; j0 < end; j0 += block) {
        float s[MAX_BLOCK], d_p[MAX_BLOCK];
        [[unroll]] for (uint j = 0; j < block; j++)
            s[j] = d_p[j] = 0.0;
        uint last = p.tokens - 1;
        HELD(k);
        if (wide) {
            for (uint c = 0; c < chunks; c++) {
                float part[CHUNK], d_part[CHUNK];
                OWN_ROW(part, qkv, q_base, c * CHUNK, CHUNK, p.scale * log2_e)
                OWN_ROW(d_part, d_y, y_base, c * CHUNK, CHUNK, 1.0)
                HELD(v);
                HOLD(k, qkv, k_base, j0, last, stride, c, 1)
                HOLD(v, qkv, v_base, j0, last, stride, c, 1)
                [[unroll]] for (uint j = 0; j < block; j++)
                    [[unroll]] for (uint d = 0; d < CHUNK; d++) {
                        s[j] = fma(part[d], OF_HELD(k, j, d, 1), s[j]);
                        d_p[j] = fma(d_part[d], OF_HELD(v, j, d, 1), d_p[j]);
                    }
            }
            HOLD(k, qkv, k_base, j0, last, stride, c0, part_chunks)
        } else {
            HELD(v);
            HOLD(v, qkv, v_base, j0, last, stride, 0, part_chunks)
            [[unroll]] for (uint j = 0; j < block; j++)
                [[unroll]] for (uint d = 0; d < part_chunks * CHUNK; d++)
                    d_p[j] = fma(d_o[d], OF_HELD(v, j, d, part_chunks), d_p[j]);
            HOLD(k, qkv, k_base, j0, last, stride, 0, part_chunks)
            [[unroll]] for (uint j = 0; j < block; j++)
                [[unroll]] for (uint d = 0; d < part_chunks * CHUNK; d++)
                    s[j] = fma(q[d], OF_HELD(k, j, d, part_chunks), s[j]);
        }
        [[unroll]] for (uint j = 0; j < block; j++) {
            bool seen = j0 + j <= t && j0 + j >= first;
            s[j] = seen ? exp2(s[j] - own_lse) * (d_p[j] - own_delta) : 0.0; /* d_s */
        }
        [[unroll]] for (uint d = 0; d < part_chunks * CHUNK; d++)
            [[unroll]] for (uint j = 0; j < block; j++)
                d_q[d] = fma(s[j], OF_HELD(k, j, d, part_chunks), d_q[d]);
    }
    if (own < p.tokens) {
        [[unroll]] for (uint d = 0; d < part_chunks * CHUNK; d++)
            if (ragged ? c0 * CHUNK + d < head_size : true)
                d_qkv[q_base + c0 * CHUNK + d] = TV_ACT(d_q[d] * p.scale);
        if (c0 == 0)
            delta[at] = own_delta;
    }
}
