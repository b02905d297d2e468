/* The operating system beyond files: clock, threads, signals, terminal, environment, secrets.
 *
 * Promise: with files.h the only place that knows POSIX, so that a port is a new os.c and files.c.
 */
#ifndef TV_BASE_OS_H
#define TV_BASE_OS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Seconds of a clock that never goes back; only differences mean anything. */
double tv_seconds(void);
/* Seconds since 1970, for records that people read later. */
double tv_wall_seconds(void);
void tv_sleep(double seconds);

typedef struct tv_calendar {
    int year, month, day; /* from 1 */
    int hour, minute, second;
    int weekday;     /* from Sunday, 0 */
    int day_of_year; /* from 1 */
} tv_calendar;
/* Seconds since 1970, up to the year 9999: now, or what SOURCE_DATE_EPOCH in the environment says. */
int64_t tv_date_seconds(void);
/* The local date and time; with SOURCE_DATE_EPOCH in UTC. */
tv_calendar tv_calendar_at(int64_t seconds);

/* Bytes that nobody can guess, for secrets; what is drawn for training comes from base/rng.h. */
tv_status tv_random_bytes(void *bytes, uint64_t size);
/* The same as an even number of digits, 0-9 and a-f, and a terminating zero. */
tv_status tv_random_hex(char *text, uint64_t digits);

/* Columns of the terminal behind standard error; 0 when it is not a terminal. */
int tv_terminal_columns(void);
/* Whether a person looks at standard output, and no program or file gets it. */
bool tv_stdout_is_terminal(void);

/* Whether a person sits before standard input and standard error. */
bool tv_somebody_can_answer(void);
/* Shows "QUESTION [y/N] " on standard error and waits for a line; only y and yes are a yes, and the end of
 * the input is a no. */
bool tv_ask(const char *question);

/* After tv_catch_interrupts, Ctrl-C, SIGTERM and SIGUSR1 (which launchers hand on, and schedulers send before
 * time is up) set a flag that the training loop reads between steps; the second one ends the process at once.
 */
void tv_catch_interrupts(void);
bool tv_interrupted(void);
/* The same for Ctrl-C alone, from now on: one that was caught before is forgotten. */
void tv_catch_ctrl_c(void);
/* Whether it was set by now or is within a quarter of a second: Ctrl-C goes to a program that we started as
 * well, whose end may be seen before the signal is. */
bool tv_interrupted_with_it(void);

typedef struct tv_thread tv_thread;
typedef void (*tv_thread_main)(void *context);
/* The caller owns the handle; tv_thread_join waits, frees it and clears the pointer. */
tv_status tv_thread_start(tv_thread **thread, tv_thread_main main, void *context);
void tv_thread_join(tv_thread **thread);

typedef struct tv_mutex tv_mutex;
tv_status tv_mutex_create(tv_mutex **mutex);
void tv_mutex_destroy(tv_mutex **mutex);
void tv_mutex_lock(tv_mutex *mutex);
void tv_mutex_unlock(tv_mutex *mutex);

typedef struct tv_condition tv_condition;
tv_status tv_condition_create(tv_condition **condition);
void tv_condition_destroy(tv_condition **condition);
void tv_condition_wait(tv_condition *condition, tv_mutex *mutex);
void tv_condition_signal_all(tv_condition *condition);

/* The folder for caches of this user (XDG_CACHE_HOME or ~/.cache, then "/trivium"), created when absent.
 * TRIVIUM_CACHE_DIR replaces it. The caller frees *path. */
tv_status tv_cache_dir(char **path);

#endif
