/* What the GPU variants share: a workgroup of 128 invocations holds a tile of 16 ROWS rows of the result in registers and goes
 * through the other side 32 rows at a time.
 *
 * Two products do all the work, both with operands staged 32 channels at a time, so that shared memory does not grow with D (under
 * 16 KiB, the least that Vulkan promises):
 *   tile_scores: (rows, 32) += A (rows, D) B (32, D)^T
 *   tile_accumulate: (rows, D) += W (rows, 32) B (32, D), W being what tile_put_weights left in shared memory
 * Invocation (ty, tx) = (thread / 8, thread % 8) owns the rows ty + 16 r, and in them the columns 4 tx .. 4 tx + 3 of each 32.
 * 16 multiply-adds per channel and r = 4 for 8 vectors read keep the arithmetic ahead of shared memory. Rows of 9 vectors, so that
 * neighbouring rows lie in different banks.
 *
 * The including shader defines D_CLASS and ROWS, the bindings, and tile_source(which, index) and tile_source4.
 */
#ifndef TV_ATTENTION_TILE_GLSL
#define TV_ATTENTION_TILE_GLSL

/* 1: D is a multiple of 4 and rows are read as vectors. */
layout(constant_id = 0) const uint aligned = 1;

#include "sizes.h"

#define TILE_ROWS (TV_ATTENTION_TILE_ROWS * ROWS)
#define TILE_OTHER 32
#define D_PARTS (D_CLASS / 32)
#define PITCH 9

const float lowest = -3.0e38;
const float log2_e = 1.4426950408889634;
const float ln_2 = 0.6931471805599453;

shared vec4 tile_a[TILE_ROWS * PITCH];
shared vec4 tile_b[TILE_OTHER * PITCH];
shared float tile_partial[TILE_ROWS * 8];

/* A matrix in memory: row r of `source` begins at base + r * stride; rows from T on read as 0. */
struct tile_matrix {
    uint source, base, stride;
};

uint tile_tx() {
    return gl_LocalInvocationIndex % 8;
}
uint tile_row(uint r) {
    return gl_LocalInvocationIndex / 8 + TV_ATTENTION_TILE_ROWS * r;
}

/* Channels d .. d + 3 of a row; 0 past the end. */
vec4 tile_fetch(tile_matrix m, uint row, uint d) {
    if (row >= p.tokens || d >= p.head_size)
        return vec4(0.0);
    uint at = m.base + row * m.stride + d;
    if (aligned != 0)
        return tile_source4(m.source, at / 4);
    vec4 value = vec4(0.0);
    [[unroll]] for (uint e = 0; e < 4; e++)
        if (d + e < p.head_size)
            value[e] = tile_source(m.source, at + e);
    return value;
}

void tile_scores(inout vec4 scores[ROWS], tile_matrix a, uint a_row, tile_matrix b, uint b_row) {
    uint tx = tile_tx();
    for (uint d0 = 0; d0 < p.head_size; d0 += 32) {
        barrier();
        for (uint i = gl_LocalInvocationIndex; i < TILE_ROWS * 8; i += 128)
            tile_a[i / 8 * PITCH + i % 8] = tile_fetch(a, a_row + i / 8, d0 + i % 8 * 4);
        /* Row 4 x + c lies at x + 8 c: the 8 rows that are read together then lie side by side. */
        for (uint i = gl_LocalInvocationIndex; i < TILE_OTHER * 8; i += 128)
            tile_b[(i / 32 + 8 * (i / 8 % 4)) * PITCH + i % 8] = tile_fetch(b, b_row + i / 8, d0 + i % 8 * 4);
        barrier();
        uint vectors = min(8, (p.head_size - d0 + 3) / 4);
        for (uint v = 0; v < vectors; v++) {
            vec4 b0 = tile_b[tx * PITCH + v], b1 = tile_b[(tx + 8) * PITCH + v];
            vec4 b2 = tile_b[(tx + 16) * PITCH + v], b3 = tile_b[(tx + 24) * PITCH + v];
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                vec4 row = tile_a[tile_row(r) * PITCH + v];
                scores[r] += vec4(dot(row, b0), dot(row, b1), dot(row, b2), dot(row, b3));
            }
        }
    }
}

void tile_put_weights(vec4 weights[ROWS]) {
    barrier();
    [[unroll]] for (uint r = 0; r < ROWS; r++)
        tile_a[tile_row(r) * PITCH + tile_tx()] = weights[r];
}

void tile_accumulate(inout vec4 sums[ROWS * D_PARTS], tile_matrix b, uint b_row) {
    uint tx = tile_tx();
    [[unroll]] for (uint part = 0; part < D_PARTS; part++) {
        if (part * 32 < p.head_size) {
            barrier();
            for (uint i = gl_LocalInvocationIndex; i < TILE_OTHER * 8; i += 128)
                tile_b[i / 8 * PITCH + i % 8] = tile_fetch(b, b_row + i / 8, part * 32 + i % 8 * 4);
            barrier();
            for (uint j = 0; j < 8; j++) {
                vec4 b0 = tile_b[4 * j * PITCH + tx], b1 = tile_b[(4 * j + 1) * PITCH + tx];
                vec4 b2 = tile_b[(4 * j + 2) * PITCH + tx], b3 = tile_b[(4 * j + 3) * PITCH + tx];
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    vec4 w = tile_a[tile_row(r) * PITCH + j];
                    sums[r * D_PARTS + part] += w.x * b0 + w.y * b1 + w.z * b2 + w.w * b3;
                }
            }
        }
    }
}

/* Writes channels of a row of the result; `result(at, value)` is the including shader's store. */
#define TILE_STORE(sums, r, row_base, factor, result)                                                                  \
    [[unroll]] for (uint part = 0; part < D_PARTS; part++)                                                             \
        [[unroll]] for (uint e = 0; e < 4; e++) {                                                                      \
            uint d = part * 32 + tile_tx() * 4 + e;                                                                    \
            if (d < p.head_size)                                                                                       \
                result[(row_base) + d] = TV_ACT(sums[(r) * D_PARTS + part][e] * (factor));                             \
        }

#endif
