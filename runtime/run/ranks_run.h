/* What a run of several ranks has beside one alone: a device for each, and that they are of one mind.
 */
#ifndef TV_RUN_RANKS_RUN_H
#define TV_RUN_RANKS_RUN_H

#include "run/run.h"

/* The device that a rank opens: of the usable ones of the best kind, by its number on the host; `given`
 * (NULL: nothing) stands over that. Fills `text`, which *options then names. */
tv_status tv_rank_device(const tv_ranks *ranks, const tv_device_options *given, char *text, uint64_t size,
                         tv_device_options *options);
/* By all. Says who has what, and warns where two share one. */
tv_status tv_ranks_say_devices(tv_ranks *ranks, const tv_device *device);
/* By all: the sum of *peak over the ranks' devices, each of them once; 0 where one is not known. */
tv_status tv_ranks_sum_peaks(tv_ranks *ranks, const tv_device *device, double *peak);
/* By all: *least, which `waited` the fewest seconds, since the others waited for it, and how many *more the
 * one waited that waited most. */
tv_status tv_ranks_compare_waits(tv_ranks *ranks, double waited, uint32_t *least, double *more);
/* By all, at the end of work that began `since`: what share of the time the ranks waited for each other and
 * what they handed round, and for whom. */
typedef struct tv_ranks_since {
    double seconds, waited;
} tv_ranks_since;
tv_ranks_since tv_ranks_now(const tv_ranks *ranks);
tv_status tv_ranks_say_waits(tv_ranks *ranks, tv_ranks_since since);
/* By all, when run->now is known: the same settings, inputs, model and checkpoint everywhere. */
tv_status tv_ranks_compare_runs(tv_run *run);

/* By all, of a command that trains nothing: the same settings (as a text) and files everywhere. */
typedef struct tv_ranks_files {
    const char *model, *adapter; /* as a person names them; an adapter may be NULL */
    const char *what;            /* "file of prompts", as the sentence calls the data */
    const char *const *data;
    uint64_t count;
} tv_ranks_files;
tv_status tv_ranks_compare_files(tv_ranks *ranks, const char *settings, const tv_ranks_files *files);

#endif
