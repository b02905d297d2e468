/* Causal attention, gradient of the queries, as backward_q_tile.comp, for GPUs:
 *   P = exp(scale q k - lse), dP = dO v, delta = rowsum(dO O), dS = P (dP - delta), dQ = scale dS K.
 *
 * The q heads of d_qkv: (B, T, (H + 2 Hkv) D), and delta: (B, H, T), are overwritten. A workgroup holds 16 ROWS queries of one
 * head and goes through the keys 32 QUADS at a time; see blocks.glsl. D up to D_CLASS. 3 B H T (T + 1) D FLOPs; bytes at least those
 * of qkv, output, d_output and dQ.
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

#define ADD_PART(part)                                                                                                 \
    {                                                                                                                  \
        tile_ahead(ahead, k, j0, part);                                                                                \
        tile_accumulate(d_q, s, k, j0, part, ahead);                                                                   \
    }

void main() {
    uint query_blocks = (p.tokens + TILE_ROWS - 1) / TILE_ROWS;
    uint heads = p.batch * p.heads;
    uint group = tv_group();
    if (group >= heads * query_blocks)
        return;
    /* The longest rows first, so that the last workgroups are short. */
    uint t0 = (query_blocks - 1 - group / heads) * TILE_ROWS;
    uint h = group % heads % p.heads, b = group % heads / p.heads;
    uint stride = (p.heads + 2 * p.kv_heads) * head_size, y_stride = p.heads * head_size;
    uint q_base = b * p.tokens * stride + h * head_size, y_base = b * p.tokens * y_stride + h * head_size;
    uint k_base = b * p.tokens * stride + (p.heads + h / (p.heads / p.kv_heads)) * head_size;
    tile_matrix q = tile_matrix_at(0, q_base, stride), k = tile_matrix_at(0, k_base, stride);
    tile_matrix v = tile_matrix_at(0, k_base + p.kv_heads * head_size, stride);
    tile_matrix d_o = tile_matrix_at(1, y_base, y_stride), o = tile_matrix_at(2, y_base, y_stride);
    uint tx = tile_tx(), stats = (b * p.heads + h) * p.tokens;

    vec4 d_q[ROWS * D_PARTS];
    float row_lse[ROWS], row_delta[ROWS];
    uint first[ROWS];
    [[unroll]] for (uint i = 0; i < ROWS * D_PARTS; i++)
        d_q[i] = vec4(0.0);
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint t = min(t0 + tile_row(r), p.tokens - 1);
        row_lse[r] = lse[stats + t] * log2_e;
        first[r] = max(tv_window_start(t), document_start(b, t));
    }
    /* Apart from the loop above: NVK does not unroll one with a loop inside, and would hold what it fills in scratch. */
    [[dont_unroll]] for (uint r = 0; r < ROWS; r++) {
        uint d_o_row = tile_row_base(d_o, t0, tile_row(r)), o_row = tile_row_base(o, t0, tile_row(r));
        float part_delta = 0.0;
        [[dont_unroll]] for (uint part = 0; part < D_PARTS; part++)
            part_delta += dot(tile_fetch(1, d_o_row, part * 32 + tx * 4, head_size == D_CLASS),
                              tile_fetch(2, o_row, part * 32 + tx * 4, head_size == D_CLASS));
        tile_put_partial(r, part_delta);
    }
    barrier();
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        vec4 low = tile_get_partial(r, 0), high = tile_get_partial(r, 1);
        row_delta[r] = low.x + low.y + low.z + low.w + high.x + high.y + high.z + high.w;
        if (tx == 0 && t0 + tile_row(r) < p.tokens)
            delta[stats + t0 + tile_row(r)] = row_delta[r];
    }
    uint end = min(t0 + TILE_ROWS, p.tokens);
    /* Documents' starts do not decrease along a text. */
    uint start = max(tv_window_start(t0), document_start(b, t0));
    uint last_first = max(tv_window_start(end - 1), document_start(b, end - 1));
    float units = p.scale * log2_e;
    for (uint j0 = start / TILE_OTHER * TILE_OTHER; j0 < end; j0 += TILE_OTHER) {
        vec4 s[ROWS * QUADS], d_p[ROWS * QUADS], ahead[PARTS];
        tile_scores(s, q, t0, k, j0);
        tile_scores(d_p, d_o, t0, v, j0);
        [[unroll]] for (uint r = 0; r < ROWS; r++)
            [[unroll]] for (uint q = 0; q < QUADS; q++) {
                uint i = r * QUADS + q;
                s[i] = exp2(fma(s[i], vec4(units), vec4(-row_lse[r]))) * (d_p[i] - row_delta[r]);
            }
        /* Only blocks at the diagonal or at an edge have keys that some row does not see. */
        if (j0 + TILE_OTHER > t0 + 1 || j0 < last_first)
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                /* Of a row past the last one no key is seen. */
                uint t = t0 + tile_row(r), seen = t < p.tokens ? t - first[r] : 0, from = t < p.tokens ? first[r] : 0xffff0000;
                [[unroll]] for (uint c = 0; c < 4 * QUADS; c++)
                    s[r * QUADS + c / 4][c % 4] = j0 + c / 4 * 32 + 4 * tx + c % 4 - from <= seen ? s[r * QUADS + c / 4][c % 4] : 0.0;
            }
        TILE_EACH_PART(ADD_PART)
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint t = t0 + tile_row(r);
        if (t < p.tokens) {
            TILE_STORE(d_q, r, q_base + t * stride, p.scale, d_qkv)
        }
    }
}
