/* Causal attention, forward, in flash form: online softmax over blocks of 64 keys (Dao et al. 2022, algorithm 1).
 *
 * qkv: (B, T, (H + 2 Hkv) D); output: (B, T, H D) and lse: (B, H, T), overwritten. A workgroup holds 16 ROWS queries of one
 * head; see blocks.glsl. Scores are kept in units of log2, so that exp2 serves. D up to D_CLASS.
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
#define QUADS 2 /* blocks of 64 keys, see merge.glsl */
#include "blocks.glsl"
#include "merge.glsl"
#include "window.glsl"

/* Where t's document begins, 0 without documents: without a branch, see window.glsl. */
uint document_start(uint b, uint t) {
    uint mask = 0 - p.has_documents;
    return doc_start[(b * p.tokens + t) & mask] & mask;
}

/* Behind the last row of t's document, at most `end`; by halves, because starts ascend. */
uint document_end(uint b, uint t, uint end) {
    uint document = document_start(b, t);
    [[dont_unroll]] for (uint step = TILE_ROWS / 2; step > 0; step /= 2) {
        uint next = min(t + step, end - 1);
        t = document_start(b, next) == document ? next : t;
    }
    return t + 1;
}

/* The block's product, of 32 PARTS channels, made on its own and merged. */
#define ADD_BLOCK(part)                                                                                                \
    {                                                                                                                  \
        vec4 block[ROWS * D_PARTS];                                                                                    \
        [[unroll]] for (uint i = 0; i < ROWS * D_PARTS; i++)                                                           \
            block[i] = vec4(0.0);                                                                                      \
        if (part > 0)                                                                                                  \
            tile_ahead(ahead, v, j0, part);                                                                            \
        tile_accumulate(block, s, v, j0, part, ahead);                                                                 \
        [[unroll]] for (uint r = 0; r < ROWS; r++)                                                                     \
            [[unroll]] for (uint i = r * D_PARTS + part; i < r * D_PARTS + part + PARTS; i++)                          \
                o[i] = merge_parts(o[i], block[i], factors[r]);                                                        \
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
    uint stride = (p.heads + 2 * p.kv_heads) * head_size;
    uint k_base = b * p.tokens * stride + (p.heads + h / (p.heads / p.kv_heads)) * head_size;
    tile_matrix q = tile_matrix_at(0, b * p.tokens * stride + h * head_size, stride), k = tile_matrix_at(0, k_base, stride);
    tile_matrix v = tile_matrix_at(0, k_base + p.kv_heads * head_size, stride);
    uint tx = tile_tx();
    float units = block_scale(p.scale), minus_units = -units;

    vec4 o[ROWS * D_PARTS];
    float top[ROWS], sum[ROWS]; /* sum: of this invocation's columns alone, until the end */
    uint first[ROWS];
    [[unroll]] for (uint i = 0; i < ROWS * D_PARTS; i++)
        o[i] = vec4(0.0);
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        top[r] = lowest_top;
        sum[r] = 0.0;
        uint t = min(t0 + tile_row(r), p.tokens - 1);
        first[r] = max(tv_window_start(t), document_start(b, t));
    }
    uint end = min(t0 + TILE_ROWS, p.tokens);
    uint last_first = max(tv_window_start(end - 1), document_start(b, end - 1));
    /* One document after another, in one loop: blocks of keys begin with the first key of the document. */
    uint document = document_start(b, t0), to_row = document_end(b, t0, end);
    uint start = max(document, tv_window_start(t0));
    for (uint j0 = start - (start - document) % TILE_OTHER; j0 < to_row;) {
        vec4 s[ROWS * QUADS], ahead[PARTS];
        tile_scores(s, q, t0, k, j0);
        tile_ahead(ahead, v, j0, 0);
        /* Only blocks at the diagonal or at an edge have keys that some row does not see. */
        bool late = j0 + TILE_OTHER > t0 + 1, early = j0 < last_first;
        if (late || early) {
            if (late)
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    uint last = min(t0 + tile_row(r), to_row - 1) - 4 * tx;
                    [[unroll]] for (uint i = 0; i < 4 * QUADS; i++)
                        if (int(j0 + i / 4 * 32 + i % 4) > int(last)) s[r * QUADS + i / 4][i % 4] = lowest;
                }
            if (early)
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    uint from = first[r] - 4 * tx;
                    [[unroll]] for (uint i = 0; i < 4 * QUADS; i++)
                        if (int(j0 + i / 4 * 32 + i % 4) < int(from)) s[r * QUADS + i / 4][i % 4] = lowest;
                }
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            vec4 most = s[r * QUADS];
            [[unroll]] for (uint q = 1; q < QUADS; q++)
                most = max(most, s[r * QUADS + q]);
            tile_put_partial(r, max(max(most.x, most.y), max(most.z, most.w)));
        }
        barrier();
        vec2 factors[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            vec4 most = max(tile_get_partial(r, 0), tile_get_partial(r, 1));
            float row_most = max(max(most.x, most.y), max(most.z, most.w)), block = block_top(row_most, units), block_sum = 0.0;
            [[unroll]] for (uint q = 0; q < QUADS; q++) {
                vec4 weights = block_weights(s[r * QUADS + q], units, row_most, minus_units);
                if (on_cpu != 0)
                    weights = mask_weights(weights, s[r * QUADS + q]);
                s[r * QUADS + q] = weights;
                block_sum = add_weights(block_sum, weights);
            }
            factors[r] = merge_factors(top[r], block);
            top[r] = max(top[r], block);
            sum[r] = merge_parts(vec4(sum[r]), vec4(block_sum), factors[r]).x;
        }
        TILE_EACH_PART(ADD_BLOCK)
        j0 += TILE_OTHER;
        if (j0 >= to_row && to_row < end) {
            j0 = document_start(b, to_row);
            to_row = document_end(b, to_row, end);
        }
    }
    barrier();
    [[unroll]] for (uint r = 0; r < ROWS; r++)
        tile_put_partial(r, sum[r]);
    barrier();
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        uint t = t0 + tile_row(r);
        vec4 low = tile_get_partial(r, 0), high = tile_get_partial(r, 1);
        float whole = add_sums(float[8](low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w));
        if (t < p.tokens) {
            TILE_STORE(o, r, ((b * p.tokens + t) * p.heads + h) * head_size, 1.0 / whole, y)
            if (tx == 0 && p.has_lse != 0)
                lse[(b * p.heads + h) * p.tokens + t] = (top[r] + log2(whole)) * ln_2;
        }
    }
}
