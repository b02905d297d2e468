/* The ranks of a run: processes that a launcher of MPI started together, a device each.
 *
 * Promise: NULL is a process alone, for which every function here is a matter of course. What is called by
 * all ranks stands so. A rank that fails where the others go on, that ends, or that is not heard from for
 * TRIVIUM_RANK_TIMEOUT seconds (default 20) ends all of them with one sentence, and so do ranks that wait as
 * long for what never meets (train/heart.h); waiting for the others costs no processor and is no failure,
 * however long they compute. One thread calls.
 */
#ifndef TV_TRAIN_RANKS_H
#define TV_TRAIN_RANKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tv_ranks tv_ranks;

/* What the environment says of a launcher, before anything is asked of MPI. */
typedef struct tv_launcher {
    const char *name; /* "Open MPI's mpirun"; NULL: none, or it started this process alone */
    uint32_t count;   /* of processes; 0: it does not say */
    uint32_t own;
} tv_launcher;
tv_launcher tv_launcher_of_environment(void);
/* For what is wrong before the ranks know each other, and so with all of them: the sentence stays with one,
 * who has time to say it before the launcher ends it for another one's end. Returns `status`. */
tv_status tv_launcher_fail(tv_status status);

/* Ranks but 0 speak of errors alone: once more, when options have chosen what is said. */
void tv_ranks_hush(const tv_ranks *ranks);

/* *ranks is NULL for a process alone, and hushed. TV_E_USAGE where a launcher started several and there is no
 * module for MPI, or one for another MPI; TV_E_CONFIG where they are different programs. */
tv_status tv_ranks_start(tv_ranks **ranks);
/* By all, whatever their status; returns it. Where a rank fails alone it says so, as `who`, and ends all,
 * wherever the others are; where all fail together one of them says it. The sentence is empty then. */
tv_status tv_ranks_end(tv_ranks **ranks, tv_status status, const char *who);

uint32_t tv_ranks_count(const tv_ranks *ranks);
uint32_t tv_ranks_own(const tv_ranks *ranks);
uint32_t tv_ranks_local(const tv_ranks *ranks); /* number among those of its host */
/* Whether this one speaks, writes and checkpoints. */
bool tv_ranks_leads(const tv_ranks *ranks);
const char *tv_ranks_host(const tv_ranks *ranks, uint32_t rank);

/* By all. `data` of rank `root` for every rank. */
tv_status tv_ranks_broadcast(tv_ranks *ranks, uint32_t root, void *data, uint64_t bytes);
/* By all. `bytes` (at most 1 MiB) of every rank, in their order, into `all`. */
tv_status tv_ranks_gather(tv_ranks *ranks, const void *own, uint64_t bytes, void *all);
/* By all. Bytes of any length of every rank: *all, which is the caller's to free, has them one behind the
 * other in the ranks' order, and ends[r], of each rank, says where those of r end. */
tv_status tv_ranks_collect(tv_ranks *ranks, const void *own, uint64_t bytes, uint8_t **all, uint64_t *ends);
/* By all. The least of the ranks' numbers. */
tv_status tv_ranks_least(tv_ranks *ranks, uint64_t own, uint64_t *least);
/* By all. What this rank sends each other and receives from each: `bytes` at `data`, for every rank, its own
 * left out. What one sends another receives: the same number of bytes, of any size. */
typedef struct tv_ranks_bytes {
    void *data;
    uint64_t bytes;
} tv_ranks_bytes;
tv_status tv_ranks_exchange(tv_ranks *ranks, const tv_ranks_bytes *receives, const tv_ranks_bytes *sends);
/* By all. Whether it is true of any. */
tv_status tv_ranks_any(tv_ranks *ranks, bool own, bool *any);
/* By all. TV_OK where that is everybody's status; else a failure for everybody. One that fails alone, on the
 * way to this, while the others are in what they do together before it, ends all with its sentence. */
tv_status tv_ranks_agree(tv_ranks *ranks, tv_status own);
/* Whether a failure is everybody's, so that what all do together may follow it; always true alone. */
bool tv_ranks_agreed(const tv_ranks *ranks);

/* By all. What must be the same everywhere, each as a hash with its name; the sentence says which rank has
 * another one of what. */
typedef struct tv_likeness {
    const char *what; /* "settings" */
    uint64_t hash;
} tv_likeness;
enum { TV_MOST_LIKENESSES = 8 };
tv_status tv_ranks_expect_alike(tv_ranks *ranks, const tv_likeness *likenesses, uint32_t count);

/* ---- letters to rank 0, while all do something else ---- */

/* `letter` lasts until it returns. */
typedef tv_status (*tv_rank_reader)(void *context, const void *letter, uint64_t bytes);
/* By another rank than 0; the bytes, fewer than 2^31, are copied, and nothing is waited for. */
tv_status tv_ranks_post(tv_ranks *ranks, const void *letter, uint64_t bytes);
/* By rank 0: reads what has come, a rank's letters in their order. */
tv_status tv_ranks_read_letters(tv_ranks *ranks, tv_rank_reader read, void *context);
/* By all: all letters are out of their writers' hands and rank 0, where the others' since the last time are
 * `count`, has read them. The others need neither count nor reader. `most_bytes`, of all letters together,
 * are what is waited for. */
tv_status tv_ranks_deliver(tv_ranks *ranks, uint64_t count, uint64_t most_bytes, tv_rank_reader read,
                           void *context);

/* ---- questions of rank 0, while it writes what others keep ---- */

/* What a rank answers with: `bytes` of what `what` says. Offers are numbered in their order, the same on all
 * ranks; one that is withdrawn leaves its number behind. */
typedef struct tv_rank_question {
    uint32_t offer, owner;
    uint64_t what[3], bytes;
} tv_rank_question;
typedef tv_status (*tv_rank_answer)(void *context, const tv_rank_question *question, void *out);
enum { TV_MOST_OFFERS = 8 };
tv_status tv_ranks_offer(tv_ranks *ranks, tv_rank_answer answer, void *context, uint32_t *offer);
void tv_ranks_withdraw(tv_ranks *ranks, uint32_t offer);
/* By rank 0, of another rank, while all others are in tv_ranks_serve, which returns after tv_ranks_dismiss.
 * TV_E_USAGE before tv_ranks_begin_asking, as on other ranks always. */
void tv_ranks_begin_asking(tv_ranks *ranks);
tv_status tv_ranks_ask(tv_ranks *ranks, const tv_rank_question *question, void *out);
tv_status tv_ranks_dismiss(tv_ranks *ranks);
tv_status tv_ranks_serve(tv_ranks *ranks);

/* Seconds that this rank has waited for others in transfers. */
double tv_ranks_waited(const tv_ranks *ranks);

#endif
