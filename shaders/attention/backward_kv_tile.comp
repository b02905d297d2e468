/* Causal attention, gradients of keys and values (Dao et al. 2022, algorithm 2):
 *   P = exp(scale q k - lse), dV = P^T dO, dS = P (dO v - delta), dK = scale dS^T Q.
 *
 * The k and v heads of d_qkv: (B, T, (H + 2 Hkv) D) are overwritten. A workgroup holds 16 ROWS keys of one key-value head, in
 * tiles that stand transposed: rows are keys, columns are queries; see tile.glsl. It sums over the query heads of its group and over
 * the queries in ascending order, on GPUs (DOCUMENT_ENDS) up to the end of the last key's document: drivers of CPUs take long to
 * compile that loop. D up to D_CLASS. 4 B H T (T + 1) D FLOPs; bytes at least those of qkv, d_output, dK and dV.
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
layout(std430, binding = 2) readonly buffer DOutput {
    TV_ACT d_y[];
};
layout(std430, binding = 2) readonly buffer DOutput4 {
    TV_ACT4 d_y4[];
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

float tile_source(uint which, uint at) {
    return which == 0 ? float(qkv[at]) : float(d_y[at]);
}
vec4 tile_source4(uint which, uint at) {
    return which == 0 ? vec4(qkv4[at]) : vec4(d_y4[at]);
}
#include "tile.glsl"
#include "window.glsl"

#if DOCUMENT_ENDS
/* Before `end`, behind the last query of the document that the key at j is in: by halves, because starts ascend. */
uint document_end(uint b, uint j, uint end) {
    uint mask = 0 - p.has_documents;
    for (uint low = j; low + 1 < end;) {
        uint middle = (low + end) / 2;
        bool same = (doc_start[(b * p.tokens + middle) & mask] & mask) <= j;
        low = same ? middle : low;
        end = same ? end : middle;
    }
    return end;
}
#endif

void main() {
    uint key_blocks = (p.tokens + TILE_ROWS - 1) / TILE_ROWS;
    uint kv_heads = p.batch * p.kv_heads;
    uint group = tv_group();
    if (group >= kv_heads * key_blocks)
        return;
    /* The first keys are seen by the most queries: the longest work first, so that the last workgroups are short. */
    uint j0 = group / kv_heads * TILE_ROWS;
    uint kv_head = group % kv_heads % p.kv_heads, b = group % kv_heads / p.kv_heads;
    uint stride = (p.heads + 2 * p.kv_heads) * p.head_size;
    uint batch_base = b * p.tokens * stride;
    uint k_base = batch_base + (p.heads + kv_head) * p.head_size;
    uint v_base = k_base + p.kv_heads * p.head_size;
    uint y_stride = p.heads * p.head_size;
    tile_matrix k = tile_matrix(0, k_base, stride), v = tile_matrix(0, v_base, stride);
    uint tx = tile_tx();

    vec4 d_k[ROWS * D_PARTS], d_v[ROWS * D_PARTS];
    [[unroll]] for (uint i = 0; i < ROWS * D_PARTS; i++)
        d_k[i] = d_v[i] = vec4(0.0);
    uint group_heads = p.heads / p.kv_heads, end = tv_window_end(min(j0 + TILE_ROWS, p.tokens) - 1, p.tokens);
#if DOCUMENT_ENDS
    end = document_end(b, min(j0 + TILE_ROWS, p.tokens) - 1, end);
#endif
    for (uint h = kv_head * group_heads; h < (kv_head + 1) * group_heads; h++) {
        tile_matrix q = tile_matrix(0, batch_base + h * p.head_size, stride);
        tile_matrix d_o = tile_matrix(1, b * p.tokens * y_stride + h * p.head_size, y_stride);
        uint stats = (b * p.heads + h) * p.tokens;
        for (uint t0 = j0 / TILE_OTHER * TILE_OTHER; t0 < end; t0 += TILE_OTHER) {
            vec4 s[ROWS], d_p[ROWS];
            [[unroll]] for (uint r = 0; r < ROWS; r++)
                s[r] = d_p[r] = vec4(0.0);
            tile_scores(s, k, j0, q, t0);
            tile_scores(d_p, v, j0, d_o, t0);
            [[unroll]] for (uint c = 0; c < 4; c++) {
                uint t = t0 + 4 * tx + c;
                uint near = min(t, p.tokens - 1);
                float row_lse = lse[stats + near] * log2_e, row_delta = delta[stats + near];
                uint first = max(tv_window_start(near), p.has_documents != 0 ? doc_start[b * p.tokens + near] : 0);
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    uint j = j0 + tile_row(r);
                    bool seen = j <= t && j >= first && t < p.tokens;
                    s[r][c] = seen ? exp2(s[r][c] * (p.scale * log2_e) - row_lse) : 0.0;
                    d_p[r][c] = s[r][c] * (d_p[r][c] - row_delta);
                }
            }
            tile_put_weights(s);
            tile_accumulate(d_v, d_o, t0);
            tile_put_weights(d_p);
            tile_accumulate(d_k, q, t0);
        }
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint j = j0 + tile_row(r);
        if (j < p.tokens) {
            TILE_STORE(d_k, r, k_base + j * stride, p.scale, d_qkv)
            TILE_STORE(d_v, r, v_base + j * stride, 1.0, d_qkv)
        }
    }
}
