/* Sums over rows that are added to gradients: of biases, of the gains and biases of norms.
 *
 * Whoever has the rows at hand leaves partial sums, of chunks of rows; one dispatch then adds those of many
 * gradients, chunk after chunk. Until then they keep their place in the scratch.
 *
 * Promise: a chunk's rows are added in ascending order (sum_rows.comp: eight as a tree), chunks in ascending
 * order, eight as a tree. How long a chunk is follows from the rows, the columns and the device's limits.
 */
#ifndef TV_KERNELS_COLUMN_SUMS_H
#define TV_KERNELS_COLUMN_SUMS_H

#include "kernels/launch.h"
#include "sizes.h"

typedef struct tv_column_sums {
    tv_tensor scratch; /* of tv_column_sums_scratch bytes for what is placed between two additions, or less:
                          what does not fit any more is added first */
    uint64_t used;     /* bytes of it */
    uint32_t count;    /* gradients that are still to be added to */
    uint64_t chunks;   /* of each of them */
    struct {
        tv_span partials; /* (chunks, columns) */
        tv_tensor gradient;
        uint64_t columns;
    } pending[TV_COLUMN_SUMS];
} tv_column_sums;

/* Bytes that the partial sums of gradients of `columns` elements in all take, for `rows` rows or fewer, of
 * which the widest that is summed has `widest` elements. */
uint64_t tv_column_sums_scratch(const tv_caps *caps, uint64_t rows, uint64_t columns, uint64_t widest);

/* How the rows of a kernel that leaves partial sums of `columns` columns are cut; `row_bytes`: of the widest
 * rows that it reads. */
typedef struct tv_column_chunks {
    const char *what; /* for sentences */
    uint64_t rows;    /* of a chunk, the last one may have fewer */
    uint64_t chunks;  /* of all rows */
    uint64_t most;    /* rows at once: whole chunks */
} tv_column_chunks;
tv_status tv_column_chunks_choose(const tv_recorder *recorder, const char *what, uint64_t rows,
                                  const uint64_t *row_bytes, uint32_t tensors, uint64_t columns,
                                  tv_column_chunks *chunks);

/* A place for partial sums (gradients, chunks, columns) of gradients of `columns` floats each, which the next
 * addition adds to them; absent ones have no place. */
tv_status tv_column_sums_place(tv_recorder *recorder, tv_column_sums *sums, const tv_column_chunks *chunks,
                               uint64_t columns, const tv_tensor *gradients, uint32_t count,
                               tv_tensor *partials);

/* gradient (columns) += column sums of input (rows, columns), by the next addition. The input may be halves
 * where columns is a multiple of 4. */
tv_status tv_column_sums_rows(tv_recorder *recorder, tv_column_sums *sums, uint64_t rows, uint64_t columns,
                              tv_tensor input, tv_tensor gradient);

/* Adds what was placed, in as few dispatches as bindings allow. */
tv_status tv_column_sums_add(tv_recorder *recorder, tv_column_sums *sums);

#endif
