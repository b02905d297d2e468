/* fork and exec with two temporary files for the output: see subprocess.h. */
#include "support/subprocess.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The whole file behind `file`, from its start. */
static char *read_back(FILE *file) {
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    rewind(file);
    char *text = size < 0 ? NULL : calloc((size_t)size + 1, 1);
    if (text && fread(text, 1, (size_t)size, file) != (size_t)size)
        text[0] = '\0';
    return text;
}

tv_run tv_run_program(const char *const *argv) {
    tv_run run = {.exit_code = -1};
    /* Files and not pipes: nothing blocks, however much is printed. */
    FILE *out = tmpfile(), *err = tmpfile();
    pid_t child = out && err ? fork() : -1;
    if (child == 0) {
        int empty = open("/dev/null", O_RDONLY);
        if (empty < 0 || dup2(empty, STDIN_FILENO) < 0 || dup2(fileno(out), STDOUT_FILENO) < 0 ||
            dup2(fileno(err), STDERR_FILENO) < 0)
            _exit(127);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status = 0;
    if (child > 0 && waitpid(child, &status, 0) == child) {
        run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        run.out = read_back(out);
        run.err = read_back(err);
    }
    if (out)
        fclose(out);
    if (err)
        fclose(err);
    return run;
}

void tv_run_free(tv_run *run) {
    free(run->out);
    free(run->err);
    *run = (tv_run){0};
}
