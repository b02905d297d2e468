/* The backward pass on matrix units: what the gradients of queries and of keys and values share.
 *
 * A workgroup owns 64 rows (queries, or keys), 16 to a subgroup, which holds both of their operands as matrices (first: Q or K, second:
 * dO or V) and goes through the other side in blocks of BLOCK rows:
 *   scores = first X^T, products = second Y^T, then dS and P by rows and columns in the subgroup's strip, then
 *   sum of dS X, sum of P Y, for which X and Y lie turned in shared memory as well.
 * A block is staged with one load a value: next to each other in registers, while the block before is multiplied. Two barriers a block.
 */
#ifndef TV_ATTENTION_BACKWARD_MATRIX_GLSL
#define TV_ATTENTION_BACKWARD_MATRIX_GLSL

#define BLOCK (WIDTH > 64 ? 16 : 32)
#define STRIP_COLUMNS BLOCK
#include "strips.glsl"
#include "text_rows.glsl"
#include "window.glsl"

const uint OWN = SUBGROUPS * ROWS;
const uint PITCH = (WIDTH + 8) / 4; /* in four of T, of rows as they are */
const uint TURNED = (BLOCK + 8) / 4; /* of turned ones: a row is a channel */
const uint N_TILES = BLOCK / N, K_TILES = BLOCK / K;
const uint D_N = WIDTH / N, D_K = WIDTH / K;
const uint BLOCKS = BLOCK / 4 * (WIDTH / 4); /* of 4 rows and 4 channels */
const uint HELD = (BLOCKS + INVOCATIONS - 1) / INVOCATIONS;
const uint HELD_QUADS = HELD * 4;

const uint X_ROWS = 0, Y_ROWS = X_ROWS + BLOCK * PITCH, X_TURNED = Y_ROWS + BLOCK * PITCH, Y_TURNED = X_TURNED + WIDTH * TURNED;
const uint STAGED = Y_TURNED + (TURNS_Y ? WIDTH * TURNED : 0);
shared uvec2 staged[STAGED > OWN * PITCH ? STAGED : OWN * PITCH];

/* A block waits in registers while the one before is multiplied; wide heads in float leave none for it. */
const bool AHEAD = (WIDTH <= 64 ? 1 : IS_T) != 0; /* not with ||, which glslang 16 makes no constant of */

TV_MATRIX_A first_rows[ROW_TILES * D_K], second_rows[ROW_TILES * D_K];

/* Block i of 4 rows and 4 channels: 8 (or 4) blocks of rows times several of channels side by side, so that stores meet all banks. */
uvec2 held_at(uint i) {
    uint at = gl_LocalInvocationIndex + INVOCATIONS * i;
    return uvec2(at % (BLOCK / 4), at / (BLOCK / 4)) * 4;
}

void load_block(out uvec4 held[HELD_QUADS], tile_matrix m, uint row) {
    [[unroll]] for (uint i = 0; i < EACH(HELD); i++) {
        uvec2 at = held_at(i);
        [[unroll]] for (uint r = 0; r < EACH(4); r++)
            held[4 * i + r] = tile_fetch(m, row, at.x + r, at.y);
    }
}

/* `rows`, `turns`: whether and where to. */
void put_block(uvec4 held[HELD_QUADS], uint source, bool rows, uint rows_at, bool turns, uint turned_at) {
    [[unroll]] for (uint i = 0; i < EACH(HELD); i++) {
        uvec2 at = held_at(i);
        if (BLOCKS % INVOCATIONS != 0 && at.y >= WIDTH)
            continue;
        uvec2 values[4], turned[4];
        [[unroll]] for (uint r = 0; r < EACH(4); r++) {
            values[r] = tile_t(source, held[4 * i + r]);
            if (rows)
                staged[rows_at + (at.x + r) * PITCH + at.y / 4] = values[r];
        }
        turn(values[0], values[1], values[2], values[3], turned);
        [[unroll]] for (uint e = 0; e < EACH(4); e++)
            if (turns)
                staged[turned_at + (at.y + e) * TURNED + at.x / 4] = turned[e];
    }
}

void stage_own(tile_matrix m, uint row) {
    barrier();
    for (uint i = gl_LocalInvocationIndex; i < OWN * (WIDTH / 4); i += INVOCATIONS) {
        uint r = i / (WIDTH / 4), quad = i % (WIDTH / 4);
        staged[r * PITCH + quad] = tile_t(m.source, tile_fetch(m, row, r, quad * 4));
    }
    barrier();
}

#define TAKE_OWN(rows)                                                                                                         \
    [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)                                                                            \
        [[unroll]] for (uint k = 0; k < EACH(D_K); k++)                                                                        \
            coopMatLoad(rows[r * D_K + k], staged, (gl_SubgroupID * ROWS + r * M) * PITCH + k * K / 4, PITCH,                  \
                        gl_CooperativeMatrixLayoutRowMajor);

/* The subgroup's 16 rows against the block's, into its strip. */
#define STRIP_PRODUCT(rows, other)                                                                                             \
    subgroupBarrier();                                                                                                         \
    [[unroll]] for (uint n = 0; n < EACH(N_TILES); n++) {                                                                      \
        TV_MATRIX_C sums[ROW_TILES];                                                                                            \
        [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)                                                                        \
            sums[r] = TV_MATRIX_C(0.0);                                                                                         \
        [[unroll]] for (uint k = 0; k < EACH(D_K); k++) {                                                                      \
            TV_MATRIX_B columns;                                                                                                  \
            coopMatLoad(columns, staged, (other) + n * N * PITCH + k * K / 4, PITCH, gl_CooperativeMatrixLayoutColumnMajor);   \
            [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)                                                                    \
                sums[r] = coopMatMulAdd(rows[r * D_K + k], columns, sums[r]);                                                  \
        }                                                                                                                      \
        [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)                                                                        \
            coopMatStore(sums[r], strip, strip_base() + r * M * STRIP_PITCH + n * N / 4, STRIP_PITCH,                          \
                         gl_CooperativeMatrixLayoutRowMajor);                                                                  \
    }                                                                                                                          \
    subgroupBarrier();

vec4 strip_get(uint i, uint q) {
    return uintBitsToFloat(strip[strip_base() + strip_row(i) * STRIP_PITCH + strip_quad(q)]);
}

/* Two quads of T into the left (0) or right half of a row. */
void strip_put(uint i, uint q, uint side, vec4 lower, vec4 upper) {
    strip[strip_base() + strip_row(i) * STRIP_PITCH + side * (BLOCK / 8) + strip_quad(q) / 2] = uvec4(tv_pack4(lower), tv_pack4(upper));
}

/* sums += (a side of the strip) times the block, which lies turned. */
#define ADD_PRODUCT(sums, side, turned)                                                                                        \
    {                                                                                                                          \
        TV_MATRIX_A weights[ROW_TILES * K_TILES];                                                                                 \
        [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)                                                                        \
            [[unroll]] for (uint k = 0; k < EACH(K_TILES); k++)                                                                \
                coopMatLoad(weights[r * K_TILES + k], strip,                                                                   \
                            strip_base() + r * M * STRIP_PITCH + (side) * (BLOCK / 8) + k * K / 8, STRIP_PITCH,                \
                            gl_CooperativeMatrixLayoutRowMajor);                                                               \
        [[unroll]] for (uint n = 0; n < EACH(D_N); n++)                                                                        \
            [[unroll]] for (uint k = 0; k < EACH(K_TILES); k++) {                                                              \
                TV_MATRIX_B columns;                                                                                              \
                coopMatLoad(columns, staged, (turned) + n * N * TURNED + k * K / 4, TURNED,                                    \
                            gl_CooperativeMatrixLayoutColumnMajor);                                                            \
                [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)                                                                \
                    sums[r * D_N + n] = coopMatMulAdd(weights[r * K_TILES + k], columns, sums[r * D_N + n]);                   \
            }                                                                                                                  \
    }

/* Rows of the result, BLOCK channels at a time: store(row of the subgroup, channel, values). */
#define STORE_ROWS(sums, store)                                                                                                \
    [[unroll]] for (uint d0 = 0; d0 < EACH(WIDTH); d0 += BLOCK) {                                                              \
        subgroupBarrier();                                                                                                     \
        [[unroll]] for (uint r = 0; r < EACH(ROW_TILES); r++)                                                                        \
            [[unroll]] for (uint n = 0; n < EACH(N_TILES); n++)                                                                      \
                if (d0 + n * N < WIDTH)                                                                                        \
                    coopMatStore(sums[r * D_N + d0 / N + n], strip, strip_base() + r * M * STRIP_PITCH + n * N / 4,            \
                                 STRIP_PITCH, gl_CooperativeMatrixLayoutRowMajor);                                             \
        subgroupBarrier();                                                                                                     \
        for (uint i = gl_SubgroupInvocationID; i < ROWS * (BLOCK / 4); i += LANES)                                             \
            if (d0 + i % (BLOCK / 4) * 4 < D)                                                                                  \
                store(i / (BLOCK / 4), d0 + i % (BLOCK / 4) * 4,                                                               \
                      uintBitsToFloat(strip[strip_base() + i / (BLOCK / 4) * STRIP_PITCH + i % (BLOCK / 4)]));                 \
    }

#endif
