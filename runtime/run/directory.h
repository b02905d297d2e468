/* Whose a run's directory is.
 *
 * Promise: a run is continued only on request, nothing that is no run is written over, and no two processes
 * write one directory.
 */
#ifndef TV_RUN_DIRECTORY_H
#define TV_RUN_DIRECTORY_H

#include "run/run.h"

/* TV_E_USAGE where the directory may not be begun, or continued, as it was asked for. */
tv_status tv_run_check_directory(const tv_run *run);
/* Locks it for this process alone, in run->lock, and checks it once more. */
tv_status tv_run_take_directory(tv_run *run);
/* The same where a run lies there already; a directory of something else gets no file before all is known to
 * be well. */
tv_status tv_run_take_begun_directory(tv_run *run);

#endif
