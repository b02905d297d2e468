/* The module that speaks MPI: see calls.h. Errors are MPI's to say: its default handler ends every rank. */
#include "train/mpi/calls.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* MPI is one for a process, and so is this. */
static MPI_Comm transfers, agreements, letters, beats;
static MPI_Request transfer = MPI_REQUEST_NULL, sent = MPI_REQUEST_NULL, told = MPI_REQUEST_NULL;
static MPI_Request *pairs;
static MPI_Status *pair_ends; /* which MPICH's MPI_STATUSES_IGNORE is to GCC no place for */
static int pair_count, pair_room;
static const char sign = 1;
static char telling[TV_MPI_REPORT_BYTES];
enum { BEAT_TAG, PAIR_TAG, REPORT_TAG, LETTER_TAG };
/* Of another rank: letters on their way, the last one first. */
static struct letter {
    struct letter *before;
    MPI_Request request;
    char text[];
} * outgoing;
/* Of rank 0: the one that comes in. */
static struct {
    MPI_Request request;
    char *text;
    int from, bytes, room;
} incoming = {.request = MPI_REQUEST_NULL};

static void begin(tv_mpi_place *place) {
    int provided, length;
    char name[MPI_MAX_PROCESSOR_NAME + 1] = "", library[MPI_MAX_LIBRARY_VERSION_STRING + 1] = "";
    MPI_Comm host;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_dup(MPI_COMM_WORLD, &transfers);
    MPI_Comm_dup(MPI_COMM_WORLD, &agreements);
    MPI_Comm_dup(MPI_COMM_WORLD, &letters);
    MPI_Comm_dup(MPI_COMM_WORLD, &beats);
    MPI_Comm_size(transfers, &place->count);
    MPI_Comm_rank(transfers, &place->own);
    MPI_Comm_split_type(transfers, MPI_COMM_TYPE_SHARED, place->own, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, &place->local);
    MPI_Comm_free(&host);
    place->threads = provided == MPI_THREAD_MULTIPLE;
    MPI_Get_processor_name(name, &length);
    MPI_Get_library_version(library, &length);
    library[strcspn(library, ",\r\n")] = '\0';
    snprintf(place->host, sizeof place->host, "%.63s", name);
    snprintf(place->library, sizeof place->library, "%.127s", library);
}

static void begin_broadcast(int root, void *data, int bytes) {
    MPI_Ibcast(data, bytes, MPI_BYTE, root, transfers, &transfer);
}

static void begin_gather(const void *own, void *all, int bytes) {
    MPI_Iallgather(own, bytes, MPI_BYTE, all, bytes, MPI_BYTE, transfers, &transfer);
}

static void begin_agreement(const void *own, void *all, int bytes) {
    MPI_Iallgather(own, bytes, MPI_BYTE, all, bytes, MPI_BYTE, agreements, &transfer);
}

static int begin_exchange(const tv_mpi_bytes *receives, int receive_count, const tv_mpi_bytes *sends,
                          int send_count) {
    const int count = receive_count + send_count;
    if (count > pair_room) {
        MPI_Request *more = realloc(pairs, (size_t)count * sizeof *more);
        if (more)
            pairs = more;
        MPI_Status *ends = realloc(pair_ends, (size_t)count * sizeof *ends);
        if (ends)
            pair_ends = ends;
        if (!more || !ends)
            return 1;
        pair_room = count;
    }
    pair_count = count;
    for (int i = 0; i < receive_count; i++)
        MPI_Irecv(receives[i].data, receives[i].bytes, MPI_BYTE, receives[i].rank, PAIR_TAG, transfers,
                  &pairs[i]);
    for (int i = 0; i < send_count; i++)
        MPI_Isend(sends[i].data, sends[i].bytes, MPI_BYTE, sends[i].rank, PAIR_TAG, transfers,
                  &pairs[receive_count + i]);
    return 0;
}

static int has_ended(void) {
    int ended;
    if (pair_count > 0) {
        MPI_Testall(pair_count, pairs, &ended, pair_ends);
        if (ended)
            pair_count = 0;
        return ended;
    }
    MPI_Test(&transfer, &ended, MPI_STATUS_IGNORE);
    return ended;
}

static int is_gone(MPI_Request *request) {
    int gone = 1;
    if (*request != MPI_REQUEST_NULL)
        MPI_Test(request, &gone, MPI_STATUS_IGNORE);
    return gone;
}

/* ---- letters ---- */

static int posted(void) {
    for (struct letter **at = &outgoing; *at;) {
        struct letter *letter = *at;
        if (is_gone(&letter->request)) {
            *at = letter->before;
            free(letter);
        } else
            at = &letter->before;
    }
    return !outgoing;
}

static int post(const void *text, int bytes) {
    (void)posted();
    struct letter *letter = malloc(sizeof *letter + (size_t)bytes);
    if (!letter)
        return 1;
    memcpy(letter->text, text, (size_t)bytes);
    letter->before = outgoing;
    outgoing = letter;
    MPI_Isend(letter->text, bytes, MPI_BYTE, 0, LETTER_TAG, letters, &letter->request);
    return 0;
}

/* A long one comes in while this rank does something else. */
static int begin_letter(void) {
    int there;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, LETTER_TAG, letters, &there, &status);
    if (!there)
        return 0;
    incoming.from = status.MPI_SOURCE;
    MPI_Get_count(&status, MPI_BYTE, &incoming.bytes);
    if (incoming.bytes > incoming.room) {
        char *more = realloc(incoming.text, (size_t)incoming.bytes);
        if (!more)
            return -1;
        incoming.text = more;
        incoming.room = incoming.bytes;
    }
    MPI_Irecv(incoming.text, incoming.bytes, MPI_BYTE, incoming.from, LETTER_TAG, letters, &incoming.request);
    return 1;
}

static int letter(int *from, const void **text, int *bytes) {
    if (incoming.request == MPI_REQUEST_NULL) {
        const int begun = begin_letter();
        if (begun != 1)
            return begun;
    }
    if (!is_gone(&incoming.request))
        return 0;
    *from = incoming.from;
    *text = incoming.text;
    *bytes = incoming.bytes;
    return 1;
}

/* ---- signs of life ---- */

/* One that is still on its way stands for the next. */
static void beat(int to) {
    if (is_gone(&sent))
        MPI_Isend(&sign, 1, MPI_CHAR, to, BEAT_TAG, beats, &sent);
}

static int heard(int from) {
    int there, count = 0;
    char got;
    for (;;) {
        MPI_Iprobe(from, BEAT_TAG, beats, &there, MPI_STATUS_IGNORE);
        if (!there)
            return count > 0;
        MPI_Recv(&got, 1, MPI_CHAR, from, BEAT_TAG, beats, MPI_STATUS_IGNORE);
        count++;
    }
}

static void report(const void *what, int bytes) {
    if (!is_gone(&told))
        return;
    memcpy(telling, what, (size_t)bytes);
    MPI_Isend(telling, bytes, MPI_BYTE, 0, REPORT_TAG, beats, &told);
}

static int reported(int *from, void *what, int bytes) {
    int there;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, REPORT_TAG, beats, &there, &status);
    if (!there)
        return 0;
    *from = status.MPI_SOURCE;
    MPI_Recv(what, bytes, MPI_BYTE, *from, REPORT_TAG, beats, MPI_STATUS_IGNORE);
    return 1;
}

static void abort_all(int code) {
    MPI_Abort(MPI_COMM_WORLD, code);
}

static void end(void) {
    if (sent != MPI_REQUEST_NULL)
        MPI_Request_free(&sent);
    if (told != MPI_REQUEST_NULL)
        MPI_Request_free(&told);
    free(pairs);
    free(pair_ends);
    free(incoming.text);
    MPI_Finalize();
}

extern const tv_mpi_calls tv_mpi_calls_of_module;
__attribute__((visibility("default"))) const tv_mpi_calls tv_mpi_calls_of_module = {
    .version = TV_MPI_CALLS_VERSION,
    .begin = begin,
    .begin_broadcast = begin_broadcast,
    .begin_gather = begin_gather,
    .begin_agreement = begin_agreement,
    .begin_exchange = begin_exchange,
    .has_ended = has_ended,
    .post = post,
    .posted = posted,
    .letter = letter,
    .beat = beat,
    .heard = heard,
    .report = report,
    .reported = reported,
    .abort = abort_all,
    .end = end,
};
