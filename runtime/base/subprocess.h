/* A program that answers lines with lines: a judge, or a scorer of texts.
 *
 * Promise: it is started once through /bin/sh -c; sending never blocks, however slowly it reads, so several
 * lines may be in flight; its end is found and said with its exit code, and never ends this process (no
 * SIGPIPE). There is no time limit on an answer unless one is set; after half a minute without one a message
 * says what is being waited for. Its standard error is this process's own. One thread uses it at a time.
 */
#ifndef TV_BASE_SUBPROCESS_H
#define TV_BASE_SUBPROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tv_subprocess tv_subprocess;

/* A command that the shell cannot find shows at the first answer. */
tv_status tv_subprocess_start(const char *command, tv_subprocess **process);

/* From here on tv_subprocess_receive waits so many seconds and then fails with TV_E_DATA; 0: without end. */
void tv_subprocess_set_limit(tv_subprocess *process, double seconds);

/* Queues the line and its newline, and writes what the program takes at once. Lines for a program that has
 * ended are dropped: tv_subprocess_receive tells. */
tv_status tv_subprocess_send(tv_subprocess *process, const char *line, uint64_t length);

/* Waits so many seconds at most until tv_subprocess_receive would not wait (*came); fails as it does. The
 * limit counts from when the line was first waited for. */
tv_status tv_subprocess_await(tv_subprocess *process, double seconds, bool *came);

/* Waits for the next line; *line is without its newline, terminated by zero, and lasts until the next call.
 * TV_E_DATA when the program ended or wrote an endless line; TV_E_INTERRUPTED after Ctrl-C (base/os.h). */
tv_status tv_subprocess_receive(tv_subprocess *process, const char **line, uint64_t *length);

/* What it wrote and nobody received yet, whole lines or not, after waiting `seconds` at most for something to
 * come; *bytes lasts until the next call. */
tv_status tv_subprocess_waiting(tv_subprocess *process, double seconds, const char **bytes, uint64_t *size);
/* Bytes sent that it has not read. */
uint64_t tv_subprocess_unread(const tv_subprocess *process);
/* Closes its input and takes what it still writes until it ends, for two seconds at most. */
tv_status tv_subprocess_finish(tv_subprocess *process, const char **bytes, uint64_t *size);

/* Closes its input and waits for its end, two seconds at most; then it is killed with all that it started. */
void tv_subprocess_close(tv_subprocess **process);

#endif
