/* Runs a program and keeps what it printed, for tests of the command. */
#ifndef TV_TESTS_SUBPROCESS_H
#define TV_TESTS_SUBPROCESS_H

#include <stdint.h>

typedef struct tv_run {
    int exit_code; /* 128 + signal when a signal ended it; -1 when it could not be started */
    char *out;     /* standard output, terminated by zero */
    char *err;     /* standard error */
} tv_run;

/* argv ends with NULL; argv[0] is the program's path. Standard input is empty. Free with tv_run_free. */
tv_run tv_run_program(const char *const *argv);
void tv_run_free(tv_run *run);

/* tv_run_program of the built trivium command with these arguments; only in tests that CMake gave
 * TRIVIUM_COMMAND. */
#define tv_run_trivium(...) tv_run_program((const char *const[]){TRIVIUM_COMMAND, __VA_ARGS__, NULL})

#endif
