/* C = scale A B^T (+ bias), or C += scale A B^T, for few rows: a decoder's step, where every weight is read once for a
 * handful of tokens.
 *
 * A: (m, k); B: (n, k); C: (m, n); bias: (n). gl_WorkGroupID.z is the product of a batch. C is overwritten, or
 * accumulated where p.accumulate is set. B's type as in matmul.comp, and the bits of a value too: slices of 512 along k, each
 * summed in order, are added in order.
 *
 * A workgroup takes ROWS <= 8 rows and 8 columns of C. Its 64 invocations are 8 columns times 8 slices at once, each with the sums of all
 * rows; fewer slices have longer steps, so that a step is always 128 values of each row and column, brought through registers to shared
 * memory (10 KiB) while the one before is computed. No lane adds to another one's sum, so subgroups decide nothing. Workgroups of the
 * same columns are neighbours, so that B is read from memory once.
 *
 * 2 m n k FLOPs; 4 k n bytes of B (or its type's), which is the floor: memory bound; A (4 m k) comes from the caches, once per 8 columns.
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
layout(constant_id = 2) const uint ROWS = 8;
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
layout(std430, binding = 3) buffer C {
    TV_ACT c[];
};
layout(push_constant) uniform Push {
    tv_matmul_push p;
};
#define TV_WEIGHT_FUNCTIONS
#include "weights.glsl"
#include "quads.glsl"

/* MAX_ROWS because arrays are not sized by specialization. */
const uint COLUMNS = TV_MATMUL_FEW_COLUMNS, MAX_ROWS = TV_MATMUL_FEW_ROWS, SLICE = TV_MATMUL_SLICE;
const uint SLICES = TV_LOCAL_SIZE / COLUMNS, QUADS = 32, UNROLL = 4;
const uint FETCHES = COLUMNS * QUADS / TV_LOCAL_SIZE;
/* A vector more: eight columns' vectors then lie in different banks. */
shared vec4 tile_b[COLUMNS][QUADS + 1];
shared vec4 tile_a[MAX_ROWS][QUADS];
shared float slices[SLICES][MAX_ROWS][COLUMNS];

vec4 next_a[FETCHES];
TV_RAW next_b[FETCHES];

/* Of this invocation's number `f` of the vectors of a step: which row of A or column of B, and which value along k that begins at
 * `step_0` in the first of the slices, of 4 << shift values. */
uint line_of(uint f) {
    return (f * TV_LOCAL_SIZE + gl_LocalInvocationIndex) / QUADS;
}
uint k_of(uint step_0, uint shift) {
    uint within = gl_LocalInvocationIndex % QUADS;
    return step_0 + (within >> shift) * SLICE + (within & (1u << shift) - 1) * 4;
}

void load(uint base_a, uint base_b, uint rows, uint columns, uint k) {
    [[unroll]] for (uint f = 0; f < FETCHES; f++) {
        next_b[f] = tv_quad_b(base_b + min(line_of(f), columns - 1) * p.ldb, k, p.k);
        if (f * TV_LOCAL_SIZE < ROWS * QUADS)
            next_a[f] = tv_quad_a(base_a + min(line_of(f), rows - 1) * p.lda, k, p.k);
    }
}

void main() {
    uint blocks = (p.m + ROWS - 1) / ROWS, row_0 = tv_group() % blocks * ROWS, rows = p.m - row_0;
    uint column_0 = tv_group() / blocks * COLUMNS;
    if (column_0 >= p.n)
        return;
    uint columns = p.n - column_0;
    uint base_a = p.first_a + gl_WorkGroupID.z * p.stride_a + row_0 * p.lda;
    uint base_b = p.first_b + gl_WorkGroupID.z * p.stride_b + column_0 * p.ldb;
    uint base_c = p.first_c + gl_WorkGroupID.z * p.stride_c + row_0 * p.ldc + column_0;
    uint local = gl_LocalInvocationIndex, column = local % COLUMNS, across = local / COLUMNS;

    /* Here `across` is a row. */
    bool owns = across < min(ROWS, rows) && column < columns;
    uint at = base_c + across * p.ldc + column;
    float total = 0.0;
    if (owns)
        total = p.accumulate != 0 ? float(c[at]) : p.has_bias != 0 ? float(bias[p.first_bias + column_0 + column]) : 0.0;

    for (uint round_0 = 0; round_0 < p.k; round_0 += SLICES * SLICE) {
        uint running = min((p.k - round_0 + SLICE - 1) / SLICE, SLICES), shift = 5;
        while (QUADS >> shift < running)
            shift--;
        uint step = 4u << shift, end = min(SLICE, p.k - round_0);
        float sum[MAX_ROWS];
        [[unroll]] for (uint i = 0; i < MAX_ROWS; i++)
            sum[i] = 0.0;
        load(base_a, base_b, rows, columns, k_of(round_0, shift));
        for (uint k_0 = 0; k_0 < end; k_0 += step) {
            uint k = k_of(round_0 + k_0, shift), within = local % QUADS;
            [[unroll]] for (uint f = 0; f < FETCHES; f++) {
                tile_b[line_of(f)][within] = tv_quad_within(tv_quad_values(next_b[f], k, p.k), k, p.k);
                if (f * TV_LOCAL_SIZE < ROWS * QUADS)
                    tile_a[line_of(f)][within] = tv_quad_within(next_a[f], k, p.k);
            }
            load(base_a, base_b, rows, columns, k_of(round_0 + k_0 + step, shift));
            barrier();
            /* Here it is a slice. */
            if (across < running)
                [[dont_unroll]] for (uint q = across << shift; q < across + 1 << shift; q += UNROLL)
                    [[unroll]] for (uint u = q; u < q + UNROLL; u++) {
                        vec4 right = tile_b[column][u];
                        [[unroll]] for (uint i = 0; i < MAX_ROWS; i++)
                            if (i < ROWS) {
                                vec4 left = tile_a[i][u];
                                [[unroll]] for (uint e = 0; e < 4; e++)
                                    sum[i] = fma(left[e], right[e], sum[i]);
                            }
                    }
            barrier();
        }
        [[unroll]] for (uint i = 0; i < MAX_ROWS; i++)
            if (i < ROWS)
                slices[across][i][column] = sum[i];
        barrier();
        if (owns)
            for (uint s = 0; s < running; s++)
                total = fma(p.scale, slices[s][across][column], total);
        barrier();
    }
    if (owns) {
        if (GELU)
            total /= 1.0 + tv_gelu_exp(total);
        c[at] = TV_ACT(total);
    }
}
