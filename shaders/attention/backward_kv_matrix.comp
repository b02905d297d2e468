/* Causal attention, gradients of keys and values, on matrix units (Dao et al. 2022, algorithm 2):
 *   P = exp(scale q k - lse), dV = P^T dO, dS = P (dO v - delta), dK = scale dS^T Q.
 *
 * The k and v heads of d_qkv: (B, T, (H + 2 Hkv) D) are overwritten, or those that TYPES names: registers for both are too many
 * where D is above 64. A workgroup holds 64 keys of one key-value head as rows and goes through the query heads of its group, and
 * through the queries that see them 32 at a time, or 16 where D is above 64, in ascending order; see backward_matrix.glsl.
 * D up to 128, a multiple of 4. TYPES bit 0: qkv, bit 1: d_output, bit 2: d_qkv is T; bit 8: makes dV, bit 9: makes dK.
 * 4 B H T (T + 1) D FLOPs (dV alone 2, dK alone 3) and half of a block more a row; bytes at least those of qkv, d_output, dK and dV.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "matrix.glsl"
#include "grid.glsl"
#include "push_constants.h"

layout(std430, binding = 0) readonly buffer Qkv {
    uvec4 qkv[];
};
layout(std430, binding = 0) readonly buffer QkvT {
    uvec2 qkv_t[];
};
layout(std430, binding = 1) readonly buffer DocStart {
    uint doc_start[];
};
layout(std430, binding = 2) readonly buffer DOutput {
    uvec4 d_y[];
};
layout(std430, binding = 2) readonly buffer DOutputT {
    uvec2 d_y_t[];
};
layout(std430, binding = 3) readonly buffer Lse {
    float lse[];
};
layout(std430, binding = 4) readonly buffer Delta {
    float delta[];
};
layout(std430, binding = 5) writeonly buffer DQkv {
    vec4 d_qkv[];
};
layout(std430, binding = 5) writeonly buffer DQkvT {
    uvec2 d_qkv_t[];
};
layout(push_constant) uniform Push {
    tv_attention_push p;
};

#define TURNS_Y true
#define IS_T ((TYPES & 3) / 3)
uvec4 tile_source4(uint which, uint at);
#include "backward_matrix.glsl"

uvec4 tile_source4(uint which, uint at) {
    if (which == 0)
        return is_t(0) ? uvec4(qkv_t[at], 0, 0) : qkv[at];
    return is_t(1) ? uvec4(d_y_t[at], 0, 0) : d_y[at];
}

const bool MAKES_V = (TYPES >> 8 & 1) != 0, MAKES_K = (TYPES >> 9 & 1) != 0;

/* Of the block's queries; past the end no key is seen. */
shared vec4 query_lse[BLOCK / 4], query_delta[BLOCK / 4];
shared uvec4 query_first[BLOCK / 4];

TV_MATRIX_C d_k[ROW_TILES * D_N], d_v[ROW_TILES * D_N];

/* Behind the last query that sees the key at j: documents' starts do not decrease along a text. */
uint queries_end(uint b, uint j) {
    uint end = tv_window_end(j, p.tokens);
    if (p.has_documents != 0) {
        uint low = j + 1;
        while (low < end) {
            uint middle = (low + end) / 2;
            if (doc_start[b * p.tokens + middle] > j)
                end = middle;
            else
                low = middle + 1;
        }
    }
    return end;
}

void main() {
    uint key_blocks = (p.tokens + OWN - 1) / OWN;
    uint kv_heads = p.batch * p.kv_heads;
    uint group = tv_group();
    if (group >= kv_heads * key_blocks)
        return;
    /* The first keys are seen by the most queries: the longest work first, so that the last workgroups are short. */
    uint j0 = group / kv_heads * OWN;
    uint kv_head = group % kv_heads % p.kv_heads, b = group % kv_heads / p.kv_heads;
    uint stride = (p.heads + 2 * p.kv_heads) * D, y_stride = p.heads * D;
    uint batch_base = b * p.tokens * stride;
    uint k_base = batch_base + (p.heads + kv_head) * D, v_base = k_base + p.kv_heads * D;

    [[unroll]] for (uint i = 0; i < EACH(ROW_TILES * D_N); i++) {
        d_k[i] = TV_MATRIX_C(0.0);
        d_v[i] = TV_MATRIX_C(0.0);
    }
    stage_own(tile_matrix(0, k_base, stride), j0);
    TAKE_OWN(first_rows)
    if (MAKES_K) {
        stage_own(tile_matrix(0, v_base, stride), j0);
        TAKE_OWN(second_rows)
    }
    uint group_heads = p.heads / p.kv_heads, end = queries_end(b, min(j0 + OWN, p.tokens) - 1);
    uint blocks = (end - j0 + BLOCK - 1) / BLOCK;
    uvec4 held_q[HELD_QUADS], held_o[HELD_QUADS];
    uint h = kv_head * group_heads, t0 = j0;
    if (AHEAD) {
        load_block(held_q, tile_matrix(0, batch_base + h * D, stride), t0);
        load_block(held_o, tile_matrix(1, b * p.tokens * y_stride + h * D, y_stride), t0);
    }
    for (uint step = 0; step < group_heads * blocks; step++) {
        barrier();
        if (!AHEAD) {
            load_block(held_q, tile_matrix(0, batch_base + h * D, stride), t0);
            load_block(held_o, tile_matrix(1, b * p.tokens * y_stride + h * D, y_stride), t0);
        }
        put_block(held_q, 0, true, X_ROWS, MAKES_K, X_TURNED);
        put_block(held_o, 1, MAKES_K, Y_ROWS, MAKES_V, Y_TURNED);
        for (uint i = gl_LocalInvocationIndex; i < BLOCK; i += INVOCATIONS) {
            uint t = t0 + i, near = min(t, p.tokens - 1), stats = (b * p.heads + h) * p.tokens;
            query_lse[i / 4][i % 4] = lse[stats + near] * log2_e;
            query_delta[i / 4][i % 4] = delta[stats + near];
            query_first[i / 4][i % 4] =
                t < p.tokens ? max(tv_window_start(t), p.has_documents != 0 ? doc_start[b * p.tokens + t] : 0) : ~0u;
        }
        barrier();
        uint block_t0 = t0;
        t0 += BLOCK;
        if (t0 >= end) {
            t0 = j0;
            h = min(h + 1, p.heads - 1);
        }
        if (AHEAD) {
            load_block(held_q, tile_matrix(0, batch_base + h * D, stride), t0);
            load_block(held_o, tile_matrix(1, b * p.tokens * y_stride + h * D, y_stride), t0);
        }
        vec4 s[LANE_ROWS * STRIP_QUADS], d_s[LANE_ROWS * STRIP_QUADS];
        STRIP_PRODUCT(first_rows, X_ROWS)
        [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++)
            [[unroll]] for (uint x = 0; x < EACH(STRIP_QUADS); x++) {
                vec4 score = strip_get(i, x), row_lse = query_lse[strip_quad(x)];
                uvec4 first = query_first[strip_quad(x)];
                uint j = j0 + gl_SubgroupID * ROWS + strip_row(i);
                [[unroll]] for (uint e = 0; e < EACH(4); e++) {
                    bool seen = j >= first[e] && j <= block_t0 + strip_quad(x) * 4 + e;
                    s[i * STRIP_QUADS + x][e] = seen ? exp2(score[e] * (p.scale * log2_e) - row_lse[e]) : 0.0;
                }
            }
        if (MAKES_K) {
            STRIP_PRODUCT(second_rows, Y_ROWS)
            [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++)
                [[unroll]] for (uint x = 0; x < EACH(STRIP_QUADS); x++)
                    d_s[i * STRIP_QUADS + x] = s[i * STRIP_QUADS + x] * (strip_get(i, x) - query_delta[strip_quad(x)]);
        }
        subgroupBarrier();
        [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++)
            [[unroll]] for (uint x = 0; x < EACH(STRIP_QUADS); x += 2) {
                if (MAKES_K)
                    strip_put(i, x, 0, d_s[i * STRIP_QUADS + x], d_s[i * STRIP_QUADS + x + 1]);
                if (MAKES_V)
                    strip_put(i, x, 1, s[i * STRIP_QUADS + x], s[i * STRIP_QUADS + x + 1]);
            }
        subgroupBarrier();
        if (MAKES_K)
            ADD_PRODUCT(d_k, 0, X_TURNED)
        if (MAKES_V)
            ADD_PRODUCT(d_v, 1, Y_TURNED)
    }
#define STORE_AT(base, row, d, values)                                                                                         \
    {                                                                                                                          \
        uint j = j0 + gl_SubgroupID * ROWS + (row), at = ((base) + j * stride + (d)) / 4;                                      \
        if (j < p.tokens) {                                                                                                    \
            if (is_t(2))                                                                                                       \
                d_qkv_t[at] = tv_pack4(values);                                                                                   \
            else                                                                                                               \
                d_qkv[at] = values;                                                                                            \
        }                                                                                                                      \
    }
#define STORE_K(row, d, values) STORE_AT(k_base, row, d, (values) * p.scale)
#define STORE_V(row, d, values) STORE_AT(v_base, row, d, values)
    if (MAKES_K)
        STORE_ROWS(d_k, STORE_K)
    if (MAKES_V)
        STORE_ROWS(d_v, STORE_V)
}
