/* C = scale op(A) op(B) (+ bias), or C += scale op(A) op(B): on matrix units, with operands T (matrix.glsl) and fp32 sums.
 *
 * op(A): (m, k), op(B): (k, n), C: (m, n), bias: (n). -DTV_TRANSPOSE_A=1: A is stored (k, m); -DTV_TRANSPOSE_B=1: B is stored (n, k). TYPES says
 * how each lies in memory, as values of tv_dtype: A f32 or T; B f32, f16, bf16, q8_0 or q4_0; C f32 or T. Whatever is not T is rounded to T
 * on its way to shared memory, once. p.lda and its kin, p.first_a and its kin count elements of the type, words for q8_0 and q4_0.
 * gl_WorkGroupID.z is the product of a batch. C is overwritten, or accumulated (f32 only) where p.accumulate is set.
 *
 * The order of a sum, whatever the tile: k is cut into slices of 512; within one, matrix instructions add steps of TV_MATRIX_K to 0 in order (inside
 * an instruction the order is the driver's); slices are added in order to the total, and C = fma(scale, total, bias, C or 0).
 *
 * -DTV_TILE=64 or 128: a workgroup of 2 TILE invocations makes a TILE x TILE tile of C, each of its subgroups a part of it: at 32 lanes 32 x 32
 * or 64 x 32. Steps of 32 along k go from memory to registers while the one before is computed, then to shared memory, k beside k for
 * both operands, so that a lane's share of a matrix is one stretch. Rows there are 80 bytes apart: neighbours begin 20 banks on. Loads are
 * clamped, and what they take from beyond k counts as 0. The total goes to C through the place where A
 * lay, for which invocations know their place.
 *
 * 2 m n k FLOPs; m n k (1 / TILE + 1 / TILE) elements are read, from caches where tiles share them. Floor: the larger of FLOPs by the matrix
 * units' rate and bytes by the memory's. TILE 128 reads 12 vectors of 16 bytes from shared memory for 8 matrix products, TILE 64 8 for 4.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_16bit_storage : require
#include "grid.glsl"
#include "operands.glsl"

layout(local_size_x = TV_LOCAL_SIZE) in;
const uint TILE = TV_TILE, STEP = TV_MATMUL_CM_STEP, SLICE = TV_MATMUL_SLICE;
const uint STRIDE = STEP / 4 + 2;                                          /* of a row in shared memory, in uvec2 */
const uint EIGHTS = TILE * STEP / 8 / TV_LOCAL_SIZE, ALONG = STEP / 8;     /* of an invocation; of a row */
const uint SUBGROUPS = TV_LOCAL_SIZE / TV_MATRIX_LANES;
const uint DOWN = SUBGROUPS >= 16 ? 4 : SUBGROUPS >= 2 ? 2 : 1, ACROSS = SUBGROUPS / DOWN;
const uint HIGH = TILE / DOWN / TV_MATRIX_M, WIDE = TILE / ACROSS / TV_MATRIX_N; /* matrices of a subgroup */
shared uvec2 tile_a[TILE * STRIDE];
shared uvec2 tile_b[TILE * STRIDE];

/* ---- four neighbours, and their way to T ---- */

uvec4 four_of_a(uint row, uint column, uint columns) {
    uvec4 raw = uvec4(0);
    if (ALIGNED_A) {
        uint at = (row + min(column, columns - 4)) / 4;
        if (TYPE_A == F32)
            raw = a4[at];
        else
            raw.xy = a_pairs[at];
    } else {
        [[unroll]] for (uint e = 0; e < 4; e++) {
            uint at = row + min(column + e, columns - 1);
            if (TYPE_A == F32)
                raw[e] = floatBitsToUint(a[at]);
            else
                raw[e / 2] |= uint(a_halves[at]) << 16 * (e % 2);
        }
    }
    return raw;
}

uvec4 four_of_b(uint row, uint column, uint columns) {
    uvec4 raw = uvec4(0);
    if (TYPE_B == Q8_0 || TYPE_B == Q4_0) {
        uint within = min(column, columns - 4);
        raw.x = b_words[row + word_of(within)];
        raw.y = b_words[scale_word(row, within, columns)];
    } else if (ALIGNED_B) {
        uint at = (row + min(column, columns - 4)) / 4;
        if (TYPE_B == F32)
            raw = b4[at];
        else
            raw.xy = b_pairs[at];
    } else {
        [[unroll]] for (uint e = 0; e < 4; e++) {
            uint at = row + min(column + e, columns - 1);
            if (TYPE_B == F32)
                raw[e] = floatBitsToUint(b[at]);
            else
                raw[e / 2] |= uint(b_halves[at]) << 16 * (e % 2);
        }
    }
    return raw;
}

/* Four rows of k with four neighbours each, turned: four of k for each neighbour; none from row `rows` on. */
void turn_halves(uvec2 rows[4], uint count, out uvec2 turned[4]) {
    [[unroll]] for (uint r = 0; r < 4; r++)
        rows[r] = r < count ? rows[r] : uvec2(0);
    [[unroll]] for (uint e = 0; e < 4; e++) {
        uint word = e / 2, by = 16 * (e % 2);
        turned[e] = uvec2((rows[0][word] >> by & 0xffffu) | (rows[1][word] >> by) << 16,
                          (rows[2][word] >> by & 0xffffu) | (rows[3][word] >> by) << 16);
    }
}

void turn_floats(vec4 rows[4], uint count, out uvec2 turned[4]) {
    [[unroll]] for (uint r = 0; r < 4; r++)
        rows[r] = r < count ? rows[r] : vec4(0.0);
    [[unroll]] for (uint e = 0; e < 4; e++)
        turned[e] = tv_pack4(vec4(rows[0][e], rows[1][e], rows[2][e], rows[3][e]));
}

/* ---- staging ---- */

/* What an invocation brings of a step. Stored along k: eights of rows. Else: a block of 4 x 4 for each 32 invocations' 4 columns of them
 * by the step's 8 rows of them, which spreads what is turned over all banks. */
const uint BLOCKS = TILE / 4 * STEP / 4 / TV_LOCAL_SIZE;
#define PLACE(i) (gl_LocalInvocationIndex + (i) * TV_LOCAL_SIZE)
#define BLOCK_K(i) (PLACE(i) / 4 % (STEP / 4) * 4)
#define BLOCK_ROW(i) ((PLACE(i) % 4 + PLACE(i) / STEP * 4) * 4)

#if TV_TRANSPOSE_A
uvec4 next_a[BLOCKS * 4];
#else
eight next_a[EIGHTS];
#endif
#if TV_TRANSPOSE_B
eight next_b[EIGHTS];
#else
uvec4 next_b[BLOCKS * 4];
#endif

void load(uint base_a, uint base_b, uint row_0, uint column_0, uint k_0) {
    uint last = p.k - 1;
#if TV_TRANSPOSE_A
    [[unroll]] for (uint i = 0; i < BLOCKS; i++)
        [[unroll]] for (uint r = 0; r < 4; r++)
            next_a[4 * i + r] = four_of_a(base_a + min(k_0 + BLOCK_K(i) + r, last) * p.lda, row_0 + BLOCK_ROW(i), p.m);
#else
    [[unroll]] for (uint i = 0; i < EIGHTS; i++)
        next_a[i] = eight_of_a(base_a + min(row_0 + PLACE(i) / ALONG, p.m - 1) * p.lda, k_0 + PLACE(i) % ALONG * 8, p.k);
#endif
#if TV_TRANSPOSE_B
    [[unroll]] for (uint i = 0; i < EIGHTS; i++)
        next_b[i] = eight_of_b(base_b + min(column_0 + PLACE(i) / ALONG, p.n - 1) * p.ldb, k_0 + PLACE(i) % ALONG * 8, p.k);
#else
    [[unroll]] for (uint i = 0; i < BLOCKS; i++)
        [[unroll]] for (uint r = 0; r < 4; r++)
            next_b[4 * i + r] = four_of_b(base_b + min(k_0 + BLOCK_K(i) + r, last) * p.ldb, column_0 + BLOCK_ROW(i), p.n);
#endif
}

void stage(uint column_0, uint k_0) {
    uint left = p.k - k_0;
#if TV_TRANSPOSE_A
    [[unroll]] for (uint i = 0; i < BLOCKS; i++) {
        uvec2 turned[4];
        uint k = BLOCK_K(i), count = left - min(k, left);
        if (TYPE_A == T)
            turn_halves(uvec2[4](next_a[4 * i].xy, next_a[4 * i + 1].xy, next_a[4 * i + 2].xy, next_a[4 * i + 3].xy), count,
                        turned);
        else
            turn_floats(vec4[4](floats(next_a[4 * i]), floats(next_a[4 * i + 1]), floats(next_a[4 * i + 2]),
                                floats(next_a[4 * i + 3])), count, turned);
        [[unroll]] for (uint e = 0; e < 4; e++)
            tile_a[(BLOCK_ROW(i) + e) * STRIDE + k / 4] = turned[e];
    }
#else
    [[unroll]] for (uint i = 0; i < EIGHTS; i++) {
        uint k = PLACE(i) % ALONG * 8, at = PLACE(i) / ALONG * STRIDE + k / 4;
        uvec4 words = packed_a(next_a[i], k_0 + k, p.k);
        tile_a[at] = words.xy;
        tile_a[at + 1] = words.zw;
    }
#endif
#if TV_TRANSPOSE_B
    [[unroll]] for (uint i = 0; i < EIGHTS; i++) {
        uint k = PLACE(i) % ALONG * 8, at = PLACE(i) / ALONG * STRIDE + k / 4;
        uvec4 words = packed_b(next_b[i], k_0 + k, p.k);
        tile_b[at] = words.xy;
        tile_b[at + 1] = words.zw;
    }
#else
    [[unroll]] for (uint i = 0; i < BLOCKS; i++) {
        uvec2 turned[4];
        uint k = BLOCK_K(i), count = left - min(k, left);
        if (TYPE_B == T) {
            turn_halves(uvec2[4](next_b[4 * i].xy, next_b[4 * i + 1].xy, next_b[4 * i + 2].xy, next_b[4 * i + 3].xy), count,
                        turned);
        } else {
            vec4 rows[4];
            uint within = min(column_0 + BLOCK_ROW(i), p.n - min(p.n, 4));
            [[unroll]] for (uint r = 0; r < 4; r++) {
                uvec4 raw = next_b[4 * i + r];
                rows[r] = TYPE_B == F32                     ? floats(raw)
                          : TYPE_B == Q8_0 || TYPE_B == Q4_0 ? quants(raw.x, raw.y, within)
                                                             : vec4(pair_of_b(raw.x), pair_of_b(raw.y));
            }
            turn_floats(rows, count, turned);
        }
        [[unroll]] for (uint e = 0; e < 4; e++)
            tile_b[(BLOCK_ROW(i) + e) * STRIDE + k / 4] = turned[e];
    }
#endif
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
    uint part_row = gl_SubgroupID / ACROSS * (TILE / DOWN), part_column = gl_SubgroupID % ACROSS * (TILE / ACROSS);

    TV_MATRIX_C total[HIGH * WIDE];
    [[unroll]] for (uint i = 0; i < HIGH * WIDE; i++)
        total[i] = TV_MATRIX_C(0.0);
    if (p.k > 0)
        load(base_a, base_b, row_0, column_0, 0);
    for (uint k_0 = 0; k_0 < p.k;) {
        uint end = min(k_0 + SLICE, p.k);
        TV_MATRIX_C sum[HIGH * WIDE];
        [[unroll]] for (uint i = 0; i < HIGH * WIDE; i++)
            sum[i] = TV_MATRIX_C(0.0);
        [[dont_unroll]] for (; k_0 < end; k_0 += STEP) {
            barrier();
            stage(column_0, k_0);
            load(base_a, base_b, row_0, column_0, k_0 + STEP);
            barrier();
            [[unroll]] for (uint k = 0; k < STEP; k += TV_MATRIX_K) {
                /* The fewer of a subgroup's two sides are held: HIGH of A would take 16 registers more, and with them three of RDNA3's
                 * eight subgroups at once. */
                TV_MATRIX_B right[WIDE];
                [[unroll]] for (uint w = 0; w < WIDE; w++)
                    coopMatLoad(right[w], tile_b, (part_column + w * TV_MATRIX_N) * STRIDE + k / 4, STRIDE,
                                gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (uint h = 0; h < HIGH; h++) {
                    TV_MATRIX_A left;
                    coopMatLoad(left, tile_a, (part_row + h * TV_MATRIX_M) * STRIDE + k / 4, STRIDE,
                                gl_CooperativeMatrixLayoutRowMajor);
                    [[unroll]] for (uint w = 0; w < WIDE; w++)
                        sum[h * WIDE + w] = coopMatMulAdd(left, right[w], sum[h * WIDE + w]);
                }
            }
        }
        [[unroll]] for (uint i = 0; i < HIGH * WIDE; i++)
            total[i] += sum[i];
    }

    /* Each subgroup has a place for a matrix of C where A lay. */
    uint own = gl_SubgroupID * TV_MATRIX_M * TV_MATRIX_N / 2;
    barrier();
    [[unroll]] for (uint i = 0; i < HIGH * WIDE; i++) {
        coopMatStore(total[i], tile_a, own, TV_MATRIX_N / 2, gl_CooperativeMatrixLayoutRowMajor);
        subgroupMemoryBarrierShared();
        subgroupBarrier();
        for (uint q = gl_SubgroupInvocationID; q < TV_MATRIX_M * TV_MATRIX_N / 4; q += TV_MATRIX_LANES) {
            uint at = own + 2 * q, row = q / (TV_MATRIX_N / 4), column = q % (TV_MATRIX_N / 4) * 4;
            put(base_c, row_0 + part_row + i / WIDE * TV_MATRIX_M + row,
                column_0 + part_column + i % WIDE * TV_MATRIX_N + column,
                vec4(uintBitsToFloat(tile_a[at]), uintBitsToFloat(tile_a[at + 1])));
        }
        subgroupMemoryBarrierShared();
        subgroupBarrier();
    }
}
