/* C = scale op(A) op(B) (+ bias), or C += scale op(A) op(B), as matmul_cpu.comp, for operands that can be read as texels of four values: a texel
 * costs about what one value does, and loads are what decides there.
 *
 * Forms and defines as in matmul.comp. First elements, strides and the sides along which values are stored are multiples of 4. The
 * sums and their order are those of matmul_cpu.comp, bit for bit. 2 m n k FLOPs.
 *
 * A workgroup is one subgroup and makes 16 x 32 values of C on 8 lanes, 32 x 32 on 16 (A^T B 32 x 64): more sums than registers, but those that are spilled cost
 * less than the loads of a smaller tile. One operand lies across the lanes, and each value of the other one is broadcast from a
 * constant lane and component, so that each texel of a step is loaded by one lane only:
 *   stored along k (A, B^T)   a texel is four steps of one row; a lane has rows that lie LANES apart
 *   k by k (A^T, B)           a texel is four rows of one step; a lane has these
 * A B is computed as its transpose, B^T A^T: then one that is stored along k lies across the lanes, where both are not k by k. A B^T too on 16
 * lanes, so that a lane has neighbours of C: four in one store cost half of four stores. Where C is not in fours, one by one.
 * Below, "rows" are the rows of C (columns of A B) that the broadcast operand makes, "columns" those across the lanes.
 * -DTV_ROWS=n, for A B^T: n rows instead of these, where C has no more.
 * -DTV_NORM, for A B^T into a packed C of fours: the workgroup that finishes the last part of some rows then adds `residual` to them, in C, and norms
 * them into `normed` (norm_row.glsl), so that few rows need no dispatch for it. `arrived` counts the workgroups that have finished, for each group of rows: zeros before
 * and after.
 * Beyond the last k, the broadcast operand counts as 0; beyond the last row and column the last ones are read again.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_basic : require
#ifdef TV_NORM
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "sizes.h"
#include "types.glsl"

layout(local_size_x = TV_LOCAL_SIZE) in;
/* Constants, because both sides of a branch are run where these kernels are. */
layout(constant_id = 0) const bool GELU = false;
layout(constant_id = 1) const bool ACCUMULATE = false;
layout(constant_id = 2) const bool FOURS = false; /* rows of C begin at multiples of 4 and are as long */
layout(binding = 0) uniform samplerBuffer a;
layout(binding = 1) uniform samplerBuffer b;
layout(std430, binding = 2) readonly buffer Bias {
    TV_PARAM bias[];
};
#ifdef TV_NORM
#define SHARED coherent /* by workgroups */
#else
#define SHARED
#endif
layout(std430, binding = 3) SHARED buffer C {
    TV_ACT c[];
};
layout(std430, binding = 3) SHARED buffer C4 {
    TV_ACT4 c4[];
};
layout(push_constant) uniform Push {
    tv_matmul_push p;
};

#ifdef TV_NORM
layout(constant_id = 3) const uint NORM_EACH = 1;
layout(constant_id = 4) const bool NORM_RESIDUAL = false;
layout(constant_id = 5) const bool NORM_SHIFT = false;
layout(constant_id = 6) const bool NORM_RMS = false;
layout(binding = 4) uniform samplerBuffer residual;
layout(binding = 5) uniform samplerBuffer gain;
layout(binding = 6) uniform samplerBuffer shift;
layout(std430, binding = 7) writeonly buffer Normed {
    TV_ACT4 normed[];
};
layout(std430, binding = 8) coherent buffer Arrived {
    uint arrived[];
};
#define NORM_INPUT(at)  c4[p.first_c / 4 + (at)]
#define NORM_SUM(at)    c4[p.first_c / 4 + (at)]
#define NORM_OUTPUT(at) normed[at]
#include "norm_row.glsl"

/* This workgroup has made one of `parts` parts of the rows of C in `group`, which are `count` from `first` on. */
void norm_when_last(uint group, uint parts, uint first, uint count) {
    memoryBarrierBuffer();
    uint before = 0;
    if (subgroupElect())
        before = atomicAdd(arrived[group], 1);
    if (subgroupBroadcastFirst(before) + 1 < parts)
        return;
    memoryBarrierBuffer();
    if (subgroupElect())
        arrived[group] = 0;
    for (uint row = first; row < first + count; row++)
        tv_norm_row(row, p.n, p.norm_eps, p.norm_gain_offset);
}
#endif

#ifdef TV_ROWS
#define TURNED 0
#else
#define TURNED (!TV_TRANSPOSE_A && (!TV_TRANSPOSE_B || TV_CPU_LANES == TV_CPU_LANES_WIDE))
#endif
#if TURNED
#define BROADCAST b
#define ACROSS a
#define OF_C(row, column) ((column)*p.ldc + (row))
#else
#define BROADCAST a
#define ACROSS b
#define OF_C(row, column) ((row)*p.ldc + (column))
#endif

/* Stored along k? */
#define BROADCAST_ALONG (!TV_TRANSPOSE_A && TV_TRANSPOSE_B)
#define ACROSS_ALONG (!TV_TRANSPOSE_A || TV_TRANSPOSE_B)

const uint LANES = TV_CPU_LANES;
#ifndef TV_ROWS
#define TV_ROWS TV_MATMUL_TEXEL_ROWS(LANES)
#endif
const uint ROWS = TV_ROWS;
#if ACROSS_ALONG
const uint STEP = 8, EACH = TV_MATMUL_TEXEL_EACH(LANES, 0);
#else
const uint STEP = 4, EACH = TV_MATMUL_TEXEL_EACH(LANES, 1); /* a texel for each; more would spill */
#endif
const uint COLUMNS = EACH * LANES;
#if BROADCAST_ALONG
const uint QUADS = STEP / 4; /* texels of a row */
#else
const uint QUADS = ROWS / 4; /* of a step */
#endif
const uint FETCHES = (ROWS * STEP / 4 + LANES - 1) / LANES;

/* Value of `row` at step s: where its texel is, and which lane has it. */
#if BROADCAST_ALONG
#define TEXEL(row, s) ((row)*QUADS + (s) / 4)
#define VALUE(row, s) subgroupBroadcast(given[TEXEL(row, s) / LANES][(s) % 4], TEXEL(row, s) % LANES)
#else
#define TEXEL(row, s) ((s)*QUADS + (row) / 4)
#define VALUE(row, s) subgroupBroadcast(given[TEXEL(row, s) / LANES][(row) % 4], TEXEL(row, s) % LANES)
#endif
#if ACROSS_ALONG
#define OWN(j, s) own[j][(s) / 4][(s) % 4]
#else
#define OWN(j, s) own[s][j]
#endif

/* Values of C from `at` on. */
void store_four(uint at, vec4 sums) {
    vec4 value = ACCUMULATE ? fma(vec4(p.scale), sums, c4[at / 4]) : p.scale * sums;
    c4[at / 4] = GELU ? value / (1.0 + tv_gelu_exp(value)) : value;
}

void main() {
    uint lane = gl_SubgroupInvocationID;
#if TURNED
    uint rows = p.n, columns = p.m, row_ld = p.ldb, column_ld = p.lda;
    uint row_base = p.first_b + gl_WorkGroupID.z * p.stride_b, column_base = p.first_a + gl_WorkGroupID.z * p.stride_a;
#else
    uint rows = p.m, columns = p.n, row_ld = p.lda, column_ld = p.ldb;
    uint row_base = p.first_a + gl_WorkGroupID.z * p.stride_a, column_base = p.first_b + gl_WorkGroupID.z * p.stride_b;
#endif
    uint base_c = p.first_c + gl_WorkGroupID.z * p.stride_c;
    uint tiles = (columns + COLUMNS - 1) / COLUMNS, tile = tv_group();
    uint row_0 = tile / tiles * ROWS, column_0 = tile % tiles * COLUMNS;
    if (row_0 >= rows)
        return;
    uint column[EACH];
    [[unroll]] for (uint j = 0; j < EACH; j++)
#if ACROSS_ALONG
        column[j] = column_0 + LANES * j + lane;
#else
        column[j] = column_0 + EACH * lane + j;
#endif

    float sum[ROWS][EACH];
#if TURNED
    float biases[ROWS / LANES];
    [[unroll]] for (uint f = 0; f < ROWS / LANES; f++)
        biases[f] = p.has_bias != 0 ? float(bias[p.first_bias + min(row_0 + f * LANES + lane, rows - 1)]) : 0.0;
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        float of_row = subgroupBroadcast(biases[i / LANES], i % LANES);
        [[unroll]] for (uint j = 0; j < EACH; j++)
            sum[i][j] = of_row;
    }
#else
    [[unroll]] for (uint j = 0; j < EACH; j++) {
        float of_column = p.has_bias != 0 ? float(bias[p.first_bias + min(column[j], columns - 1)]) : 0.0;
        [[unroll]] for (uint i = 0; i < ROWS; i++)
            sum[i][j] = of_column;
    }
#endif

    uint last = p.k - 1;
    for (uint k_0 = 0; k_0 < p.k; k_0 += STEP) {
        vec4 given[FETCHES];
        [[unroll]] for (uint f = 0; f < FETCHES; f++) {
            uint t = f * LANES + lane;
#if BROADCAST_ALONG
            uint k = k_0 + t % QUADS * 4, at = min(row_0 + t / QUADS, rows - 1) * row_ld + min(k, p.k - 4);
#else
            uint k = k_0 + t / QUADS, at = min(k, last) * row_ld + min(row_0 + t % QUADS * 4, rows - 4);
#endif
            vec4 texel = texelFetch(BROADCAST, int((row_base + at) / 4));
            given[f] = k <= last ? texel : vec4(0.0);
        }
#if ACROSS_ALONG
        vec4 own[EACH][STEP / 4];
        [[unroll]] for (uint s = 0; s < STEP / 4; s++)
            [[unroll]] for (uint j = 0; j < EACH; j++) {
                uint at = min(column[j], columns - 1) * column_ld + min(k_0 + 4 * s, p.k - 4);
                own[j][s] = texelFetch(ACROSS, int((column_base + at) / 4));
            }
#else
        vec4 own[STEP];
        [[unroll]] for (uint s = 0; s < STEP; s++) {
            uint at = min(k_0 + s, last) * column_ld + min(column[0], columns - 4);
            own[s] = texelFetch(ACROSS, int((column_base + at) / 4));
        }
#endif
        [[unroll]] for (uint i = 0; i < ROWS; i++)
            [[unroll]] for (uint s = 0; s < STEP; s++) {
                float value = VALUE(i, s);
                [[unroll]] for (uint j = 0; j < EACH; j++)
                    sum[i][j] = fma(value, OWN(j, s), sum[i][j]);
            }
    }

#if TURNED
    if (FOURS) {
        [[unroll]] for (uint j = 0; j < EACH; j++)
            if (column[j] < columns) {
                [[unroll]] for (uint i = 0; i < ROWS; i += 4)
                    if (row_0 + i < rows)
                        store_four(base_c + OF_C(row_0 + i, column[j]), vec4(sum[i][j], sum[i + 1][j], sum[i + 2][j], sum[i + 3][j]));
            }
#ifdef TV_NORM
        norm_when_last(tile % tiles, (rows + ROWS - 1) / ROWS, column_0, min(COLUMNS, columns - column_0));
#endif
        return;
    }
#elif !ACROSS_ALONG
    if (FOURS) {
        if (column[0] < columns) {
            [[unroll]] for (uint i = 0; i < ROWS; i++)
                if (row_0 + i < rows)
                    store_four(base_c + OF_C(row_0 + i, column[0]), vec4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]));
        }
        return;
    }
#endif
    [[unroll]] for (uint j = 0; j < EACH; j++)
        if (column[j] < columns) {
            [[unroll]] for (uint i = 0; i < ROWS; i++)
                if (row_0 + i < rows) {
                    uint at = base_c + OF_C(row_0 + i, column[j]);
                    float value = ACCUMULATE ? fma(p.scale, sum[i][j], float(c[at])) : p.scale * sum[i][j];
                    c[at] = TV_ACT(GELU ? value / (1.0 + tv_gelu_exp(value)) : value);
                }
        }
#ifdef TV_NORM
    norm_when_last(tile / tiles, tiles, row_0, min(ROWS, rows - row_0));
#endif
}
