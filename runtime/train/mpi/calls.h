/* What a run's ranks ask of MPI, as a table of functions: the only door between trivium and mpi.h.
 *
 * Promise: no type of MPI passes it, and the file behind it (calls.c) is a module of its own that is loaded
 * only under a launcher of MPI, so that neither the command nor the library needs MPI. Nothing blocks: a
 * transfer is begun and asked for, so that waiting costs no processor. One transfer is under way at a time;
 * beats are apart from them, from another thread.
 */
#ifndef TV_TRAIN_MPI_CALLS_H
#define TV_TRAIN_MPI_CALLS_H

#include <stdint.h>

enum { TV_MPI_CALLS_VERSION = 5, TV_MPI_HOST_BYTES = 64, TV_MPI_REPORT_BYTES = 64 };

typedef struct tv_mpi_place {
    int count, own; /* ranks, and which this one is */
    int local;      /* number of this rank among those of its host */
    int threads;    /* whether several threads may call */
    char host[TV_MPI_HOST_BYTES];
    char library[128]; /* what MPI calls itself, one line */
} tv_mpi_place;

/* Bytes from or for another rank. */
typedef struct tv_mpi_bytes {
    int rank, bytes; /* of at most 2^31 - 1 */
    void *data;
} tv_mpi_bytes;

typedef struct tv_mpi_calls {
    int version; /* TV_MPI_CALLS_VERSION */
    void (*begin)(tv_mpi_place *place);
    /* A collective transfer of at most 2^31 - 1 bytes. */
    void (*begin_broadcast)(int root, void *data, int bytes);
    void (*begin_gather)(const void *own, void *all, int bytes); /* `bytes` of every rank, in their order */
    /* The same apart from all others, so that a rank that is here while others are in those harms nobody. */
    void (*begin_agreement)(const void *own, void *all, int bytes);
    /* From each rank to each; what one sends another awaits in the same order. Fails, with a code that is not
     * 0, without memory. */
    int (*begin_exchange)(const tv_mpi_bytes *receives, int receive_count, const tv_mpi_bytes *sends,
                          int send_count);
    int (*has_ended)(void); /* of the transfer that was begun */
    /* Bytes (at most 2^31 - 1, copied) for rank 0, from another one. Fails, with a code that is not 0,
     * without memory. */
    int (*post)(const void *letter, int bytes);
    int (*posted)(void); /* whether all of them are out of this rank's hands */
    /* By rank 0: 1 where one more has come, which stays until this is called again; 0: none has; -1 without
     * memory. Those of one rank come in their order. */
    int (*letter)(int *from, const void **letter, int *bytes);
    /* Signs of life. */
    void (*beat)(int to);
    int (*heard)(int from); /* whether one came since the last time that it was asked */
    /* What another rank tells rank 0, from the same thread; one that is still on its way stands for the next.
     * `bytes` are at most TV_MPI_REPORT_BYTES and the same each time. */
    void (*report)(const void *report, int bytes);
    int (*reported)(int *from, void *report, int bytes); /* by rank 0: whether there was one more */
    void (*abort)(int code);
    void (*end)(void);
} tv_mpi_calls;

/* The module's one symbol. */
#define TV_MPI_CALLS_SYMBOL "tv_mpi_calls_of_module"

#endif
