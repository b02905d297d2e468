/* A program that does a step for this one, to its end, with this process's own input and output.
 *
 * Promise: it is started once through /bin/sh -c, in a process group of its own, so that Ctrl-C is ours to
 * hand on; what asks this process to stop (base/os.h) reaches it as SIGUSR1, once, and it is waited for.
 * Where this process is killed, it is asked in the same way.
 */
#ifndef TV_BASE_LAUNCHED_H
#define TV_BASE_LAUNCHED_H

#include "base/status.h"

/* *exit_code is its own, or 128 + the signal that ended it. TV_E_IO where no process can be made. */
tv_status tv_run_program(const char *command, int *exit_code);

#endif
