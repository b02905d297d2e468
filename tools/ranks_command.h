/* A command that several ranks may run together, a device each: what training, sampling, scoring and
 * measuring share around their work.
 */
#ifndef TV_TOOLS_RANKS_COMMAND_H
#define TV_TOOLS_RANKS_COMMAND_H

#include "tools/options.h"
#include "train/ranks.h"

typedef struct tv_ranks_command {
    const tv_command_line *line;
    /* By all ranks (NULL: a process alone) when the arguments stand; line->common->device is the rank's. */
    tv_status (*run)(void *context, tv_ranks *ranks);
    void *context;
} tv_ranks_command;

/* Parses, runs, and ends all ranks where one fails. */
tv_status tv_ranks_command_run(const tv_ranks_command *command, int argc, char **argv);

#endif
