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
/* By all, at the end of `seconds` of steps, evaluations and checkpoints: how much of that the ranks handed
 * gradients round and waited for each other (`waited` here), and for whom. */
tv_status tv_ranks_say_waits(tv_ranks *ranks, double waited, double seconds);
/* By all, when run->now is known: the same program, settings, inputs, model and checkpoint everywhere. */
tv_status tv_ranks_compare_runs(tv_run *run);

/* By all, of a command that trains nothing: the same program, settings (as a text) and files everywhere. */
typedef struct tv_ranks_files {
    const char *model, *adapter; /* as a person names them; an adapter may be NULL */
    const char *what;            /* "file of prompts", as the sentence calls the data */
    const char *const *data;
    uint64_t count;
} tv_ranks_files;
tv_status tv_ranks_compare_files(tv_ranks *ranks, const char *settings, const tv_ranks_files *files);

#endif
