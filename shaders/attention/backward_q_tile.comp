/* Causal attention, gradient of the queries (Dao et al. 2022, algorithm 2):
 *   P = exp(scale q k - lse), dP = dO v, delta = rowsum(dO O), dS = P (dP - delta), dQ = scale dS K.
 *
 * The q heads of d_qkv: (B, T, (H + 2 Hkv) D), and delta: (B, H, T), are overwritten. A workgroup holds 16 ROWS queries of one
 * head; see tile.glsl. D up to D_CLASS. 3 B H T (T + 1) D FLOPs; bytes at least those of qkv, output, d_output and dQ.
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
layout(std430, binding = 2) readonly buffer Output {
    TV_ACT y[];
};
layout(std430, binding = 2) readonly buffer Output4 {
    TV_ACT4 y4[];
};
layout(std430, binding = 3) readonly buffer DOutput {
    TV_ACT d_y[];
};
layout(std430, binding = 3) readonly buffer DOutput4 {
    TV_ACT4 d_y4[];
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

float tile_source(uint which, uint at) {
    return which == 0 ? float(qkv[at]) : which == 1 ? float(d_y[at]) : float(y[at]);
}
vec4 tile_source4(uint which, uint at) {
    return which == 0 ? vec4(qkv4[at]) : which == 1 ? vec4(d_y4[at]) : vec4(y4[at]);
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
    uint y_stride = p.heads * p.head_size;
    uint y_base = b * p.tokens * y_stride + h * p.head_size;
    tile_matrix q = tile_matrix(0, q_base, stride), k = tile_matrix(0, k_base, stride);
    tile_matrix v = tile_matrix(0, k_base + p.kv_heads * p.head_size, stride);
    tile_matrix d_o = tile_matrix(1, y_base, y_stride), o = tile_matrix(2, y_base, y_stride);
    uint tx = tile_tx();
    uint stats = (b * p.heads + h) * p.tokens;

    vec4 d_q[ROWS * D_PARTS];
    float row_lse[ROWS], row_delta[ROWS];
    uint first[ROWS];
    [[unroll]] for (uint i = 0; i < ROWS * D_PARTS; i++)
        d_q[i] = vec4(0.0);
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint t = min(t0 + tile_row(r), p.tokens - 1);
        row_lse[r] = lse[stats + t] * log2_e;
        first[r] = max(tv_window_start(t), p.has_documents != 0 ? doc_start[b * p.tokens + t] : 0);
    }
    /* Apart from the loop above: NVK does not unroll one with a loop inside, and would hold what it fills in scratch. */
    for (uint r = 0; r < ROWS; r++) {
        uint t = min(t0 + tile_row(r), p.tokens - 1);
        float part_delta = 0.0;
        for (uint d = tx * 4; d < p.head_size; d += 32)
            part_delta += dot(tile_fetch(d_o, t, d), tile_fetch(o, t, d));
        tile_partial[tile_row(r) * 8 + tx] = part_delta;
    }
    barrier();
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        row_delta[r] = 0.0;
        for (uint x = 0; x < 8; x++)
            row_delta[r] += tile_partial[tile_row(r) * 8 + x];
        if (tx == 0 && t0 + tile_row(r) < p.tokens)
            delta[stats + t0 + tile_row(r)] = row_delta[r];
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
        vec4 s[ROWS], d_p[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; r++)
            s[r] = d_p[r] = vec4(0.0);
        tile_scores(s, q, t0, k, j0);
        tile_scores(d_p, d_o, t0, v, j0);
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            uint t = t0 + tile_row(r);
            [[unroll]] for (uint c = 0; c < 4; c++) {
                uint j = j0 + 4 * tx + c;
                bool seen = j <= t && j >= first[r] && t < p.tokens;
                float prob = seen ? exp2(s[r][c] * (p.scale * log2_e) - row_lse[r]) : 0.0;
                s[r][c] = prob * (d_p[r][c] - row_delta[r]);
            }
        }
        tile_put_weights(s);
        tile_accumulate(d_q, k, j0);
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint t = t0 + tile_row(r);
        if (t < p.tokens) {
            TILE_STORE(d_q, r, q_base + t * stride, p.scale, d_qkv)
        }
    }
}
