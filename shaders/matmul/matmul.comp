/* C = scale op(A) op(B) (+ bias), or C += scale op(A) op(B): the form that works everywhere.
 *
 * op(A): (m, k), op(B): (k, n), C: (m, n), bias: (n). -DTV_TRANSPOSE_A=1: A is stored (k, m);
 * -DTV_TRANSPOSE_B=1: B is stored (n, k). -DTV_WEIGHT: the type of B (weights.glsl); other than f32, p.ldb and p.first_b count words. gl_WorkGroupID.z is the product of a batch. C is overwritten, or
 * accumulated where p.accumulate is set. The sum over k runs in order, in fp32.
 *
 * A workgroup of 16 x 16 invocations makes a 64 x 64 tile of C, 4 x 4 neighbours each, from steps of 16 along k
 * that it brings to shared memory (8.5 KiB). Two vectors read there feed 16 multiply-adds; eight scalars would keep
 * shared memory busier than the arithmetic. 2 m n k FLOPs; at least 4 (m k + k n + m n) bytes.
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
layout(std430, binding = 0) readonly buffer A {
    TV_ACT a[];
};
layout(std430, binding = 1) readonly buffer B {
    TV_WEIGHT_WORD b[];
};
#define TV_WEIGHT_FUNCTIONS
#include "weights.glsl"
layout(std430, binding = 2) readonly buffer Bias {
    TV_PARAM bias[];
};
layout(std430, binding = 3) buffer C {
    TV_ACT c[];
};
layout(push_constant) uniform Push {
    tv_matmul_push p;
};

const uint TILE = TV_MATMUL_TILE, STEP = 16, SIDE = 16, EACH = TILE / SIDE, UNROLL = 4;
/* One vector of padding: the columns that a transposing store touches then lie in different banks, but for pairs. */
shared vec4 tile_a[STEP][TILE / EACH + 1];
shared vec4 tile_b[STEP][TILE / EACH + 1];

void main() {
    uint tiles_n = (p.n + TILE - 1) / TILE;
    uint tile = tv_group();
    uint row_0 = tile / tiles_n * TILE, column_0 = tile % tiles_n * TILE;
    if (row_0 >= p.m)
        return;
    uint base_a = p.first_a + gl_WorkGroupID.z * p.stride_a;
    uint base_b = p.first_b + gl_WorkGroupID.z * p.stride_b;
    uint base_c = p.first_c + gl_WorkGroupID.z * p.stride_c;
    uint local = gl_LocalInvocationIndex;
    uint x = local % SIDE, y = local / SIDE;

    vec4 sum[EACH];
    [[unroll]] for (uint i = 0; i < EACH; i++)
        sum[i] = vec4(0.0);

    for (uint k_0 = 0; k_0 < p.k; k_0 += STEP) {
        /* Neighbouring invocations read neighbouring addresses, whichever way the operand is stored. */
        for (uint i = local; i < TILE * STEP; i += SIDE * SIDE) {
#if TV_TRANSPOSE_A
            uint r = i % TILE, s = i / TILE, at = (k_0 + s) * p.lda + row_0 + r;
#else
            uint s = i % STEP, r = i / STEP, at = (row_0 + r) * p.lda + k_0 + s;
#endif
            tile_a[s][r / EACH][r % EACH] = row_0 + r < p.m && k_0 + s < p.k ? float(a[base_a + at]) : 0.0;
        }
        for (uint i = local; i < TILE * STEP; i += SIDE * SIDE) {
#if TV_TRANSPOSE_B
            uint s = i % STEP, r = i / STEP, row = base_b + (column_0 + r) * p.ldb, column = k_0 + s, columns = p.k;
#else
            uint r = i % TILE, s = i / TILE, row = base_b + (k_0 + s) * p.ldb, column = column_0 + r, columns = p.n;
#endif
            tile_b[s][r / EACH][r % EACH] =
                column_0 + r < p.n && k_0 + s < p.k ? tv_weight(row, columns, column) : 0.0;
        }
        barrier();
        /* Unrolled whole, this loop takes seconds to compile on some drivers. */
        [[dont_unroll]] for (uint s_0 = 0; s_0 < STEP; s_0 += UNROLL)
            [[unroll]] for (uint s = s_0; s < s_0 + UNROLL; s++) {
                vec4 left = tile_a[s][y], right = tile_b[s][x];
                [[unroll]] for (uint i = 0; i < EACH; i++)
                    sum[i] = fma(vec4(left[i]), right, sum[i]);
            }
        barrier();
    }

    [[unroll]] for (uint i = 0; i < EACH; i++) {
        uint row = row_0 + EACH * y + i;
        [[unroll]] for (uint j = 0; j < EACH; j++) {
            uint column = column_0 + EACH * x + j;
            if (row >= p.m || column >= p.n)
                continue;
            float before = p.has_bias != 0 ? float(bias[p.first_bias + column]) : 0.0;
            uint at = base_c + row * p.ldc + column;
            if (p.accumulate != 0)
                before = float(c[at]);
            float value = fma(p.scale, sum[i][j], before);
            if (GELU)
                value /= 1.0 + tv_gelu_exp(value);
            c[at] = TV_ACT(value);
        }
    }
}
