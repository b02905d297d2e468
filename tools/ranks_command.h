/* A command that several ranks may run together, a device each: what training, sampling, scoring and
 * measuring share around their work.
 */
#ifndef TV_TOOLS_RANKS_COMMAND_H
#define TV_TOOLS_RANKS_COMMAND_H

#include "run/ranks_run.h"
#include "tools/options.h"
#include "train/ranks.h"

typedef struct tv_ranks_command {
    const tv_command_line *line;
    /* By all ranks (NULL: a process alone) when the arguments stand; line->common->device is the rank's. */
    tv_status (*run)(void *context, tv_ranks *ranks);
    void *context;
} tv_ranks_command;

/* A command that measures files with a model, within `run`. */
typedef struct tv_ranks_measuring {
    tv_ranks_files files;
    const char *settings; /* as a text, of which all ranks have the same */
    tv_status (*measure)(void *context);
    tv_status (*print_json)(const void *context);
    void (*print_text)(const void *context);
    void *context;
} tv_ranks_measuring;
/* By all: they have the same, measure together, and the first one prints. */
tv_status tv_ranks_measure(tv_ranks *ranks, const tv_ranks_measuring *measuring, bool json);

/* Parses, runs, and ends all ranks where one fails. */
tv_status tv_ranks_command_run(const tv_ranks_command *command, int argc, char **argv);

#endif
