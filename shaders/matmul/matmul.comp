/* C = scale op(A) op(B) (+ bias), or C += scale op(A) op(B): the form of GPUs.
 *
 * op(A): (m, k), op(B): (k, n), C: (m, n), bias: (n). -DTV_TRANSPOSE_A=1: A is stored (k, m);
 * -DTV_TRANSPOSE_B=1: B is stored (n, k). -DTV_WEIGHT: the type of B (weights.glsl); other than f32, p.ldb and p.first_b count words.
 * gl_WorkGroupID.z is the product of a batch. C is overwritten, or accumulated where p.accumulate is set.
 *
 * The order of a sum is that of matmul_rows.comp, whatever the tile: k is cut into slices of 512; a slice's products are added to 0 in order,
 * and C = fma(scale, slice, C) from the bias, 0 or what C held on, one slice after another. C itself is where the total waits for
 * the next slice: a second set of sums would cost the large tile half of its subgroups.
 *
 * -DTV_TILE=64 or 128: a workgroup of 2 TILE invocations makes a TILE x TILE tile of C, 8 x TILE / 16 values each, two vectors of
 * rows and one or two of columns, half a tile apart so that neighbours read neighbouring vectors of shared memory. Steps of 8
 * along k go from memory to registers while the one before is computed, and from there to the other one of two buffers (8.5 or 16 KiB): a
 * barrier a step. Loads are clamped, so that no branch stands around them; what they take from beyond k counts as 0.
 *
 * 2 m n k FLOPs; m n k (1 / TILE + 1 / TILE) floats are read, from caches where tiles share them, at least 4 (m k + k n + m n) bytes; C is read and
 * written once more for each slice after the first. Floor: the larger of FLOPs by the arithmetic's rate and bytes by the memory's;
 * at a tile of 128 one byte is read for 16 multiply-adds. In shared memory, a step of k reads 4 vectors for 64 of them (TILE 64: 3 for 32).
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "sizes.h"
#include "types.glsl"
#include "weights.glsl"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(constant_id = 0) const bool GELU = false;
layout(constant_id = 1) const bool ALIGNED = false;
layout(std430, binding = 0) readonly buffer A {
    TV_ACT a[];
};
layout(std430, binding = 0) readonly buffer A4 {
    TV_ACT4 a4[];
};
layout(std430, binding = 1) readonly buffer B {
    TV_WEIGHT_WORD b[];
};
#if TV_WEIGHT == TV_WEIGHT_F32
layout(std430, binding = 1) readonly buffer B4 {
    TV_PARAM4 b4[];
};
#endif
layout(std430, binding = 2) readonly buffer Bias {
    TV_PARAM bias[];
};
/* One of the two is used: values where ALIGNED is not set. */
layout(std430, binding = 3) buffer C {
    TV_ACT c[];
};
layout(std430, binding = 3) buffer C4 {
    TV_ACT4 c4[];
};
layout(push_constant) uniform Push {
    tv_matmul_push p;
};
#define TV_WEIGHT_FUNCTIONS
#include "weights.glsl"
#include "quads.glsl"

const uint TILE = TV_TILE, STEP = 8, SLICE = TV_MATMUL_SLICE, UNROLL = 4;
const uint SIDE = 16, ACROSS = TILE / 8;       /* invocations along columns and rows */
const uint HIGH = 2, WIDE = TILE / 64;         /* vectors of an invocation's rows and columns */
const uint PAD = TILE == 64 ? 1 : 0;           /* against conflicts of transposing stores, where there is room */
const uint QUADS = TILE / 4, ALONG = STEP / 4; /* vectors of a step across the tile; of a row along k */
shared vec4 tile_a[2][STEP][QUADS + PAD];
shared vec4 tile_b[2][STEP][QUADS + PAD];

vec4 sum[4 * HIGH][WIDE];

uint parity = 0; /* of the two buffers */
/* Masks show a compiler how far an index reaches, so that constants become offsets of the instruction. */
#define HALF (parity & 1)

void multiply(uint x, uint y) {
    /* Unrolled whole, this loop takes seconds to compile on some drivers. */
    [[dont_unroll]] for (uint s_0 = 0; s_0 < STEP; s_0 += UNROLL)
        [[unroll]] for (uint u = 0; u < UNROLL; u++) {
            vec4 left[HIGH], right[WIDE];
            [[unroll]] for (uint h = 0; h < HIGH; h++)
                left[h] = tile_a[HALF][(s_0 & (STEP - UNROLL)) + u][y + ACROSS * h];
            [[unroll]] for (uint w = 0; w < WIDE; w++)
                right[w] = tile_b[HALF][(s_0 & (STEP - UNROLL)) + u][x + SIDE * w];
            [[unroll]] for (uint i = 0; i < 4 * HIGH; i++)
                [[unroll]] for (uint w = 0; w < WIDE; w++)
                    sum[i][w] = fma(vec4(left[i / 4][i % 4]), right[w], sum[i][w]);
        }
}

/* C = fma(scale, the slice's sum, C), which is the bias or 0 before the first slice. */
void add_slice(uint base_c, uint row_0, uint column_0, bool first, bool last) {
    bool from_c = !first || p.accumulate != 0;
    [[unroll]] for (uint w = 0; w < WIDE; w++) {
        uint column = column_0 + 4 * SIDE * w;
        vec4 offset = vec4(0.0);
        if (p.has_bias != 0)
            for (uint j = 0; j < 4; j++)
                offset[j] = float(bias[p.first_bias + min(column + j, p.n - 1)]);
        [[unroll]] for (uint i = 0; i < 4 * HIGH; i++) {
            uint row = row_0 + 4 * ACROSS * (i / 4) + i % 4, at = base_c + row * p.ldc + column;
            if (row >= p.m || column >= p.n)
                continue;
            vec4 before = offset;
            if (from_c) {
                if (ALIGNED)
                    before = vec4(c4[at / 4]);
                else
                    for (uint j = 0; j < 4; j++)
                        if (column + j < p.n)
                            before[j] = float(c[at + j]);
            }
            vec4 value = fma(vec4(p.scale), sum[i][w], before);
            if (GELU && last)
                for (uint j = 0; j < 4; j++)
                    value[j] /= 1.0 + tv_gelu_exp(value[j]);
            if (ALIGNED)
                c4[at / 4] = TV_ACT4(value);
            else
                for (uint j = 0; j < 4; j++)
                    if (column + j < p.n)
                        c[at + j] = TV_ACT(value[j]);
        }
    }
}

void main() {
    uint tiles_n = (p.n + TILE - 1) / TILE;
    uint tile = tv_group();
    uint row_0 = tile / tiles_n * TILE, column_0 = tile % tiles_n * TILE;
    if (row_0 >= p.m)
        return;
    uint base_a = p.first_a + gl_WorkGroupID.z * p.stride_a;
    uint base_b = p.first_b + gl_WorkGroupID.z * p.stride_b;
    uint base_c = p.first_c + gl_WorkGroupID.z * p.stride_c;
    uint local = gl_LocalInvocationIndex, x = local % SIDE, y = local / SIDE;

    /* The vector of each operand that this invocation brings: neighbours read neighbouring addresses, whichever way it is stored.
     * Stored along k: four values of one row; k by k: four rows of one value. Where all is in fours a vector has a number that grows
     * by a step's stride, up to the last one, so that nearly all vector arithmetic of the loop is multiply-adds. */
    uint last = max(p.k, 1) - 1;
#if TV_TRANSPOSE_A
    uint quad_a = local % QUADS, k_a = local / QUADS, column_a = row_0 + 4 * quad_a;
    uint at_a = (base_a + min(k_a, last) * p.lda + min(column_a, p.m - 4)) / 4, stride_a = STEP * p.lda / 4,
         last_a = (base_a + last * p.lda + min(column_a, p.m - 4)) / 4;
#define LOAD_A(k_0) (ALIGNED ? a4[at_a] : tv_quad_a(base_a + min((k_0) + k_a, last) * p.lda, column_a, p.m))
#else
    uint row_a = local / ALONG, k_a = local % ALONG * 4, start_a = base_a + min(row_0 + row_a, p.m - 1) * p.lda;
    uint last_a = (start_a + p.k - 4) / 4, at_a = min((start_a + k_a) / 4, last_a), stride_a = STEP / 4;
#define LOAD_A(k_0) (ALIGNED ? a4[at_a] : tv_quad_a(start_a, (k_0) + k_a, p.k))
#endif
#if TV_TRANSPOSE_B
    uint row_b = local / ALONG, k_b = local % ALONG * 4, start_b = base_b + min(column_0 + row_b, p.n - 1) * p.ldb;
    uint last_b = (start_b + p.k - 4) / 4, at_b = min((start_b + k_b) / 4, last_b), stride_b = STEP / 4;
#define STORED_B(k_0) tv_quad_b(start_b, (k_0) + k_b, p.k)
#else
    uint quad_b = local % QUADS, k_b = local / QUADS, column_b = column_0 + 4 * quad_b;
    uint at_b = (base_b + min(k_b, last) * p.ldb + min(column_b, p.n - 4)) / 4, stride_b = STEP * p.ldb / 4,
         last_b = (base_b + last * p.ldb + min(column_b, p.n - 4)) / 4;
#define STORED_B(k_0) tv_quad_b(base_b + min((k_0) + k_b, last) * p.ldb, column_b, p.n)
#endif
#if TV_WEIGHT == TV_WEIGHT_F32
#define LOAD_B(k_0) (ALIGNED ? b4[at_b] : STORED_B(k_0))
#else
#define LOAD_B(k_0) STORED_B(k_0)
#endif

    vec4 next_a;
    TV_RAW next_b;
    uint k_0 = 0;
    if (p.k > 0) {
        next_a = LOAD_A(0);
        next_b = LOAD_B(0);
    }
    do {
        [[unroll]] for (uint i = 0; i < 4 * HIGH; i++)
            [[unroll]] for (uint w = 0; w < WIDE; w++)
                sum[i][w] = vec4(0.0);
        uint slice = k_0, end = min(k_0 + SLICE, p.k);
        [[dont_unroll]] for (; k_0 < end; k_0 += STEP) {
            vec4 values_a = next_a;
            TV_RAW raw_b = next_b;
#if TV_TRANSPOSE_A
            tile_a[HALF][k_a][quad_a] = k_a < p.k - k_0 ? values_a : vec4(0.0);
#else
            values_a = tv_quad_within(values_a, k_a, p.k - k_0);
            [[unroll]] for (uint e = 0; e < 4; e++)
                tile_a[HALF][k_a + e][row_a / 4][row_a % 4] = values_a[e];
#endif
#if TV_TRANSPOSE_B
            vec4 values_b = tv_quad_values(raw_b, k_0 + k_b, p.k);
            if (!ALIGNED)
                values_b = tv_quad_within(values_b, k_0 + k_b, p.k);
            [[unroll]] for (uint e = 0; e < 4; e++)
                tile_b[HALF][k_b + e][row_b / 4][row_b % 4] = values_b[e];
#else
            tile_b[HALF][k_b][quad_b] = tv_quad_values(raw_b, column_b, p.n);
#endif
            at_a = min(at_a + stride_a, last_a);
            at_b = min(at_b + stride_b, last_b);
            next_a = LOAD_A(k_0 + STEP);
            next_b = LOAD_B(k_0 + STEP);
            barrier();
            multiply(x, y);
            parity = 1 - parity;
        }
        add_slice(base_c, row_0 + 4 * y, column_0 + 4 * x, slice == 0, k_0 >= p.k);
    } while (k_0 < p.k);
}
