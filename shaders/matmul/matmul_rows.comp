/* C = scale A B^T (+ bias), or C += scale A B^T, for few rows: a decoder's step, where every weight is read once for a
 * handful of tokens.
 *
 * A: (m, k); B: (n, k); C: (m, n); bias: (n). gl_WorkGroupID.z is the product of a batch. C is overwritten, or
 * accumulated where p.accumulate is set. A workgroup takes ROWS <= 8 rows and 8 columns of C, one subgroup a column
 * at a time; its lanes share the sum over k, in the same order whatever ROWS is. Workgroups of the same columns
 * are neighbours, so that B is read from memory once. Memory bound: 4 k n bytes of B for 2 m n k FLOPs; A comes
 * from the caches.
 * B's type as in matmul.comp: a lane takes whole words, so that fewer bytes are fewer loads.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_basic : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "sizes.h"
#include "types.glsl"
#include "weights.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 8;
layout(constant_id = 2) const bool GELU = false;
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

/* Words in flight per lane; MAX_ROWS because arrays are not sized by specialization. */
const uint EACH = TV_WEIGHT_EACH, UNROLL = EACH > 2 ? 2 : 4, COLUMNS = TV_MATMUL_FEW_COLUMNS, MAX_ROWS = TV_MATMUL_FEW_ROWS;

void main() {
    uint blocks = (p.m + ROWS - 1) / ROWS, row_0 = tv_group() % blocks * ROWS, rows = p.m - row_0;
    uint base_a = p.first_a + gl_WorkGroupID.z * p.stride_a + row_0 * p.lda;
    uint base_b = p.first_b + gl_WorkGroupID.z * p.stride_b;
    uint base_c = p.first_c + gl_WorkGroupID.z * p.stride_c + row_0 * p.ldc;
    /* Counted and not taken from gl_SubgroupSize, which is the largest on devices that choose among sizes (Intel: 32 for 8 or 16). */
    uint lanes = subgroupAdd(1), lane = subgroupExclusiveAdd(1);
    uint first = tv_group() / blocks * COLUMNS, end = min(first + COLUMNS, p.n);
    for (uint column = first + gl_SubgroupID; column < end; column += gl_NumSubgroups) {
        float sum[MAX_ROWS];
        [[unroll]] for (uint i = 0; i < MAX_ROWS; i++)
            sum[i] = 0.0;
        uint row_b = base_b + column * p.ldb, words = tv_weight_words(p.k);
        for (uint first_word = lane; first_word < words; first_word += UNROLL * lanes) {
            float weight[UNROLL * EACH];
            uint at[UNROLL * EACH];
            [[unroll]] for (uint u = 0; u < UNROLL; u++) {
                uint word = min(first_word + u * lanes, words - 1);
                TV_WEIGHT_WORD bits = b[row_b + word];
                float scale = tv_weight_scale(row_b, p.k, tv_weight_column(word, 0));
                [[unroll]] for (uint e = 0; e < EACH; e++) {
                    uint k = tv_weight_column(word, e);
                    at[u * EACH + e] = min(k, p.k - 1);
                    bool counts = first_word + u * lanes < words && k < p.k;
                    weight[u * EACH + e] = counts ? scale * tv_weight_of_word(bits, e) : 0.0;
                }
            }
            [[unroll]] for (uint i = 0; i < MAX_ROWS; i++)
                if (i < ROWS)
                    [[unroll]] for (uint u = 0; u < UNROLL * EACH; u++)
                        sum[i] = fma(float(a[base_a + min(i, rows - 1) * p.lda + at[u]]), weight[u], sum[i]);
        }
        float offset = p.has_bias != 0 ? float(bias[p.first_bias + column]) : 0.0;
        [[unroll]] for (uint i = 0; i < MAX_ROWS; i++) {
            if (i >= ROWS)
                break;
            float total = subgroupAdd(sum[i]);
            if (i < rows && subgroupElect()) {
                uint to = base_c + i * p.ldc + column;
                total = fma(p.scale, total, p.accumulate != 0 ? float(c[to]) : offset);
                if (GELU)
                    total /= 1.0 + tv_gelu_exp(total);
                c[to] = TV_ACT(total);
            }
        }
    }
}
