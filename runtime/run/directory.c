/* Checks and lock of the directory: see directory.h. */
#include "run/directory.h"

#include <stdlib.h>

#include "base/files.h"
#include "run/checkpoint.h"

/* A run is continued only with --resume, and nothing that is not a run is written over. One that ended before
 * its first checkpoint has nothing to continue and may be started anew. */
tv_status tv_run_check_directory(const tv_run *r) {
    const char *run = r->options->run;
    char *found = NULL, *config = tv_format("%s/config.json", run),
         *description = tv_format("%s/run.json", run);
    tv_status status = TV_OK;
    if (!config || !description)
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
    else if (tv_path_exists(run) && !tv_path_is_directory(run))
        status = tv_fail(TV_E_USAGE, "--out %s: expected a directory or a new name, found a file", run);
    else if (tv_path_exists(config) && !tv_path_exists(description))
        status = tv_fail(TV_E_USAGE,
                         "%s holds a config.json that is not a run's, and it would be written over; name "
                         "another directory with --out",
                         run);
    if (status == TV_OK && !r->options->resume) {
        status = tv_checkpoint_find_last(run, &found);
        if (status == TV_OK)
            status = tv_fail(
                TV_E_USAGE,
                "%s already holds a run; continue it with --resume, or name another directory with --out",
                run);
        else if (status == TV_E_CONFIG)
            status = TV_OK;
    }
    free(found);
    free(config);
    free(description);
    return status;
}

/* The directory for this process alone, and once more what was said of it before. */
tv_status tv_run_take_directory(tv_run *run) {
    TV_RETURN_IF_FAILED(tv_lock_directory(run->options->run, &run->lock));
    return tv_run_check_directory(run);
}

/* At the start only where a run is: a directory of something else gets no file before all is known to be
 * well.
 */
tv_status tv_run_take_begun_directory(tv_run *run) {
    char *description = tv_format("%s/run.json", run->options->run);
    if (!description)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    bool begun = tv_path_exists(description);
    free(description);
    return begun && !run->options->dry_run ? tv_run_take_directory(run) : TV_OK;
}
