/* The heart of a rank: a thread that beats for the others, listens to one of them, and tells rank 0 which
 * transfer this rank waits in.
 *
 * Promise: a rank that gives no sign of life for the limit ends all ranks with one sentence, and so do ranks
 * whose threads live and wait in transfers that never meet. One that computes, however long, is no failure,
 * nor is one that waits for it; time in which a whole machine slept does not count. A transfer of many bytes
 * may take a second a megabyte more.
 */
#ifndef TV_TRAIN_HEART_H
#define TV_TRAIN_HEART_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "train/mpi/calls.h"

typedef enum tv_transfer_kind {
    TV_TRANSFER_BROADCAST,
    TV_TRANSFER_GATHER,
    TV_TRANSFER_AGREEMENT,
    TV_TRANSFER_EXCHANGE,
    TV_TRANSFER_LETTERS,
    TV_TRANSFER_KINDS
} tv_transfer_kind;

/* Where a rank is. Ranks meet in a transfer where its number, kind, root and bytes are the same. */
typedef struct tv_rank_at {
    uint64_t number; /* of the transfer that it began last, from 1: all ranks begin the same ones; 0: none */
    uint64_t bytes;  /* that all name alike; 0: each has its own */
    uint64_t moves;  /* bytes that this rank sends and receives */
    int32_t kind, root;
    int32_t waits; /* in it */
    int32_t unused;
} tv_rank_at;

/* What rank 0 knows of another rank. */
typedef struct tv_rank_watch {
    tv_rank_at at;
    double since; /* seconds that it began this transfer ago */
} tv_rank_watch;

/* Whether rank *waits, which has waited for `limit` seconds and longer, waits for ever: nobody is still to
 * come to its transfer or has come within that time, and rank *past is in another one in its place or behind
 * it. *past is *waits where all wait in the same one. */
bool tv_find_deadlock(const tv_rank_watch *ranks, uint32_t count, double limit, uint32_t *waits,
                      uint32_t *past);
/* "rank 1 on HOST has waited 20 s in transfer 7 (a broadcast of 8 bytes) ..." */
void tv_describe_deadlock(const tv_rank_watch *ranks, const char (*hosts)[TV_MPI_HOST_BYTES], uint32_t waits,
                          uint32_t past, char *text, uint64_t size);

typedef struct tv_heart tv_heart;

/* `hosts`, of all ranks, stay as long as it does. */
tv_status tv_heart_start(const tv_mpi_calls *calls, const tv_mpi_place *place,
                         const char (*hosts)[TV_MPI_HOST_BYTES], double limit, tv_heart **heart);
/* When all ranks have said that they leave. */
void tv_heart_stop(tv_heart **heart);
/* Whether all ranks are being ended, so that nothing is gone on with. */
bool tv_heart_lost(tv_heart *heart);
/* Around each transfer, or in place of one in which this rank has no part; NULL: nothing. `at` without number
 * and waits. */
void tv_heart_enter(tv_heart *heart, const tv_rank_at *at, bool waits);
void tv_heart_leave(tv_heart *heart);

#endif
