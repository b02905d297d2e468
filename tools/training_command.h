/* What the commands that train share: their common options, and the result that they print.
 *
 * Promise: --seed, --data, --val and --val-fraction are short for settings, so that there is one place where
 * a setting comes from, and a run's config.json says all of it.
 */
#ifndef TV_TOOLS_TRAINING_COMMAND_H
#define TV_TOOLS_TRAINING_COMMAND_H

#include "run/run.h"
#include "tools/options.h"

typedef struct tv_training_command {
    const char *name, *summary, *notes;
    tv_stage_kind stage;           /* whose settings help names */
    const char *model_help;        /* of --model; NULL: the option is --init, as in pretraining */
    const char *data_option;       /* its name; NULL: "data" */
    const char *data_help;         /* of the option for data.train; NULL: the command takes none */
    const char *val_help;          /* of --val; NULL: the command takes none */
    const char *val_fraction_help; /* of --val-fraction X; NULL: the command takes none */
    const tv_option *more;         /* further options of the command */
    uint64_t more_count;
    tv_status (*run)(void *context, const tv_run_options *options, tv_run_result *result);
    void *context;
} tv_training_command;

/* Parses, runs, prints. */
tv_status tv_training_command_run(const tv_training_command *command, int argc, char **argv);

#endif
