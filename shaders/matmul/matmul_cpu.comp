/* C = scale op(A) op(B) (+ bias), or C += scale op(A) op(B), for processors that run a shader as vectors of 8 or
 * 16 lanes (llvmpipe).
 *
 * Operands, types, forms and defines as in matmul.comp; any sizes, strides and starts. 2 m n k FLOPs.
 *
 * A workgroup is one subgroup and makes 16 rows of two values per lane of C: 32 vectors
 * nearly fit the registers, larger tiles spill and smaller ones load more. No barrier and no shared memory,
 * which are dear there. A load costs about as much as forty multiply-adds, whether its lanes differ or not, so
 * each value of a step of 8 along k is loaded by one lane only and A is broadcast from a constant lane. A row
 * is finished for the whole step before the next begins: its sums stay in registers while B is only read.
 * -DTV_ROWS=n, without TV_TRANSPOSE_A: n rows instead of 16, where C has no more; a value of C is summed the same
 * way in all of them, so the bits are the same.
 * Beyond the last k, A counts as 0; beyond the last row and column the last one is read again.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_basic : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "sizes.h"
#include "types.glsl"
#include "weights.glsl"

layout(local_size_x = TV_LOCAL_SIZE) in;
/* Constants, because both sides of a branch are run where these kernels are. */
layout(constant_id = 0) const bool GELU = false;
layout(constant_id = 1) const bool ACCUMULATE = false;
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

#ifndef TV_ROWS
#define TV_ROWS TV_MATMUL_CPU_ROWS
#endif
const uint LANES = TV_CPU_LANES, STEP = 8, ROWS = TV_ROWS, EACH = TV_MATMUL_CPU_EACH, COLUMNS = EACH * LANES;

void main() {
    uint lane = gl_SubgroupInvocationID;
    uint tiles_n = (p.n + COLUMNS - 1) / COLUMNS;
    uint tile = tv_group();
    uint row_0 = tile / tiles_n * ROWS, column_0 = tile % tiles_n * COLUMNS + lane;
    if (row_0 >= p.m)
        return;
    uint base_a = p.first_a + gl_WorkGroupID.z * p.stride_a;
    uint base_b = p.first_b + gl_WorkGroupID.z * p.stride_b;
    uint base_c = p.first_c + gl_WorkGroupID.z * p.stride_c;

    uint row[ROWS], column[EACH];
    [[unroll]] for (uint i = 0; i < ROWS; i++)
        row[i] = min(row_0 + i, p.m - 1);
    [[unroll]] for (uint j = 0; j < EACH; j++)
        column[j] = min(column_0 + LANES * j, p.n - 1);
#if TV_TRANSPOSE_A
    uint start_a[ROWS / LANES];
    [[unroll]] for (uint i = 0; i < ROWS / LANES; i++)
        start_a[i] = base_a + min(row_0 + LANES * i + lane, p.m - 1);
#endif

    float sum[ROWS][EACH];
    [[unroll]] for (uint j = 0; j < EACH; j++) {
        float first = p.has_bias != 0 ? float(bias[p.first_bias + column[j]]) : 0.0;
        [[unroll]] for (uint i = 0; i < ROWS; i++)
            sum[i][j] = first;
    }

    for (uint k_0 = 0; k_0 < p.k; k_0 += STEP) {
        uint last = p.k - 1;
#if TV_TRANSPOSE_A
        float left[STEP][ROWS / LANES];
        [[unroll]] for (uint s = 0; s < STEP; s++)
            [[unroll]] for (uint i = 0; i < ROWS / LANES; i++) {
                float value = float(a[start_a[i] + min(k_0 + s, last) * p.lda]);
                left[s][i] = k_0 + s <= last ? value : 0.0;
            }
#define LEFT(row, s) subgroupBroadcast(left[s][(row) / LANES], (row) % LANES)
#else
        float left[ROWS];
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            uint k = k_0 + lane % STEP;
            float value = float(a[base_a + row[i] * p.lda + min(k, last)]);
            left[i] = k <= last ? value : 0.0;
        }
#define LEFT(row, s) subgroupBroadcast(left[row], s)
#endif

        float right[STEP][EACH];
#if TV_TRANSPOSE_B
        [[unroll]] for (uint j = 0; j < EACH; j++) {
            float along[8];
            tv_weight_eight(base_b + column[j] * p.ldb, p.k, k_0, along);
            [[unroll]] for (uint s = 0; s < STEP; s++)
                right[s][j] = along[s];
        }
#else
        [[unroll]] for (uint s = 0; s < STEP; s++) {
            uint row_b = base_b + min(k_0 + s, last) * p.ldb;
            /* The columns of a tile lie in one block. */
            float scale = tv_weight_scale(row_b, p.n, column[0]);
            [[unroll]] for (uint j = 0; j < EACH; j++)
                right[s][j] = scale * tv_weight_of_word(b[row_b + tv_weight_word_of(column[j])], tv_weight_place(column[j]));
        }
#endif

        [[unroll]] for (uint i = 0; i < ROWS; i++)
            [[unroll]] for (uint s = 0; s < STEP; s++) {
                float value = LEFT(i, s);
                [[unroll]] for (uint j = 0; j < EACH; j++)
                    sum[i][j] = fma(value, right[s][j], sum[i][j]);
            }
    }

    /* All reads before the first store: beyond the last row the same sum is stored to the last row again. */
    if (ACCUMULATE) {
        [[unroll]] for (uint j = 0; j < EACH; j++)
            [[unroll]] for (uint i = 0; i < ROWS; i++)
                sum[i][j] = fma(p.scale, sum[i][j], float(c[base_c + row[i] * p.ldc + column[j]]));
    } else {
        [[unroll]] for (uint j = 0; j < EACH; j++)
            [[unroll]] for (uint i = 0; i < ROWS; i++)
                sum[i][j] *= p.scale;
    }
    if (GELU) {
        [[unroll]] for (uint j = 0; j < EACH; j++)
            [[unroll]] for (uint i = 0; i < ROWS; i++)
                sum[i][j] /= 1.0 + tv_gelu_exp(sum[i][j]);
    }
    [[unroll]] for (uint j = 0; j < EACH; j++)
        if (column_0 + LANES * j < p.n) {
            [[unroll]] for (uint i = 0; i < ROWS; i++)
                c[base_c + row[i] * p.ldc + column[j]] = TV_ACT(sum[i][j]);
        }
}
