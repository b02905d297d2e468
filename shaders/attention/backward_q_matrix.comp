/* Causal attention, gradient of the queries, on matrix units (Dao et al. 2022, algorithm 2):
 *   P = exp(scale q k - lse), dP = dO v, delta = rowsum(dO O), dS = P (dP - delta), dQ = scale dS K.
 *
 * The q heads of d_qkv: (B, T, (H + 2 Hkv) D), and delta: (B, H, T), are overwritten. A workgroup holds 64 queries of one head and
 * goes through the keys that they see 32 at a time, or 16 where D is above 64; see backward_matrix.glsl.
 * D up to 128, a multiple of 4. TYPES bit 0: qkv, bit 1: output, bit 2: d_output, bit 3: d_qkv is T.
 * 3 B H T (T + 1) D FLOPs and half of a block more a row; bytes at least those of qkv, output, d_output and dQ.
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
layout(std430, binding = 2) readonly buffer Output {
    uvec4 y[];
};
layout(std430, binding = 2) readonly buffer OutputT {
    uvec2 y_t[];
};
layout(std430, binding = 3) readonly buffer DOutput {
    uvec4 d_y[];
};
layout(std430, binding = 3) readonly buffer DOutputT {
    uvec2 d_y_t[];
};
layout(std430, binding = 4) readonly buffer Lse {
    float lse[];
};
layout(std430, binding = 5) writeonly buffer Delta {
    float delta[];
};
layout(std430, binding = 6) writeonly buffer DQkv {
    vec4 d_qkv[];
};
layout(std430, binding = 6) writeonly buffer DQkvT {
    uvec2 d_qkv_t[];
};
layout(push_constant) uniform Push {
    tv_attention_push p;
};

#define TURNS_Y false
#define IS_T (TYPES & 1)
uvec4 tile_source4(uint which, uint at);
#include "backward_matrix.glsl"

uvec4 tile_source4(uint which, uint at) {
    if (which == 0)
        return is_t(0) ? uvec4(qkv_t[at], 0, 0) : qkv[at];
    if (which == 1)
        return is_t(1) ? uvec4(y_t[at], 0, 0) : y[at];
    return is_t(2) ? uvec4(d_y_t[at], 0, 0) : d_y[at];
}

const bool AHEAD_V = (WIDTH <= 64 ? 1 : WIDTH <= 96 ? IS_T : 0) != 0;
TV_MATRIX_C d_q[ROW_TILES * D_N];

void main() {
    uint query_blocks = (p.tokens + OWN - 1) / OWN;
    uint heads = p.batch * p.heads;
    uint group = tv_group();
    if (group >= heads * query_blocks)
        return;
    /* The longest rows first, so that the last workgroups are short. */
    uint t0 = (query_blocks - 1 - group / heads) * OWN;
    uint h = group % heads % p.heads, b = group % heads / p.heads;
    uint stride = (p.heads + 2 * p.kv_heads) * D, y_stride = p.heads * D;
    uint q_base = b * p.tokens * stride + h * D;
    uint k_base = b * p.tokens * stride + (p.heads + h / (p.heads / p.kv_heads)) * D;
    uint y_base = b * p.tokens * y_stride + h * D;
    tile_matrix q = tile_matrix(0, q_base, stride), k = tile_matrix(0, k_base, stride);
    tile_matrix v = tile_matrix(0, k_base + p.kv_heads * D, stride);
    tile_matrix o = tile_matrix(1, y_base, y_stride), d_o = tile_matrix(2, y_base, y_stride);
    uint stats = (b * p.heads + h) * p.tokens;

    float row_lse[LANE_ROWS], row_delta[LANE_ROWS];
    uint first[LANE_ROWS], rows[LANE_ROWS];
    [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++) {
        rows[i] = min(t0 + gl_SubgroupID * ROWS + strip_row(i), p.tokens - 1);
        row_lse[i] = lse[stats + rows[i]] * log2_e;
        first[i] = max(tv_window_start(rows[i]), p.has_documents != 0 ? doc_start[b * p.tokens + rows[i]] : 0);
        float part = 0.0;
        for (uint d = gl_SubgroupInvocationID / ROWS * 4; d < D; d += ROW_LANES * 4) {
            uvec4 x = tile_fetch(o, 0, rows[i], d), g = tile_fetch(d_o, 0, rows[i], d);
            part += dot(is_t(1) ? tv_unpack4(x.xy) : uintBitsToFloat(x), is_t(2) ? tv_unpack4(g.xy) : uintBitsToFloat(g));
        }
        if (ROW_LANES > 1)
            part += subgroupShuffleXor(part, 16);
        row_delta[i] = part;
        if (gl_SubgroupInvocationID < ROWS && t0 + gl_SubgroupID * ROWS + strip_row(i) < p.tokens)
            delta[stats + rows[i]] = part;
    }
    [[unroll]] for (uint i = 0; i < EACH(ROW_TILES * D_N); i++)
        d_q[i] = TV_MATRIX_C(0.0);
    stage_own(q, t0);
    TAKE_OWN(first_rows)
    stage_own(d_o, t0);
    TAKE_OWN(second_rows)

    uint end = min(t0 + OWN, p.tokens);
    /* Documents' starts do not decrease along a text. */
    uint start = max(tv_window_start(t0), p.has_documents != 0 ? doc_start[b * p.tokens + t0] : 0) / BLOCK * BLOCK;
    uvec4 held_k[HELD_QUADS], held_v[HELD_QUADS];
    if (AHEAD)
        load_block(held_k, k, start);
    if (AHEAD_V)
        load_block(held_v, v, start);
    for (uint j0 = start; j0 < end; j0 += BLOCK) {
        barrier();
        if (!AHEAD)
            load_block(held_k, k, j0);
        if (!AHEAD_V)
            load_block(held_v, v, j0);
        put_block(held_k, 0, true, X_ROWS, true, X_TURNED);
        put_block(held_v, 0, true, Y_ROWS, false, 0);
        barrier();
        if (AHEAD)
            load_block(held_k, k, j0 + BLOCK);
        if (AHEAD_V)
            load_block(held_v, v, j0 + BLOCK);
        vec4 s[LANE_ROWS * STRIP_QUADS];
        STRIP_PRODUCT(first_rows, X_ROWS)
        [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++)
            [[unroll]] for (uint x = 0; x < EACH(STRIP_QUADS); x++) {
                vec4 score = strip_get(i, x);
                [[unroll]] for (uint e = 0; e < EACH(4); e++) {
                    uint j = j0 + strip_quad(x) * 4 + e;
                    s[i * STRIP_QUADS + x][e] =
                        j - first[i] <= rows[i] - first[i] ? exp2(score[e] * (p.scale * log2_e) - row_lse[i]) : 0.0;
                }
            }
        STRIP_PRODUCT(second_rows, Y_ROWS)
        [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++)
            [[unroll]] for (uint x = 0; x < EACH(STRIP_QUADS); x++)
                s[i * STRIP_QUADS + x] *= strip_get(i, x) - row_delta[i];
        subgroupBarrier();
        [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++)
            [[unroll]] for (uint x = 0; x < EACH(STRIP_QUADS); x += 2)
                strip_put(i, x, 0, s[i * STRIP_QUADS + x], s[i * STRIP_QUADS + x + 1]);
        subgroupBarrier();
        ADD_PRODUCT(d_q, 0, X_TURNED)
    }
#define STORE(row, d, values)                                                                                                  \
    {                                                                                                                          \
        uint t = t0 + gl_SubgroupID * ROWS + (row), at = (q_base + t * stride + (d)) / 4;                                      \
        if (t < p.tokens) {                                                                                                    \
            if (is_t(3))                                                                                                       \
                d_qkv_t[at] = tv_pack4((values) * p.scale);                                                                       \
            else                                                                                                               \
                d_qkv[at] = (values) * p.scale;                                                                                \
        }                                                                                                                      \
    }
    STORE_ROWS(d_q, STORE)
}
