/* C = scale A B^T (+ bias), or C += scale A B^T, on matrix units for few rows or columns: a decoder's step, where every weight is read once
 * for a handful of tokens.
 *
 * A: (m, k); B: (n, k); C: (m, n); bias: (n); types as operands.glsl has them. gl_WorkGroupID.z is the product of a batch. C is overwritten, or
 * accumulated (f32 only) where p.accumulate is set. A value's bits are those of matmul_cm.comp: slices of 512 along k, each a chain of
 * matrix instructions from 0, padded to the tiles' steps, are added in order, and C = fma(scale, total, bias, C or 0).
 *
 * A workgroup takes 16 rows and 16 columns of C, for which its 128 invocations bring 256 values of k of each at a time through registers to
 * shared memory (17 KiB) while those before are multiplied. They are of several slices, as many as there are subgroups for
 * (4 with matrices of 16 x 16 and 32 lanes), so that the next subgroup makes the next slice; their sums meet in shared memory (4 KiB).
 * Of rows beyond m nothing is read. Workgroups of the same columns are neighbours, so that B is read from memory once.
 *
 * 2 m n k FLOPs; n k elements of B, which is the floor: memory bound; A (m k) comes from the caches, once per 16 columns.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_16bit_storage : require
#include "grid.glsl"
#include "operands.glsl"

layout(local_size_x = TV_LOCAL_SIZE) in;
const uint SIDE = TV_MATMUL_CM_SIDE, STEP = TV_MATMUL_CM_STEP, SLICE = TV_MATMUL_SLICE, PIECE = 256;
const uint STRIDE = PIECE / 4 + 2; /* of a row in shared memory, in uvec2: neighbours begin 4 banks on */
const uint ALONG = PIECE / 8, EIGHTS = SIDE * ALONG / TV_LOCAL_SIZE; /* of a row; of an invocation */
const uint SUBGROUPS = TV_LOCAL_SIZE / TV_MATRIX_LANES;
const uint WIDE = SIDE / TV_MATRIX_N, PLACES = SIDE / TV_MATRIX_M * WIDE; /* matrices of C */
const uint AT_ONCE = SUBGROUPS > PLACES ? SUBGROUPS / PLACES : 1;         /* slices */
const uint EACH = AT_ONCE * PLACES > SUBGROUPS ? AT_ONCE * PLACES / SUBGROUPS : 1;
shared uvec2 tile_a[SIDE * STRIDE];
shared uvec2 tile_b[SIDE * STRIDE];
shared float parts[AT_ONCE * SIDE * SIDE];

eight next_a[EIGHTS], next_b[EIGHTS];

#define PLACE(i) (gl_LocalInvocationIndex + (i) * TV_LOCAL_SIZE)

/* A step has 1 << shift values of each slice; k_0 is the first one's in the first slice. */
uint k_of(uint i, uint k_0, uint shift) {
    uint within = PLACE(i) % ALONG * 8;
    return k_0 + (within >> shift) * SLICE + (within & (1u << shift) - 1);
}

void load(uint base_a, uint base_b, uint rows, uint columns, uint k_0, uint shift) {
    [[unroll]] for (uint i = 0; i < EIGHTS; i++) {
        uint k = k_of(i, k_0, shift), line = PLACE(i) / ALONG;
        next_b[i] = eight_of_b(base_b + min(line, columns - 1) * p.ldb, k, p.k);
        if (line < rows)
            next_a[i] = eight_of_a(base_a + line * p.lda, k, p.k);
    }
}

void stage(uint rows, uint k_0, uint shift) {
    [[unroll]] for (uint i = 0; i < EIGHTS; i++) {
        uint k = k_of(i, k_0, shift), line = PLACE(i) / ALONG, at = line * STRIDE + PLACE(i) % ALONG * 2;
        uvec4 words = packed_b(next_b[i], k, p.k);
        tile_b[at] = words.xy;
        tile_b[at + 1] = words.zw;
        words = line < rows ? packed_a(next_a[i], k, p.k) : uvec4(0);
        tile_a[at] = words.xy;
        tile_a[at + 1] = words.zw;
    }
}

void main() {
    uint blocks = (p.m + SIDE - 1) / SIDE, row_0 = tv_group() % blocks * SIDE, rows = p.m - row_0;
    uint column_0 = tv_group() / blocks * SIDE;
    if (column_0 >= p.n)
        return;
    uint columns = p.n - column_0;
    uint base_a = p.first_a + gl_WorkGroupID.z * p.stride_a + row_0 * p.lda;
    uint base_b = p.first_b + gl_WorkGroupID.z * p.stride_b + column_0 * p.ldb;
    uint base_c = p.first_c + gl_WorkGroupID.z * p.stride_c;
    uint row = gl_LocalInvocationIndex / (SIDE / 4), column = gl_LocalInvocationIndex % (SIDE / 4) * 4;
    vec4 total = vec4(0.0);

    for (uint round_0 = 0; round_0 < p.k; round_0 += AT_ONCE * SLICE) {
        uint running = min((p.k - round_0 + SLICE - 1) / SLICE, AT_ONCE), shift = 8;
        while (PIECE >> shift < running)
            shift--;
        uint step = 1u << shift, end = min(SLICE, p.k - round_0);
        TV_MATRIX_C sum[EACH];
        [[unroll]] for (uint i = 0; i < EACH; i++)
            sum[i] = TV_MATRIX_C(0.0);
        load(base_a, base_b, rows, columns, round_0, shift);
        [[dont_unroll]] for (uint k_0 = 0; k_0 < end; k_0 += step) {
            barrier();
            stage(rows, round_0 + k_0, shift);
            load(base_a, base_b, rows, columns, round_0 + k_0 + step, shift);
            barrier();
            [[unroll]] for (uint i = 0; i < EACH; i++) {
                uint own = gl_SubgroupID * EACH + i, slice = own / PLACES, place = own % PLACES;
                uint top = place / WIDE * TV_MATRIX_M, first = round_0 + slice * SLICE + k_0;
                if (slice >= running || top >= rows || first >= p.k)
                    continue;
                /* As far as the tiles of matmul_cm.comp go: whole steps of theirs. */
                uint most = min(step, (p.k - first + STEP - 1) / STEP * STEP);
                uint at_a = top * STRIDE + (slice << shift) / 4, at_b = place % WIDE * TV_MATRIX_N * STRIDE + (slice << shift) / 4;
                [[dont_unroll]] for (uint k = 0; k < most; k += STEP)
                    [[unroll]] for (uint e = 0; e < STEP; e += TV_MATRIX_K) {
                        TV_MATRIX_A left;
                        TV_MATRIX_B right;
                        coopMatLoad(left, tile_a, at_a + (k + e) / 4, STRIDE, gl_CooperativeMatrixLayoutRowMajor);
                        coopMatLoad(right, tile_b, at_b + (k + e) / 4, STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
                        sum[i] = coopMatMulAdd(left, right, sum[i]);
                    }
            }
        }
        [[unroll]] for (uint i = 0; i < EACH; i++) {
            uint own = gl_SubgroupID * EACH + i, place = own % PLACES;
            if (own < AT_ONCE * PLACES)
                coopMatStore(sum[i], parts,
                             own / PLACES * SIDE * SIDE + place / WIDE * TV_MATRIX_M * SIDE + place % WIDE * TV_MATRIX_N, SIDE,
                             gl_CooperativeMatrixLayoutRowMajor);
        }
        barrier();
        if (row < SIDE)
            for (uint s = 0; s < running; s++) {
                uint at = s * SIDE * SIDE + row * SIDE + column;
                total += vec4(parts[at], parts[at + 1], parts[at + 2], parts[at + 3]);
            }
    }
    if (row < SIDE)
        put(base_c, row_0 + row, column_0 + column, total);
}
