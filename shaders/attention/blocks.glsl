/* What the GPU variants share: a workgroup of 128 invocations holds a tile of 16 ROWS rows of the result in registers and goes
 * through the other side 32 QUADS rows at a time.
 *
 * Two products do all the work, both with operands in 12 KiB of shared memory, whatever D is:
 *   tile_scores: (rows, 32 QUADS) = A (rows, D) B (32 QUADS, D)^T, 16 channels at a time
 *   tile_accumulate: (rows, 32 PARTS) += W (rows, 32 QUADS) B (32 QUADS, 32 PARTS), 16 rows of B at a time
 * Invocation (ty, tx) = (thread / 8, thread % 8) owns the rows ty + 16 r, and in them the columns 32 q + 4 tx .. 32 q + 4 tx + 3.
 * With ROWS 4 and QUADS or PARTS 2, 12 vectors read from shared memory feed 128 multiply-adds. What comes next from memory is loaded
 * into registers before the multiplication of what is there: addresses are clamped and never branched around, counts are constant
 * (the head size is a specialization constant), so that a compiler can order loads, waits and arithmetic as it likes.
 * Each sum runs over its channels, or rows of B, one after another: its bits depend on nothing else.
 *
 * The including shader defines D_CLASS, ROWS and QUADS, the bindings, and tile_source(which, index) and tile_source4.
 */
#ifndef TV_ATTENTION_BLOCKS_GLSL
#define TV_ATTENTION_BLOCKS_GLSL

/* 1: D is a multiple of 4 and rows are read as vectors. */
layout(constant_id = 0) const uint aligned = 1;
layout(constant_id = 1) const uint head_size = D_CLASS;
/* 1: a driver of a CPU, whose exp2 of what is far below a normal number is not 0, and which takes minutes to compile what is
 * unrolled: what counts to TILE_VECTORS stays a loop there. */
layout(constant_id = 2) const uint on_cpu = 0;

#include "sizes.h"

#define TILE_ROWS (TV_ATTENTION_TILE_ROWS * ROWS)
#define TILE_OTHER (32 * QUADS)
#define D_PARTS (D_CLASS / 32)
/* Parts of 32 channels that tile_accumulate takes at once. */
#if D_CLASS < 64
#define PARTS 1
#else
#define PARTS 2
#endif
/* The loops of four around the multiply-adds: hundreds of them in a row hide what they wait for, where registers allow. */
#if UNROLLED
#define TILE_LOOP [[unroll]]
#else
#define TILE_LOOP [[dont_unroll]]
#endif
#define TILE_VECTORS (4 - (on_cpu != 0 ? p.window >> 31 : 0))
/* Vectors of a row of B in tile_scores, one more than there are, so that neighbouring rows lie in different banks. A and W need
 * none: the lanes that are served together read the same vector of them. */
#define PITCH 5
#define TILE_B (TILE_ROWS * 4) /* in tile_scores */
#define TILE_V (TILE_ROWS * 8) /* in tile_accumulate */
#define TILE_PARTIAL (TILE_B + TILE_OTHER * PITCH) /* one value of each row from each invocation that shares it */
#define V_WIDTH (8 * PARTS)
#define A_LOADS ((TILE_ROWS * 4 + 127) / 128)
#define B_LOADS ((TILE_OTHER * 4 + 127) / 128)

const float ln_2 = 0.6931471805599453;

#if TILE_PARTIAL + TILE_ROWS * 2 > TILE_V + 16 * V_WIDTH
shared vec4 tile[TILE_PARTIAL + TILE_ROWS * 2];
#else
shared vec4 tile[TILE_V + 16 * V_WIDTH];
#endif

/* A matrix in memory: row r of `source` begins at base + r * stride; rows behind the last token's are that one, and whoever asks for
 * one gives it no weight. Where rows are read as vectors, all these count vectors. */
struct tile_matrix {
    uint source, base, stride, last;
};
#define unit (aligned != 0 ? 4 : 1)

tile_matrix tile_matrix_at(uint source, uint base, uint stride) {
    return tile_matrix(source, base / unit, stride / unit, (base + (p.tokens - 1) * stride) / unit);
}

uint tile_tx() {
    return gl_LocalInvocationIndex % 8;
}
uint tile_row(uint r) {
    return gl_LocalInvocationIndex / 8 + TV_ATTENTION_TILE_ROWS * r;
}

/* Where a row begins: of `first` + `row`, the first of them the same for all invocations and the second the same all along. */
uint tile_row_base(tile_matrix m, uint first, uint row) {
    return min(m.base + first * m.stride + row * m.stride, m.last);
}

/* Channels d .. d + 3 of the row that begins at `base`; 0 past the end, where `whole` does not say that there is none. */
vec4 tile_fetch(uint source, uint base, uint d, bool whole) {
    if (aligned != 0) {
        if (whole)
            return tile_source4(source, base + d / 4);
        vec4 value = tile_source4(source, base + min(d, head_size - 4) / 4);
        return d < head_size ? value : vec4(0.0);
    }
    vec4 value;
    [[unroll]] for (uint e = 0; e < 4; e++) {
        float channel = tile_source(source, base + min(d + e, head_size - 1));
        value[e] = d + e < head_size ? channel : 0.0;
    }
    return value;
}

/* Hands one value of each row round the 8 invocations that share the row: put, then a barrier, then get. In a place that
 * tile_scores does not use. */
void tile_put_partial(uint r, float value) {
    tile[TILE_PARTIAL + tile_row(r) * 2 + tile_tx() / 4][tile_tx() % 4] = value;
}
vec4 tile_get_partial(uint r, uint which) {
    return tile[TILE_PARTIAL + tile_row(r) * 2 + which];
}

void tile_scores(out vec4 scores[ROWS * QUADS], tile_matrix a, uint a_row, tile_matrix b, uint b_row) {
    bool whole = head_size % 16 == 0;
    uint thread = gl_LocalInvocationIndex, tx = tile_tx(), channel = thread % 4 * 4;
    uint a_base[A_LOADS], b_base[B_LOADS];
    vec4 a_next[A_LOADS], b_next[B_LOADS];
    [[unroll]] for (uint i = 0; i < A_LOADS; i++) {
        a_base[i] = tile_row_base(a, a_row, thread / 4 + 32 * i);
        a_next[i] = tile_fetch(a.source, a_base[i], channel, whole);
    }
    [[unroll]] for (uint i = 0; i < B_LOADS; i++) {
        b_base[i] = tile_row_base(b, b_row, thread / 4 + 32 * i);
        b_next[i] = tile_fetch(b.source, b_base[i], channel, whole);
    }
    [[unroll]] for (uint i = 0; i < ROWS * QUADS; i++)
        scores[i] = vec4(0.0);
    const uint chunks = (head_size + 15) / 16;
    [[dont_unroll]] for (uint chunk = 0; chunk < chunks; chunk++) {
        barrier();
        [[unroll]] for (uint i = 0; i < A_LOADS; i++)
            if (TILE_ROWS >= 32 || thread < TILE_ROWS * 4)
                tile[thread + 128 * i] = a_next[i];
        /* Row 4 x + c of each 32 lies at x + 8 c: the 8 rows that are read together then lie side by side. */
        [[unroll]] for (uint i = 0; i < B_LOADS; i++)
            tile[TILE_B + (32 * i + thread / 16 + 8 * (thread / 4 % 4)) * PITCH + thread % 4] = b_next[i];
        barrier();
        uint next = channel + min(chunk + 1, chunks - 1) * 16;
        [[unroll]] for (uint i = 0; i < A_LOADS; i++)
            a_next[i] = tile_fetch(a.source, a_base[i], next, whole);
        [[unroll]] for (uint i = 0; i < B_LOADS; i++)
            b_next[i] = tile_fetch(b.source, b_base[i], next, whole);
        TILE_LOOP for (uint v = 0; v < TILE_VECTORS; v++) {
            vec4 columns[4 * QUADS];
            [[unroll]] for (uint c = 0; c < 4 * QUADS; c++)
                columns[c] = tile[TILE_B + (tx + 8 * c) * PITCH + v];
            vec4 row[ROWS];
            [[unroll]] for (uint r = 0; r < ROWS; r++)
                row[r] = tile[tile_row(r) * 4 + v];
            [[unroll]] for (uint e = 0; e < 4; e++)
                [[unroll]] for (uint q = 0; q < QUADS; q++) {
                    vec4 column = vec4(columns[4 * q][e], columns[4 * q + 1][e], columns[4 * q + 2][e], columns[4 * q + 3][e]);
                    [[unroll]] for (uint r = 0; r < ROWS; r++)
                        scores[r * QUADS + q] = fma(vec4(row[r][e]), column, scores[r * QUADS + q]);
                }
        }
    }
}

/* What tile_accumulate starts with, so that it can be on its way while other work is done. */
void tile_ahead(out vec4 ahead[PARTS], tile_matrix b, uint b_row, uint part) {
    uint thread = gl_LocalInvocationIndex;
    [[unroll]] for (uint i = 0; i < PARTS; i++)
        ahead[i] = tile_fetch(b.source, tile_row_base(b, b_row, thread / V_WIDTH + 128 / V_WIDTH * i), part * 32 + thread % V_WIDTH * 4,
                              head_size == D_CLASS);
}

/* Adds weights times the rows of b from b_row on, of them the 32 PARTS channels from 32 part on, 16 rows at a time. One loop and no
 * second copy of its body: drivers of CPUs take seconds for each. */
void tile_accumulate(inout vec4 sums[ROWS * D_PARTS], vec4 weights[ROWS * QUADS], tile_matrix b, uint b_row, uint part,
                     vec4 ahead[PARTS]) {
    uint tx = tile_tx();
    [[dont_unroll]] for (uint stage = 0; stage < 2 * QUADS; stage++) {
        barrier();
        [[unroll]] for (uint q = 0; q < QUADS; q++)
            if (stage == 2 * q)
                [[unroll]] for (uint r = 0; r < ROWS; r++)
                    tile[tile_row(r) * 8 + tx] = weights[r * QUADS + q];
        [[unroll]] for (uint i = 0; i < PARTS; i++)
            tile[TILE_V + gl_LocalInvocationIndex + 128 * i] = ahead[i];
        barrier();
        tile_ahead(ahead, b, b_row + 16 * (stage + 1), part);
        TILE_LOOP for (uint j = 0; j < TILE_VECTORS; j++) {
            vec4 w[ROWS];
            [[unroll]] for (uint r = 0; r < ROWS; r++)
                w[r] = tile[tile_row(r) * 8 + stage % 2 * 4 + j];
            [[unroll]] for (uint e = 0; e < 4; e++)
                [[unroll]] for (uint q = 0; q < PARTS; q++) {
                    vec4 value = tile[TILE_V + (4 * j + e) * V_WIDTH + 8 * q + tx];
                    [[unroll]] for (uint r = 0; r < ROWS; r++)
                        sums[r * D_PARTS + part + q] = fma(vec4(w[r][e]), value, sums[r * D_PARTS + part + q]);
                }
        }
    }
}

/* `action(part)` for each of the parts that tile_accumulate takes at once. No loop: drivers do not unroll what has a loop inside, and
 * sums that are indexed by a variable leave the registers. */
#if D_PARTS == PARTS
#define TILE_EACH_PART(action) action(0)
#elif D_PARTS == 2 * PARTS
#define TILE_EACH_PART(action) action(0) action(PARTS)
#else
#define TILE_EACH_PART(action) action(0) action(PARTS) action(2 * PARTS) action(3 * PARTS)
#endif

/* Writes channels of a row of the result. */
#define TILE_STORE(sums, r, row_base, factor, result)                                                                  \
    [[unroll]] for (uint part = 0; part < D_PARTS; part++)                                                             \
        [[unroll]] for (uint e = 0; e < 4; e++) {                                                                      \
            uint d = part * 32 + tile_tx() * 4 + e;                                                                    \
            if (d < head_size)                                                                                         \
                result[(row_base) + d] = TV_ACT(sums[(r) * D_PARTS + part][e] * (factor));                             \
        }

#endif
