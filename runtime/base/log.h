/* Messages for people, on standard error or to the callback of trivium/log.h.
 *
 * Promise: one line per call, of which a terminal shows every character (visible.h), whatever names and texts
 * are in it; `--quiet` hides everything below a warning. Results that programs read go to standard output and
 * never through here.
 */
#ifndef TV_BASE_LOG_H
#define TV_BASE_LOG_H

#include <stdbool.h>

#include "trivium/log.h"

void tv_log(tv_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define tv_debug(...) tv_log(TV_LOG_DEBUG, __VA_ARGS__)
#define tv_info(...)  tv_log(TV_LOG_INFO, __VA_ARGS__)
#define tv_warn(...)  tv_log(TV_LOG_WARNING, __VA_ARGS__)

/* "WHO: " and the thread's last sentence (status.h), at every level; always on standard error. */
void tv_log_failure(const char *who);

/* A line that replaces itself on a terminal (train progress); nothing when standard error is not a terminal,
 * or a callback is set. The next tv_log ends it. */
void tv_log_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends such a line, for whoever writes to standard error or standard output directly. */
void tv_log_progress_end(void);
/* Takes such a line away, for one that says the same and stays. */
void tv_log_progress_clear(void);

#endif
