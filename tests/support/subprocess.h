/* Runs a program and keeps what it printed, for tests of the command. */
#ifndef TV_TESTS_SUBPROCESS_H
#define TV_TESTS_SUBPROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

typedef struct tv_child_result {
    int exit_code;           /* 128 + signal when a signal ended it; -1 when it could not be started */
    uint64_t peak_rss_bytes; /* the most host memory that it had at once */
    char *out;               /* standard output, terminated by zero */
    char *err;               /* standard error */
} tv_child_result;

/* argv ends with NULL; argv[0] is the program's path. Standard input is empty. Free with
 * tv_child_result_free. */
tv_child_result tv_child_run(const char *const *argv);
void tv_child_result_free(tv_child_result *run);

/* The same in two halves, for tests that disturb the program while it runs. SIGXFSZ is ignored in the child,
 * so that a file-size limit is an error of write(). */
typedef struct tv_child {
    pid_t pid; /* -1: it could not be started */
    FILE *out, *err;
} tv_child;
tv_child tv_child_start(const char *const *argv);
/* False once it has ended; it stays a zombie, so its pid stays its own, until tv_child_wait. */
bool tv_child_runs(const tv_child *child);
/* Waits for its end and takes the handle back. */
tv_child_result tv_child_wait(tv_child *child);

/* tv_child_run of the built trivium command with these arguments; only in tests that CMake gave
 * TRIVIUM_COMMAND. */
#define tv_run_trivium(...)   tv_child_run((const char *const[]){TRIVIUM_COMMAND, __VA_ARGS__, NULL})
#define tv_start_trivium(...) tv_child_start((const char *const[]){TRIVIUM_COMMAND, __VA_ARGS__, NULL})

#endif
