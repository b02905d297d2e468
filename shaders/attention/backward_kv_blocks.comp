/* Causal attention, gradients of keys and values, as backward_kv_tile.comp, for GPUs:
 *   P = exp(scale q k - lse), dV = P^T dO, dS = P (dO v - delta), dK = scale dS^T Q.
 *
 * The k and v heads of d_qkv: (B, T, (H + 2 Hkv) D) are overwritten. A workgroup holds 16 ROWS keys of one key-value head, in
 * tiles that stand transposed: rows are keys, columns are queries, 32 QUADS at a time; see blocks.glsl. It sums over the query heads of
 * its group and over the queries in ascending order, up to the end of the last key's document. D up to D_CLASS. 4 B H T (T + 1) D FLOPs;
 * bytes at least those of qkv, d_output, dK and dV.
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
#ifndef QUADS
#define QUADS 2
#endif
#include "blocks.glsl"
#include "window.glsl"

const float log2_e = 1.4426950408889634;

/* Where t's document begins, 0 without documents: without a branch, see window.glsl. */
uint document_start(uint b, uint t) {
    uint mask = 0 - p.has_documents;
    return doc_start[(b * p.tokens + t) & mask] & mask;
}

/* Before `end`, behind the last query of the document that the key at j is in: by halves, because starts ascend. */
uint document_end(uint b, uint j, uint end) {
    [[dont_unroll]] for (uint low = j; low + 1 < end;) {
        uint middle = (low + end) / 2;
        bool same = document_start(b, middle) <= j;
        low = same ? middle : low;
        end = same ? end : middle;
    }
    return end;
}

#define ADD_VALUES(part)                                                                                               \
    {                                                                                                                  \
        tile_ahead(ahead, d_o, t0, part);                                                                              \
        tile_accumulate(d_v, s, d_o, t0, part, ahead);                                                                 \
    }
#define ADD_KEYS(part)                                                                                                 \
    {                                                                                                                  \
        tile_ahead(ahead, q, t0, part);                                                                                \
        tile_accumulate(d_k, d_p, q, t0, part, ahead);                                                                 \
    }

void main() {
    uint key_blocks = (p.tokens + TILE_ROWS - 1) / TILE_ROWS;
    uint kv_heads = p.batch * p.kv_heads;
    uint group = tv_group();
    if (group >= kv_heads * key_blocks)
        return;
    /* The first keys are seen by the most queries: the longest work first, so that the last workgroups are short. */
    uint j0 = group / kv_heads * TILE_ROWS;
    uint kv_head = group % kv_heads % p.kv_heads, b = group % kv_heads / p.kv_heads;
    uint stride = (p.heads + 2 * p.kv_heads) * head_size, y_stride = p.heads * head_size;
    uint batch_base = b * p.tokens * stride;
    uint k_base = batch_base + (p.heads + kv_head) * head_size;
    uint v_base = k_base + p.kv_heads * head_size;
    tile_matrix k = tile_matrix_at(0, k_base, stride), v = tile_matrix_at(0, v_base, stride);
    uint tx = tile_tx();

    vec4 d_k[ROWS * D_PARTS], d_v[ROWS * D_PARTS];
    [[unroll]] for (uint i = 0; i < ROWS * D_PARTS; i++)
        d_k[i] = d_v[i] = vec4(0.0);
    uint last = min(j0 + TILE_ROWS, p.tokens) - 1;
    uint end = document_end(b, last, tv_window_end(last, p.tokens));
    /* Behind the last query that sees every key of these: up to there, from the last key on, nothing is masked. */
    uint whole_end = document_end(b, j0, tv_window_end(j0, p.tokens));
    uint group_heads = p.heads / p.kv_heads, start = j0 / TILE_OTHER * TILE_OTHER;
    uint blocks = (end - start + TILE_OTHER - 1) / TILE_OTHER;
    float units = p.scale * log2_e;
    /* Head after head in one loop, which drivers' compilers take for shorter than two. */
    for (uint i = 0; i < group_heads * blocks; i++) {
        uint h = kv_head * group_heads + i / blocks, t0 = start + i % blocks * TILE_OTHER, stats = (b * p.heads + h) * p.tokens;
        tile_matrix q = tile_matrix_at(0, batch_base + h * head_size, stride);
        tile_matrix d_o = tile_matrix_at(1, b * p.tokens * y_stride + h * head_size, y_stride);
        vec4 s[ROWS * QUADS], d_p[ROWS * QUADS], ahead[PARTS];
        tile_scores(s, k, j0, q, t0);
        tile_scores(d_p, v, j0, d_o, t0);
        [[unroll]] for (uint c = 0; c < 4 * QUADS; c++) {
            uint near = min(t0 + c / 4 * 32 + 4 * tx + c % 4, p.tokens - 1);
            float minus_lse = lse[stats + near] * -log2_e;
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                uint at = r * QUADS + c / 4;
                s[at][c % 4] = exp2(fma(s[at][c % 4], units, minus_lse));
            }
        }
        if (t0 < last || t0 + TILE_OTHER > whole_end)
            [[unroll]] for (uint c = 0; c < 4 * QUADS; c++) {
                uint t = t0 + c / 4 * 32 + 4 * tx + c % 4, near = min(t, p.tokens - 1);
                /* Of a query past the last one no key is seen. */
                uint first = t < p.tokens ? max(tv_window_start(near), document_start(b, near)) : 0xffff0000;
                uint seen = t < p.tokens ? near - first : 0;
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    uint at = r * QUADS + c / 4;
                    s[at][c % 4] = j0 + tile_row(r) - first <= seen ? s[at][c % 4] : 0.0;
                }
            }
        [[unroll]] for (uint c = 0; c < 4 * QUADS; c++) {
            uint near = min(t0 + c / 4 * 32 + 4 * tx + c % 4, p.tokens - 1);
            float column_delta = delta[stats + near];
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                uint at = r * QUADS + c / 4;
                d_p[at][c % 4] = s[at][c % 4] * (d_p[at][c % 4] - column_delta);
            }
        }
        TILE_EACH_PART(ADD_VALUES)
        TILE_EACH_PART(ADD_KEYS)
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint j = j0 + tile_row(r);
        if (j < p.tokens) {
            TILE_STORE(d_k, r, k_base + j * stride, p.scale, d_qkv)
            TILE_STORE(d_v, r, v_base + j * stride, 1.0, d_qkv)
        }
    }
}
