/* Examples laid out in the rows of batches: packed by best fit, or one a row.
 *
 * Promise: every example lies in exactly one row of a pass; a row's examples do not see one another
 * (doc_start, positions from 0 in each); what is not trained, and all padding, is an ignored target. The
 * order of the rows is a permutation drawn by seed and pass.
 */
#ifndef TV_STAGES_EXAMPLE_ROWS_H
#define TV_STAGES_EXAMPLE_ROWS_H

#include <stdbool.h>

#include "text/examples.h"
#include "text/packing.h"
#include "train/trainer.h"

typedef struct tv_example_rows {
    const tv_examples *examples;
    tv_packing packing;
    uint64_t tokens; /* T */
    bool shuffle;
    uint64_t seed;
    uint64_t end;  /* rows behind this number, over all passes, are empty */
    uint64_t next; /* the next row; at most `end` */
} tv_example_rows;

/* `examples` outlives the rows, and none is longer than T + 1. `end` starts as endless, `next` as 0. */
tv_status tv_example_rows_create(const tv_examples *examples, uint64_t tokens, bool packed,
                                 tv_example_rows *rows);
void tv_example_rows_free(tv_example_rows *rows);

/* Fills the next `batch` rows of (B, T); tokens in use are counted into batch->used. */
void tv_example_rows_fill(tv_example_rows *rows, uint64_t batch_size, tv_micro_batch *batch);

#endif
