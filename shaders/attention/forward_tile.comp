/* Causal attention, forward, in flash form: online softmax over blocks of 32 keys (Dao et al. 2022, algorithm 1).
 *
 * qkv: (B, T, (H + 2 Hkv) D); output: (B, T, H D) and lse: (B, H, T), overwritten. A workgroup holds 16 ROWS queries of one
 * head; see tile.glsl. Scores are kept in units of log2, so that exp2 serves. D up to D_CLASS.
 * 2 B H T (T + 1) D FLOPs; bytes at least those of qkv and output; K and V are read once per block of queries.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "grid.glsl"
#include "push_constants.h"
#include "types.glsl"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer Qkv {
    TV_ACT qkv[];
};
layout(std430, binding = 0) readonly buffer Qkv4 {
    TV_ACT4 qkv4[];
};
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

float tile_source(uint which, uint at) {
    return float(qkv[at]);
}
vec4 tile_source4(uint which, uint at) {
    return vec4(qkv4[at]);
}
#include "tile.glsl"
#include "window.glsl"

void main() {
    uint query_blocks = (p.tokens + TILE_ROWS - 1) / TILE_ROWS;
    uint heads = p.batch * p.heads;
    uint group = tv_group();
    if (group >= heads * query_blocks)
        return;
    /* The longest rows first, so that the last workgroups are short. */
    uint t0 = (query_blocks - 1 - group / heads) * TILE_ROWS;
    uint h = group % heads % p.heads, b = group % heads / p.heads;
    uint stride = (p.heads + 2 * p.kv_heads) * p.head_size;
    uint q_base = b * p.tokens * stride + h * p.head_size;
    uint k_base = b * p.tokens * stride + (p.heads + h / (p.heads / p.kv_heads)) * p.head_size;
    tile_matrix q = tile_matrix(0, q_base, stride), k = tile_matrix(0, k_base, stride);
    tile_matrix v = tile_matrix(0, k_base + p.kv_heads * p.head_size, stride);
    uint tx = tile_tx();

    vec4 o[ROWS * D_PARTS];
    float top[ROWS], sum[ROWS]; /* sum: of this invocation's columns alone, until the end */
    uint first[ROWS];
    [[unroll]] for (uint i = 0; i < ROWS * D_PARTS; i++)
        o[i] = vec4(0.0);
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        top[r] = lowest;
        sum[r] = 0.0;
        uint t = min(t0 + tile_row(r), p.tokens - 1);
        first[r] = max(tv_window_start(t), p.has_documents != 0 ? doc_start[b * p.tokens + t] : 0);
    }
    uint end = min(t0 + TILE_ROWS, p.tokens);
    uint start = 0;
    if (p.has_documents != 0) {
        start = doc_start[b * p.tokens + t0];
        for (uint t = t0 + 1; t < end; t++)
            start = min(start, doc_start[b * p.tokens + t]);
    }
    start = max(start, tv_window_start(t0));
    for (uint j0 = start / TILE_OTHER * TILE_OTHER; j0 < end; j0 += TILE_OTHER) {
        vec4 s[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; r++)
            s[r] = vec4(0.0);
        tile_scores(s, q, t0, k, j0);
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            uint t = t0 + tile_row(r);
            [[unroll]] for (uint c = 0; c < 4; c++) {
                uint j = j0 + 4 * tx + c;
                s[r][c] = j <= t && j >= first[r] ? s[r][c] * (p.scale * log2_e) : lowest;
            }
            tile_partial[tile_row(r) * 8 + tx] = max(max(s[r].x, s[r].y), max(s[r].z, s[r].w));
        }
        barrier();
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            float new_top = top[r];
            for (uint x = 0; x < 8; x++)
                new_top = max(new_top, tile_partial[tile_row(r) * 8 + x]);
            float shrink = exp2(top[r] - new_top);
            top[r] = new_top;
            [[unroll]] for (uint c = 0; c < 4; c++)
                s[r][c] = s[r][c] == lowest ? 0.0 : exp2(s[r][c] - new_top);
            sum[r] = sum[r] * shrink + s[r].x + s[r].y + s[r].z + s[r].w;
            [[unroll]] for (uint part = 0; part < D_PARTS; part++)
                o[r * D_PARTS + part] *= shrink;
        }
        tile_put_weights(s);
        tile_accumulate(o, v, j0);
    }
    barrier();
    [[unroll]] for (uint r = 0; r < ROWS; r++)
        tile_partial[tile_row(r) * 8 + tx] = sum[r];
    barrier();
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint t = t0 + tile_row(r);
        float whole = 0.0;
        for (uint x = 0; x < 8; x++)
            whole += tile_partial[tile_row(r) * 8 + x];
        if (t < p.tokens) {
            TILE_STORE(o, r, ((b * p.tokens + t) * p.heads + h) * p.head_size, 1.0 / whole, y)
            if (tx == 0 && p.has_lse != 0)
                lse[(b * p.heads + h) * p.tokens + t] = (top[r] + log2(whole)) * ln_2;
        }
    }
}
