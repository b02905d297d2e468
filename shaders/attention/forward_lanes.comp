/* Causal attention, forward, for CPUs: online softmax over blocks of keys (Dao et al. 2022, algorithm 1).
 *
 * qkv: (B, T, (H + 2 Hkv) D); output: (B, T, H D) and lse: (B, H, T), overwritten. A workgroup is 8 or 16 lanes, a lane is a
 * query of one head; see lanes.glsl. Scores are kept in units of log2, so that exp2 serves. D up to 256.
 * 2 B H T (T + 1) D FLOPs; bytes at least those of qkv and output.
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
#else
layout(std430, binding = 0) readonly buffer Qkv {
    TV_ACT qkv[];
};
#endif
layout(std430, binding = 1) readonly buffer DocStart {
    uint doc_start[];
};
layout(std430, binding = 2) writeonly buffer Output {
    TV_ACT y[];
};
layout(std430, binding = 3) writeonly buffer Lse {
    float lse[];
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

    float q[MAX_D], o[MAX_D];
    uint q_base = batch_base + t * stride + h * head_size;
    if (!wide) {
        OWN_ROW(q, qkv, q_base, 0, part_chunks * CHUNK, p.scale * log2_e)
    }
    [[unroll]] for (uint d = 0; d < part_chunks * CHUNK; d++)
        o[d] = 0.0;
    uint first = max(tv_window_start(t), p.has_documents != 0 ? doc_start[b * p.tokens + t] : 0);
    uint end = min(t0 + LANES, p.tokens);
    float top = lowest, sum = 0.0;
    /* Blocks are aligned, so that a row's bits do not depend on its neighbours' documents. */
    for (uint j0 = subgroupMin(first) / block * block; j0 < end; j0 += block) {
        float s[MAX_BLOCK];
        float new_top = top;
        [[unroll]] for (uint j = 0; j < block; j++)
            s[j] = 0.0;
        uint last = p.tokens - 1;
        if (wide) {
            for (uint c = 0; c < chunks; c++) {
                float part[CHUNK];
                OWN_ROW(part, qkv, q_base, c * CHUNK, CHUNK, p.scale * log2_e)
                HELD(k);
                HOLD(k, qkv, k_base, j0, last, stride, c, 1)
                [[unroll]] for (uint j = 0; j < block; j++)
                    [[unroll]] for (uint d = 0; d < CHUNK; d++)
                        s[j] = fma(part[d], OF_HELD(k, j, d, 1), s[j]);
            }
        } else {
            HELD(k);
            HOLD(k, qkv, k_base, j0, last, stride, 0, part_chunks)
            [[unroll]] for (uint j = 0; j < block; j++)
                [[unroll]] for (uint d = 0; d < part_chunks * CHUNK; d++)
                    s[j] = fma(q[d], OF_HELD(k, j, d, part_chunks), s[j]);
        }
        [[unroll]] for (uint j = 0; j < block; j++) {
            s[j] = j0 + j <= t && j0 + j >= first ? s[j] : lowest;
            new_top = max(new_top, s[j]);
        }
        float shrink = exp2(top - new_top);
        top = new_top;
        sum *= shrink;
        [[unroll]] for (uint j = 0; j < block; j++) {
            s[j] = s[j] == lowest ? 0.0 : exp2(s[j] - top);
            sum += s[j];
        }
        HELD(v);
        HOLD(v, qkv, v_base, j0, last, stride, c0, part_chunks)
        [[unroll]] for (uint d = 0; d < part_chunks * CHUNK; d++) {
            o[d] *= shrink;
            [[unroll]] for (uint j = 0; j < block; j++)
                o[d] = fma(s[j], OF_HELD(v, j, d, part_chunks), o[d]);
        }
    }
    if (own < p.tokens) {
        uint y_base = ((b * p.tokens + own) * p.heads + h) * head_size;
        float scale = 1.0 / sum;
        [[unroll]] for (uint d = 0; d < part_chunks * CHUNK; d++)
            if (ragged ? c0 * CHUNK + d < head_size : true)
                y[y_base + c0 * CHUNK + d] = TV_ACT(o[d] * scale);
        if (p.has_lse != 0 && c0 == 0)
            lse[(b * p.heads + h) * p.tokens + own] = (top + log2(sum)) * ln_2;
    }
}
