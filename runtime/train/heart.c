/* Signs of life, and waits that never end: see heart.h. */
#include "train/heart.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/os.h"

static const double beat_seconds = 0.5,
                    bytes_per_second = 1e6; /* of the slowest network that trains anything */
enum { ENDED_ALL = 1 };                     /* the exit code of an end that a rank brings about */

struct tv_heart {
    const tv_mpi_calls *calls;
    const tv_mpi_place *place;
    const char (*hosts)[TV_MPI_HOST_BYTES];
    double limit;
    tv_thread *thread;
    tv_mutex *mutex; /* for `at` */
    tv_rank_at at;
    tv_rank_watch *watches; /* (ranks) of rank 0; the thread's own, as is what follows */
    double *reported;       /* (ranks) when */
    atomic_bool ends, lost; /* this rank leaves; all ranks end */
};

/* ---- waits that never end ---- */

static bool meet(const tv_rank_at *a, const tv_rank_at *b) {
    return a->number == b->number && a->kind == b->kind && a->root == b->root && a->bytes == b->bytes;
}

/* Reports are of different moments: of those who have just met, one may be told of as waiting and another one
 * as long gone, and so only where nobody moves is there anything to see. */
static bool waits_for_ever(const tv_rank_watch *ranks, uint32_t count, uint32_t rank, double limit,
                           uint32_t *past) {
    const tv_rank_at *at = &ranks[rank].at;
    const double longest = limit + (double)at->moves / bytes_per_second;
    bool all_wait = true;
    *past = rank;
    for (uint32_t r = 0; r < count; r++) {
        const tv_rank_at *other = &ranks[r].at;
        if (other->number < at->number)
            return false; /* and may come, if it does not wait for ever itself */
        if (ranks[r].since < longest)
            return false;
        all_wait = all_wait && other->waits;
        if (*past == rank && !meet(at, other))
            *past = r;
    }
    return *past != rank || all_wait;
}

bool tv_find_deadlock(const tv_rank_watch *ranks, uint32_t count, double limit, uint32_t *waits,
                      uint32_t *past) {
    for (*waits = 0; *waits < count; ++*waits)
        if (ranks[*waits].at.waits && waits_for_ever(ranks, count, *waits, limit, past))
            return true;
    return false;
}

static void describe(const tv_rank_at *at, char *text, uint64_t size) {
    static const char *const names[TV_TRANSFER_KINDS] = {"a broadcast", "a gathering", "an agreement",
                                                         "an exchange", "a delivery"};
    const char *name = at->kind >= 0 && at->kind < TV_TRANSFER_KINDS ? names[at->kind] : "an unknown one";
    snprintf(text, size, "transfer %" PRIu64 " (%s of %" PRIu64 " B)", at->number, name,
             at->bytes ? at->bytes : at->moves);
}

void tv_describe_deadlock(const tv_rank_watch *ranks, const char (*hosts)[TV_MPI_HOST_BYTES], uint32_t waits,
                          uint32_t past, char *text, uint64_t size) {
    char here[96], there[96];
    describe(&ranks[waits].at, here, sizeof here);
    describe(&ranks[past].at, there, sizeof there);
    if (waits == past)
        snprintf(text, size,
                 "all ranks have waited for %.0f s in %s, rank %u on %s the longest, and none gets further: "
                 "the network carries nothing between them, or this is a fault of trivium",
                 ranks[waits].since, here, waits, hosts[waits]);
    else
        snprintf(
            text, size,
            "rank %u on %s has waited for %.0f s in %s, and rank %u on %s %s %s: they never meet, which is a "
            "fault of trivium",
            waits, hosts[waits], ranks[waits].since, here, past, hosts[past],
            ranks[past].at.waits ? "waits in" : "is behind", there);
}

/* A rank's clock counts as long as it says so, beat after beat. */
static void note(tv_heart *heart, uint32_t rank, const tv_rank_at *at) {
    tv_rank_watch *watch = &heart->watches[rank];
    const double now = tv_seconds(), passed = now - heart->reported[rank];
    const bool still = at->number == watch->at.number;
    watch->since = still ? watch->since + (passed < 2 * beat_seconds ? passed : 2 * beat_seconds) : 0;
    watch->at = *at;
    heart->reported[rank] = now;
}

/* ---- life ---- */

static void end_all(tv_heart *heart, const char *sentence) {
    if (atomic_load(&heart->ends))
        return;
    (void)tv_fail(TV_E_IO, "%s; all ranks end, and the last checkpoint stands", sentence);
    atomic_store(&heart->lost, true); /* whose step is not gone on with, if it wakes up to be ended */
    tv_log_failure("trivium");
    heart->calls->abort(ENDED_ALL);
}

static void expect_signs(tv_heart *heart, int before, double silent) {
    char text[256];
    if (silent < heart->limit)
        return;
    snprintf(
        text, sizeof text,
        "rank %d on %s has given no sign of life for %.0f s: it is stopped, or its machine or the network is "
        "gone",
        before, heart->hosts[before], silent);
    end_all(heart, text);
}

static void expect_progress(tv_heart *heart) {
    uint32_t waits, past;
    char text[512];
    if (!tv_find_deadlock(heart->watches, (uint32_t)heart->place->count, heart->limit, &waits, &past))
        return;
    tv_describe_deadlock(heart->watches, heart->hosts, waits, past, text, sizeof text);
    end_all(heart, text);
}

/* Of this rank to rank 0, of the others by rank 0. */
static void report(tv_heart *heart) {
    tv_mutex_lock(heart->mutex);
    tv_rank_at at = heart->at;
    tv_mutex_unlock(heart->mutex);
    if (heart->place->own == 0)
        note(heart, 0, &at);
    else
        heart->calls->report(&at, sizeof at);
}

/* Each rank listens to the one before it, in a ring. */
static void live(void *context) {
    tv_heart *heart = context;
    const int count = heart->place->count, own = heart->place->own;
    const int before = (own + count - 1) % count, behind = (own + 1) % count;
    double last = tv_seconds(), beaten = 0;
    while (!atomic_load(&heart->ends)) {
        double now = tv_seconds();
        if (now - beaten >= beat_seconds) {
            /* A rank that was stopped itself has heard nobody: it listens before it complains. */
            if (now - beaten > heart->limit / 2)
                last = now;
            heart->calls->beat(behind);
            report(heart);
            beaten = now;
        }
        if (heart->calls->heard(before))
            last = tv_seconds();
        expect_signs(heart, before, tv_seconds() - last);
        if (own == 0) {
            int from;
            tv_rank_at at;
            while (heart->calls->reported(&from, &at, sizeof at))
                note(heart, (uint32_t)from, &at);
            expect_progress(heart);
        }
        tv_sleep(beat_seconds / 5);
    }
}

tv_status tv_heart_start(const tv_mpi_calls *calls, const tv_mpi_place *place,
                         const char (*hosts)[TV_MPI_HOST_BYTES], double limit, tv_heart **out) {
    *out = NULL;
    tv_status status;
    tv_heart *heart = calloc(1, sizeof *heart);
    if (!heart)
        return tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
    *heart = (tv_heart){.calls = calls, .place = place, .hosts = hosts, .limit = limit};
    heart->watches = calloc((size_t)place->count, sizeof *heart->watches);
    heart->reported = calloc((size_t)place->count, sizeof *heart->reported);
    if (!heart->watches || !heart->reported) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
        goto fail;
    }
    TV_TRY_OR_FAIL(tv_mutex_create(&heart->mutex));
    TV_TRY_OR_FAIL(tv_thread_start(&heart->thread, live, heart));
    *out = heart;
    return TV_OK;
fail:
    tv_heart_stop(&heart);
    return status;
}

void tv_heart_stop(tv_heart **handle) {
    tv_heart *heart = *handle;
    if (!heart)
        return;
    atomic_store(&heart->ends, true);
    tv_thread_join(&heart->thread);
    tv_mutex_destroy(&heart->mutex);
    free(heart->watches);
    free(heart->reported);
    free(heart);
    *handle = NULL;
}

bool tv_heart_lost(tv_heart *heart) {
    return heart && atomic_load(&heart->lost);
}

void tv_heart_enter(tv_heart *heart, const tv_rank_at *at, bool waits) {
    if (!heart)
        return;
    tv_mutex_lock(heart->mutex);
    const uint64_t number = heart->at.number + 1;
    heart->at = *at;
    heart->at.number = number;
    heart->at.waits = waits;
    tv_mutex_unlock(heart->mutex);
}

void tv_heart_leave(tv_heart *heart) {
    if (!heart)
        return;
    tv_mutex_lock(heart->mutex);
    heart->at.waits = false;
    tv_mutex_unlock(heart->mutex);
}
