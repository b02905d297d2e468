/* Causal attention, forward, in flash form on matrix units (Dao et al. 2022, algorithm 1; 2023 for the work of a subgroup).
 *
 * qkv: (B, T, (H + 2 Hkv) D); output: (B, T, H D) and lse: (B, H, T), overwritten. A workgroup holds 64 queries of one head and goes
 * through the keys in blocks of 64 from the document's first token's block on; each block's maximum, sum and product are made on
 * their own and merged in order, so that decoding has the same bits: matrix_order.glsl. See strips.glsl.
 * D up to 128, a multiple of 4. TYPES bit 0: qkv, bit 1: output.
 * 2 B H T (T + 1) D FLOPs and half of a block more a row; bytes at least those of qkv and output; K and V are read once per block of queries.
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
layout(std430, binding = 2) writeonly buffer Output {
    vec4 y[];
};
layout(std430, binding = 2) writeonly buffer OutputT {
    uvec2 y_t[];
};
layout(std430, binding = 3) writeonly buffer Lse {
    float lse[];
};
layout(push_constant) uniform Push {
    tv_attention_push p;
};

#define STRIP_COLUMNS 32
uvec4 tile_source4(uint which, uint at);
#include "strips.glsl"
#include "text_rows.glsl"
#include "matrix_weights.glsl"
#include "window.glsl"

uvec4 tile_source4(uint which, uint at) {
    return is_t(0) ? uvec4(qkv_t[at], 0, 0) : qkv[at];
}

const uint TILE = 64;
const uint PITCH = 18; /* of a row, in four of T */
const uint K_TILES = TILE / K;
const uint N_TILES = TILE / N;
const uint QUADS = TILE * TILE / 4 / INVOCATIONS; /* that an invocation stages */
shared uvec2 tile[2 * TILE * PITCH];
/* What comes next waits in registers while the matrices of now are multiplied; wide heads in float leave none for it. */
const bool AHEAD = (WIDTH <= TILE ? 1 : TYPES & 1) != 0;

/* Quads of rows `row` on and of the part's 64 channels, held until a tile is free: in the order of tile_put. */
void tile_load(out uvec4 held[QUADS], tile_matrix m, uint row, uint part) {
    [[unroll]] for (uint i = 0; i < EACH(QUADS); i++) {
        uint at = gl_LocalInvocationIndex + INVOCATIONS * i;
        held[i] = tile_fetch(m, row, at / 16, part * TILE + at % 16 * 4);
    }
}

void tile_put(uvec4 held[QUADS], uint source, uint which) {
    [[unroll]] for (uint i = 0; i < EACH(QUADS); i++) {
        uint at = gl_LocalInvocationIndex + INVOCATIONS * i;
        tile[(which * TILE + at / 16) * PITCH + at % 16] = tile_t(source, held[i]);
    }
}

/* The same in blocks of 4 rows and 4 channels. 8 blocks of rows times 4 of channels beside each other: stores meet all banks. */
uvec2 turned_at(uint block) {
    return uvec2(block % 8 + block / 32 % 2 * 8, block / 8 % 4 + block / 64 * 4);
}

void tile_load_turned(out uvec4 held[QUADS], tile_matrix m, uint row, uint part) {
    [[unroll]] for (uint i = 0; i < EACH(QUADS / 4); i++) {
        uvec2 at = turned_at(gl_LocalInvocationIndex + INVOCATIONS * i);
        [[unroll]] for (uint r = 0; r < EACH(4); r++)
            held[4 * i + r] = tile_fetch(m, row, at.x * 4 + r, part * TILE + at.y * 4);
    }
}

void tile_put_turned(uvec4 held[QUADS], uint source, uint which) {
    [[unroll]] for (uint i = 0; i < EACH(QUADS / 4); i++) {
        uvec2 at = turned_at(gl_LocalInvocationIndex + INVOCATIONS * i);
        uvec2 a = tile_t(source, held[4 * i]), b = tile_t(source, held[4 * i + 1]);
        uvec2 c = tile_t(source, held[4 * i + 2]), d = tile_t(source, held[4 * i + 3]);
        uvec2 turned[4];
        turn(a, b, c, d, turned);
        [[unroll]] for (uint e = 0; e < EACH(4); e++)
            tile[(which * TILE + at.y * 4 + e) * PITCH + at.x] = turned[e];
    }
}

/* Of a row, what O and what a block's product are multiplied with. */
shared float factor_o[SUBGROUPS * ROWS], factor_block[SUBGROUPS * ROWS];

TV_MATRIX_A q_rows[ROW_TILES * (WIDTH / K)];
TV_MATRIX_C scores[ROW_TILES * N_TILES];
TV_MATRIX_A weights[ROW_TILES * K_TILES];
TV_MATRIX_C o[ROW_TILES * (WIDTH / N)];

/* Part c of the channels of the 64 queries. */
void take_queries(uint c) {
    [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)
        [[unroll]] for (uint k = 0; k < EACH(K_TILES); k++)
            if (c * TILE + k * K < WIDTH)
                coopMatLoad(q_rows[r * (WIDTH / K) + c * K_TILES + k], tile,
                            (c % 2 * TILE + gl_SubgroupID * ROWS + r * M) * PITCH + k * K / 4, PITCH, gl_CooperativeMatrixLayoutRowMajor);
}

void add_scores(uint c) {
    [[unroll]] for (uint k = 0; k < EACH(K_TILES); k++)
        if (c * TILE + k * K < WIDTH)
            [[unroll]] for (uint n = 0; n < EACH(N_TILES); n++) {
                TV_MATRIX_B keys;
                coopMatLoad(keys, tile, (c % 2 * TILE + n * N) * PITCH + k * K / 4, PITCH, gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)
                    scores[r * N_TILES + n] = coopMatMulAdd(q_rows[r * (WIDTH / K) + c * K_TILES + k], keys, scores[r * N_TILES + n]);
            }
}

/* The widest heads load what a block is multiplied with each time, because registers do not hold it too. */
const bool HOLDS_WEIGHTS = WIDTH <= 96;
void take_weights(uint r, uint k) {
    coopMatLoad(weights[r * K_TILES + k], strip, strip_base() + r * M * STRIP_PITCH + k * K / 8, STRIP_PITCH,
                gl_CooperativeMatrixLayoutRowMajor);
}

#define TAKE_FACTORS                                                                                                           \
    [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++) {                                                                    \
        coopMatLoad(keep[r], factor_o, gl_SubgroupID * ROWS + r * M, 0, gl_CooperativeMatrixLayoutColumnMajor);                \
        coopMatLoad(take[r], factor_block, gl_SubgroupID * ROWS + r * M, 0, gl_CooperativeMatrixLayoutColumnMajor);            \
    }

void add_values(uint c, uint which) {
    TV_MATRIX_C keep[ROW_TILES], take[ROW_TILES];
    if (HOLDS_WEIGHTS)
        TAKE_FACTORS
    [[unroll]] for (uint n = 0; n < EACH(N_TILES); n++)
        if (c * TILE + n * N < WIDTH) {
            TV_MATRIX_C product[ROW_TILES];
            [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)
                product[r] = TV_MATRIX_C(0.0);
            [[unroll]] for (uint k = 0; k < EACH(K_TILES); k++) {
                if (!HOLDS_WEIGHTS)
                    [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)
                        take_weights(r, k);
                TV_MATRIX_B values;
                coopMatLoad(values, tile, (which * TILE + n * N) * PITCH + k * K / 4, PITCH, gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)
                    product[r] = coopMatMulAdd(weights[r * K_TILES + k], values, product[r]);
            }
            if (!HOLDS_WEIGHTS) {
                subgroupBarrier(); /* or else drivers load them once, and hold them */
                TAKE_FACTORS
            }
            [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++) {
                uint at = r * (WIDTH / N) + c * N_TILES + n;
                o[at] = o[at] * keep[r] + product[r] * take[r];
            }
        }
}

const uint PARTS = (WIDTH + TILE - 1) / TILE;

void main() {
    uint query_blocks = (p.tokens + TILE - 1) / TILE;
    uint heads = p.batch * p.heads;
    uint group = tv_group();
    if (group >= heads * query_blocks)
        return;
    /* The longest rows first, so that the last workgroups are short. */
    uint t0 = (query_blocks - 1 - group / heads) * TILE;
    uint h = group % heads % p.heads, b = group % heads / p.heads;
    uint stride = (p.heads + 2 * p.kv_heads) * D;
    uint k_base = b * p.tokens * stride + (p.heads + h / (p.heads / p.kv_heads)) * D;
    tile_matrix q = tile_matrix(0, b * p.tokens * stride + h * D, stride), k = tile_matrix(0, k_base, stride);
    tile_matrix v = tile_matrix(0, k_base + p.kv_heads * D, stride);

    vec2 sums[LANE_ROWS]; /* of each row the maximum, and the sum of this lane's columns */
    uint first[LANE_ROWS], rows[LANE_ROWS];
    [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++) {
        sums[i] = vec2(lowest, 0.0);
        rows[i] = min(t0 + gl_SubgroupID * ROWS + strip_row(i), p.tokens - 1);
        first[i] = max(tv_window_start(rows[i]), p.has_documents != 0 ? doc_start[b * p.tokens + rows[i]] : 0);
    }
    [[unroll]] for (uint i = 0; i < EACH(ROW_TILES * (WIDTH / N)); i++)
        o[i] = TV_MATRIX_C(0.0);
    uvec4 held[QUADS];
    tile_load(held, q, t0, 0);
    tile_put(held, 0, 0);
    if (PARTS > 1) {
        tile_load(held, q, t0, 1);
        tile_put(held, 0, 1);
    }
    uint end = min(t0 + TILE, p.tokens);
    /* Documents' starts do not decrease along a text. */
    uint start = max(tv_window_start(t0), p.has_documents != 0 ? doc_start[b * p.tokens + t0] : 0) / TILE * TILE;
    tile_load(held, k, start, 0);
    barrier();
    take_queries(0);
    if (PARTS > 1)
        take_queries(1);
    barrier();
    tile_put(held, 0, 0);
    barrier();
    /* The last row's first key: from there on, up to the first row, every key is seen. */
    uint last_first = max(tv_window_start(end - 1), p.has_documents != 0 ? doc_start[b * p.tokens + end - 1] : 0);
    float units = score_units(p.scale);
    for (uint j0 = start; j0 < end; j0 += TILE) {
        [[unroll]] for (uint i = 0; i < EACH(ROW_TILES * N_TILES); i++)
            scores[i] = TV_MATRIX_C(0.0);
        if (PARTS > 1) {
            if (AHEAD)
tile_load(held, k, j0, 1);
            add_scores(0);
            if (!AHEAD)
tile_load(held, k, j0, 1);
tile_put(held, 0, 1);
            barrier();
        }
        if (AHEAD)
tile_load_turned(held, v, j0, 0);
        add_scores(PARTS - 1);

        [[unroll]] for (uint side = 0; side < EACH(2); side++) {
            [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)
                [[unroll]] for (uint n = 0; n < EACH(N_TILES / 2); n++)
                    coopMatStore(scores[r * N_TILES + side * (N_TILES / 2) + n], strip, strip_base() + r * M * STRIP_PITCH + n * N / 4,
                                 STRIP_PITCH, gl_CooperativeMatrixLayoutRowMajor);
            subgroupBarrier();
            take_scores(side, strip_base());
            subgroupBarrier();
        }
        if (j0 + TILE > t0 + 1 || j0 < last_first)
            [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++)
                mask_scores(i, j0, first[i], rows[i]);
        [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++) {
            vec2 factors;
            sums[i] = merge_sums(sums[i], weigh(i, units, strip_base()), factors);
            if (gl_SubgroupInvocationID < ROWS) {
                factor_o[gl_SubgroupID * ROWS + strip_row(i)] = factors.x;
                factor_block[gl_SubgroupID * ROWS + strip_row(i)] = factors.y;
            }
        }
        if (!AHEAD)
tile_load_turned(held, v, j0, 0);
tile_put_turned(held, 0, PARTS % 2);
        barrier();
        if (HOLDS_WEIGHTS)
            [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)
                [[unroll]] for (uint x = 0; x < EACH(K_TILES); x++)
                    take_weights(r, x);
        if (PARTS > 1) {
            if (AHEAD)
tile_load_turned(held, v, j0, 1);
            add_values(0, 0);
            if (!AHEAD)
tile_load_turned(held, v, j0, 1);
tile_put_turned(held, 0, 1);
            barrier();
        }
        if (AHEAD)
tile_load(held, k, j0 + TILE, 0);
        add_values(PARTS - 1, 1);
        if (!AHEAD)
tile_load(held, k, j0 + TILE, 0);
tile_put(held, 0, 0);
        barrier();
    }

    [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++) {
        float sum = whole_sum(sums[i].y);
        if (gl_SubgroupInvocationID < ROWS) {
            factor_o[gl_SubgroupID * ROWS + strip_row(i)] = 1.0 / sum;
            if (p.has_lse != 0 && t0 + gl_SubgroupID * ROWS + strip_row(i) < p.tokens)
                lse[(b * p.heads + h) * p.tokens + rows[i]] = (sums[i].x + log2(sum)) * ln_2;
        }
    }
    /* 32 channels at a time. */
    [[unroll]] for (uint d0 = 0; d0 < EACH(WIDTH); d0 += 32) {
        subgroupBarrier();
        [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)
            [[unroll]] for (uint n = 0; n < EACH(32 / N); n++)
                if (d0 + n * N < WIDTH)
                    coopMatStore(o[r * (WIDTH / N) + d0 / N + n], strip, strip_base() + r * M * STRIP_PITCH + n * N / 4, STRIP_PITCH,
                                 gl_CooperativeMatrixLayoutRowMajor);
        subgroupBarrier();
        for (uint i = gl_SubgroupInvocationID; i < ROWS * 8; i += LANES) {
            uint row = i / 8, t = t0 + gl_SubgroupID * ROWS + row, d = d0 + i % 8 * 4;
            if (t < p.tokens && d < D) {
                vec4 value = uintBitsToFloat(strip[strip_base() + row * STRIP_PITCH + i % 8]) * factor_o[gl_SubgroupID * ROWS + row];
                uint at = (((b * p.tokens + t) * p.heads + h) * D + d) / 4;
                if (is_t(1))
                    y_t[at] = tv_pack4(value);
                else
                    y[at] = value;
            }
        }
    }
}
