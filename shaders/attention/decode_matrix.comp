/* Attention of one decoding step on matrix units (tiers cm-f16, cm-bf16): the new k and v go into the cache at positions(row), and the
 * query attends to [0, positions(row)], of it the window's keys.
 *
 * qkv: (rows, (H + 2 Hkv) D); caches: (rows, Hkv, max_tokens, D) of T, one position written; output: (rows, H D), overwritten.
 * With slots (rows), row r attends to row slots(r) of the caches, where cache_write.comp has put the new k and v before; a row whose slot
 * is not bound is left out. With prefixes, whose positions stand where several rows read them: decode_cache.glsl. TYPES bit 0: qkv is T, bit 1: output.
 * A workgroup serves one key-value head and its query heads, 16 at once, as the rows of matrices: its subgroups share a block's columns,
 * then the channels of its values, and one of them makes the weights. matrix_order.glsl's order, so a row has the bits of
 * forward_matrix.comp. The step's own k and v are read from qkv, so no workgroup reads what another one writes. D up to
 * WIDEST, 64 or 128, a multiple of 4.
 * TV_SPLIT: a workgroup takes part_blocks blocks alone and leaves each one's product, sums and maximum in `parts`, as decode_parts.glsl
 * has them, for decode_merge.comp.
 * 4 D FLOPs per key and query head; bytes at least the filled part of the caches, once per key-value head.
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
layout(std430, binding = 1) readonly buffer Positions {
    uint positions[];
};
layout(std430, binding = 2) buffer KCache {
    uvec2 k_cache[];
};
layout(std430, binding = 3) buffer VCache {
    uvec2 v_cache[];
};
layout(std430, binding = 4) readonly buffer Slots {
    uint slots[];
};
#if TV_SPLIT
layout(std430, binding = 5) writeonly buffer Parts {
    vec4 parts[];
};
#else
layout(std430, binding = 5) writeonly buffer Output {
    vec4 y[];
};
layout(std430, binding = 5) writeonly buffer OutputT {
    uvec2 y_t[];
};
#endif
layout(push_constant) uniform Push {
    tv_attention_decode_push p;
};

#define STRIP_COLUMNS 32
#define STRIPS (WIDEST / STRIP_COLUMNS)
#define WEIGHTS weights
#include "strips.glsl"
shared uvec4 weights[ROWS * STRIP_PITCH];
#include "decode_cache.glsl"
#include "decode_parts.glsl"
#include "matrix_weights.glsl"
#include "window.glsl"

/* Query heads of a key-value head, 16 at most. */
layout(constant_id = 7) const uint HEADS = 1;
#if TV_SPLIT
/* Blocks of keys that a workgroup takes. */
layout(constant_id = 8) const uint part_blocks = 1;
#endif

const uint TILE = 64;
const uint KEY_PITCH = WIDEST / 4 + 2, VALUE_PITCH = 18; /* of a row of WIDEST channels, and of 64 keys, in four of T */
const uint K_TILES = TILE / K;
const uint HEAD_TILES = (HEADS + M - 1) / M;
const uint COLUMN_TILES = TILE / N / SUBGROUPS;                     /* of a subgroup's columns */
const uint CHANNEL_TILES = (WIDTH / N + SUBGROUPS - 1) / SUBGROUPS; /* of its channels, at most */
const uint STRIP_TILES = STRIP_COLUMNS / N;
const uint STAGED = (D + 31) / 32 * 32;                 /* channels that are staged, so that all invocations have as many */
const uint QUADS = TILE * STAGED / 4 / INVOCATIONS;     /* of an invocation */
/* The keys of a block, then its values, turned. */
shared uvec2 tile[WIDEST * VALUE_PITCH];
shared float factor_o[ROWS], factor_block[ROWS];

uint position, new_base[2]; /* of the row; in elements */
tv_cache cache;

uvec2 new_quad(uint at) {
    return tile_t(0, is_t(0) ? uvec4(qkv_t[at / 4], 0, 0) : qkv[at / 4]);
}

/* Four channels of a key or value, or of the last one; 0 from channel D on. The step's own goes into the cache, by whoever finds it in
 * its place. */
uvec2 cached(uint which, uint key, uint channel) {
    uint seen = min(key, position), within = min(channel, D - 4), at = (tv_cache_at(cache, seen, D) + within) / 4;
    uvec2 quad = uvec2(0);
    if (seen == position && p.has_slots == 0) {
        quad = new_quad(new_base[which] + within);
        if (key == position && channel < D) {
            if (which == 0)
                k_cache[at] = quad;
            else
                v_cache[at] = quad;
        }
    } else {
        quad = which == 0 ? k_cache[at] : v_cache[at];
    }
    return channel < D ? quad : uvec2(0);
}

uvec2 held[QUADS];

void load_keys(uint j0) {
    [[unroll]] for (uint i = 0; i < EACH(QUADS); i++) {
        uint at = gl_LocalInvocationIndex + INVOCATIONS * i;
        held[i] = cached(0, j0 + at / (STAGED / 4), at % (STAGED / 4) * 4);
    }
}

void put_keys() {
    [[unroll]] for (uint i = 0; i < EACH(QUADS); i++) {
        uint at = gl_LocalInvocationIndex + INVOCATIONS * i;
        tile[at / (STAGED / 4) * KEY_PITCH + at % (STAGED / 4)] = held[i];
    }
}

/* In blocks of 4 keys and 4 channels: the block, and which 16 of them are beside each other, as forward_matrix.comp has them. */
uvec2 turned_at(uint block) {
    return uvec2(block % 8 + block / 32 % 2 * 8, block / 8 % 4 + block / 64 * 4);
}

void load_values(uint j0) {
    [[unroll]] for (uint i = 0; i < EACH(QUADS / 4); i++) {
        uvec2 at = turned_at(gl_LocalInvocationIndex + INVOCATIONS * i);
        [[unroll]] for (uint r = 0; r < EACH(4); r++)
            held[4 * i + r] = cached(1, j0 + at.x * 4 + r, at.y * 4);
    }
}

void put_values() {
    [[unroll]] for (uint i = 0; i < EACH(QUADS / 4); i++) {
        uvec2 at = turned_at(gl_LocalInvocationIndex + INVOCATIONS * i);
        uvec2 turned[4];
        turn(held[4 * i], held[4 * i + 1], held[4 * i + 2], held[4 * i + 3], turned);
        [[unroll]] for (uint e = 0; e < EACH(4); e++)
            tile[(at.y * 4 + e) * VALUE_PITCH + at.x] = turned[e];
    }
}

TV_MATRIX_A q_rows[HEAD_TILES * (WIDTH / K)];
#if !TV_SPLIT
TV_MATRIX_C o[HEAD_TILES * CHANNEL_TILES];
#endif

/* Query heads from `first` on, the last one again where there are fewer than rows. */
void take_queries(uint row_base, uint first, uint count) {
    for (uint at = gl_LocalInvocationIndex; at < ROWS * (WIDTH / 4); at += INVOCATIONS) {
        uint head = first + min(at / (WIDTH / 4), count - 1), channel = at % (WIDTH / 4) * 4;
        uvec2 quad = new_quad(row_base + head * D + min(channel, D - 4));
        tile[at / (WIDTH / 4) * KEY_PITCH + at % (WIDTH / 4)] = channel < D ? quad : uvec2(0);
    }
    barrier();
    [[unroll]] for (uint r = 0; r < EACH(HEAD_TILES); r++)
        [[unroll]] for (uint k = 0; k < EACH(WIDTH / K); k++)
            coopMatLoad(q_rows[r * (WIDTH / K) + k], tile, r * M * KEY_PITCH + k * K / 4, KEY_PITCH, gl_CooperativeMatrixLayoutRowMajor);
    barrier();
}

/* Where tile n of columns or channels lies in the strips, for rows from r M on. */
uint strip_of(uint n, uint r) {
    return (n / STRIP_TILES * ROWS + r * M) * STRIP_PITCH + n % STRIP_TILES * N / 4;
}

/* This subgroup's columns of the products, to strips 0 and 1. */
void make_scores() {
    [[unroll]] for (uint c = 0; c < EACH(COLUMN_TILES); c++) {
        uint n = gl_SubgroupID * COLUMN_TILES + c;
        TV_MATRIX_C scores[HEAD_TILES];
        [[unroll]] for (uint r = 0; r < EACH(HEAD_TILES); r++)
            scores[r] = TV_MATRIX_C(0.0);
        [[unroll]] for (uint k = 0; k < EACH(WIDTH / K); k++) {
            TV_MATRIX_B keys;
            coopMatLoad(keys, tile, n * N * KEY_PITCH + k * K / 4, KEY_PITCH, gl_CooperativeMatrixLayoutColumnMajor);
            [[unroll]] for (uint r = 0; r < EACH(HEAD_TILES); r++)
                scores[r] = coopMatMulAdd(q_rows[r * (WIDTH / K) + k], keys, scores[r]);
        }
        [[unroll]] for (uint r = 0; r < EACH(HEAD_TILES); r++)
            coopMatStore(scores[r], strip, strip_of(n, r), STRIP_PITCH, gl_CooperativeMatrixLayoutRowMajor);
    }
}

/* This subgroup's channels of the block's product. */
void add_values() {
    TV_MATRIX_A of_keys[HEAD_TILES * K_TILES];
    [[unroll]] for (uint r = 0; r < EACH(HEAD_TILES); r++)
        [[unroll]] for (uint k = 0; k < EACH(K_TILES); k++)
            coopMatLoad(of_keys[r * K_TILES + k], weights, r * M * STRIP_PITCH + k * K / 8, STRIP_PITCH, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint c = 0; c < EACH(CHANNEL_TILES); c++) {
        uint n = c * SUBGROUPS + gl_SubgroupID;
        if (n < WIDTH / N) {
            TV_MATRIX_C product[HEAD_TILES];
            [[unroll]] for (uint r = 0; r < EACH(HEAD_TILES); r++)
                product[r] = TV_MATRIX_C(0.0);
            [[unroll]] for (uint k = 0; k < EACH(K_TILES); k++) {
                TV_MATRIX_B values;
                coopMatLoad(values, tile, n * N * VALUE_PITCH + k * K / 4, VALUE_PITCH, gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (uint r = 0; r < EACH(HEAD_TILES); r++)
                    product[r] = coopMatMulAdd(of_keys[r * K_TILES + k], values, product[r]);
            }
            [[unroll]] for (uint r = 0; r < EACH(HEAD_TILES); r++) {
#if TV_SPLIT
                coopMatStore(product[r], strip, strip_of(n, r), STRIP_PITCH, gl_CooperativeMatrixLayoutRowMajor);
#else
                TV_MATRIX_C keep, take;
                coopMatLoad(keep, factor_o, r * M, 0, gl_CooperativeMatrixLayoutColumnMajor);
                coopMatLoad(take, factor_block, r * M, 0, gl_CooperativeMatrixLayoutColumnMajor);
                o[r * CHANNEL_TILES + c] = o[r * CHANNEL_TILES + c] * keep + product[r] * take;
#endif
            }
        }
    }
}

/* Four channels of a row of the result or of a block's product. */
vec4 strip_value(uint row, uint channel) {
    return uintBitsToFloat(strip[(channel / STRIP_COLUMNS * ROWS + row) * STRIP_PITCH + channel % STRIP_COLUMNS / 4]);
}

void main() {
    uint group = tv_group();
#if TV_SPLIT
    uint segments = tv_decode_segments(p.max_tokens, part_blocks);
    uint segment = group % segments;
    group /= segments;
#endif
    if (group >= p.rows * p.kv_heads)
        return;
    uint row = group / p.kv_heads, kv_head = group % p.kv_heads;
    uint slot = tv_cache_slot(row);
    if (slot >= p.slots)
        return;
    position = min(positions[p.first_row + row], p.max_tokens - 1);
    uint group_heads = p.heads / p.kv_heads;
    uint row_base = row * (p.heads + 2 * p.kv_heads) * D;
    new_base[0] = row_base + (p.heads + kv_head) * D;
    new_base[1] = new_base[0] + p.kv_heads * D;
    cache = tv_cache_of(row, slot, kv_head, D);
    uint start = tv_window_start(position), from = start - start % TILE, end = position + 1;
    float units = score_units(p.scale);
#if TV_SPLIT
    from = max(from, segment * part_blocks * TILE);
    end = min(end, (segment + 1) * part_blocks * TILE);
    if (from >= end)
        return;
    uint size = tv_decode_part(D / 4), all = (p.max_tokens + TILE - 1) / TILE;
#endif

    for (uint h0 = 0; h0 < group_heads; h0 += ROWS) {
        uint first_head = kv_head * group_heads + h0, heads = min(ROWS, group_heads - h0);
        take_queries(row_base, first_head, heads);
#if !TV_SPLIT
        vec2 sums[LANE_ROWS]; /* of each row the maximum, and the sum of this lane's columns */
        [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++)
            sums[i] = vec2(lowest, 0.0);
        [[unroll]] for (uint i = 0; i < EACH(HEAD_TILES * CHANNEL_TILES); i++)
            o[i] = TV_MATRIX_C(0.0);
#endif
        load_keys(from);
        for (uint j0 = from; j0 < end; j0 += TILE) {
            put_keys();
            load_values(j0);
            barrier();
            make_scores();
            barrier();
            if (gl_SubgroupID == 0) {
                take_scores(0, 0);
                take_scores(1, ROWS * STRIP_PITCH);
                [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++) {
                    if (j0 < start || j0 + TILE > end)
                        mask_scores(i, j0, start, position);
                    vec2 block = weigh(i, units, 0);
#if TV_SPLIT
                    /* Of a lane for each half of the columns, or of one for both. */
                    uint at = ((row * p.heads + first_head + strip_row(i)) * all + j0 / TILE) * size + D / 4;
                    if (strip_row(i) < heads)
                        parts[at + gl_SubgroupInvocationID / ROWS] = vec4(block, 0.0, 0.0);
#else
                    vec2 factors;
                    sums[i] = merge_sums(sums[i], block, factors);
                    if (gl_SubgroupInvocationID < ROWS) {
                        factor_o[strip_row(i)] = factors.x;
                        factor_block[strip_row(i)] = factors.y;
                    }
#endif
                }
            }
            put_values();
            if (j0 + TILE < end)
                load_keys(j0 + TILE);
            barrier();
            add_values();
            barrier();
#if TV_SPLIT
            for (uint at = gl_LocalInvocationIndex; at < heads * (D / 4); at += INVOCATIONS) {
                uint head = first_head + at / (D / 4);
                parts[((row * p.heads + head) * all + j0 / TILE) * size + at % (D / 4)] = strip_value(at / (D / 4), at % (D / 4) * 4);
            }
#endif
        }
#if !TV_SPLIT
        [[unroll]] for (uint i = 0; i < EACH(LANE_ROWS); i++) {
            float sum = whole_sum(sums[i].y);
            if (gl_SubgroupID == 0 && gl_SubgroupInvocationID < ROWS)
                factor_o[strip_row(i)] = 1.0 / sum;
        }
        [[unroll]] for (uint c = 0; c < EACH(CHANNEL_TILES); c++) {
            uint n = c * SUBGROUPS + gl_SubgroupID;
            if (n < WIDTH / N)
                [[unroll]] for (uint r = 0; r < EACH(HEAD_TILES); r++)
                    coopMatStore(o[r * CHANNEL_TILES + c], strip, strip_of(n, r), STRIP_PITCH, gl_CooperativeMatrixLayoutRowMajor);
        }
        barrier();
        for (uint at = gl_LocalInvocationIndex; at < heads * (D / 4); at += INVOCATIONS) {
            uint head = at / (D / 4), to = (row * p.heads + first_head) * (D / 4) + at;
            vec4 value = strip_value(head, at % (D / 4) * 4) * factor_o[head];
            if (is_t(1))
                y_t[to] = tv_pack4(value);
            else
                y[to] = value;
        }
        barrier();
#endif
    }
}
