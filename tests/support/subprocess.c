/* fork and exec with two temporary files for the output: see subprocess.h. */
#include "support/subprocess.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <sys/resource.h>
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

tv_child tv_child_start(const char *const *argv) {
    /* Files and not pipes: nothing blocks, however much is printed. */
    tv_child child = {.pid = -1, .out = tmpfile(), .err = tmpfile()};
    if (child.out && child.err)
        child.pid = fork();
    if (child.pid == 0) {
#ifdef __linux__
        /* A test that fails leaves nothing behind that goes on serving, or holds what it inherited. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
        int empty = open("/dev/null", O_RDONLY);
        signal(SIGXFSZ, SIG_IGN);
        if (empty < 0 || dup2(empty, STDIN_FILENO) < 0 || dup2(fileno(child.out), STDOUT_FILENO) < 0 ||
            dup2(fileno(child.err), STDERR_FILENO) < 0)
            _exit(127);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return child;
}

bool tv_child_runs(const tv_child *child) {
    siginfo_t info = {0};
    return child->pid > 0 && waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

tv_child_result tv_child_wait(tv_child *child) {
    tv_child_result run = {.exit_code = -1};
    struct rusage usage;
    int status = 0;
    if (child->pid > 0 && wait4(child->pid, &status, 0, &usage) == child->pid) {
        run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        run.peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024;
        run.out = read_back(child->out);
        run.err = read_back(child->err);
    }
    if (child->out)
        fclose(child->out);
    if (child->err)
        fclose(child->err);
    *child = (tv_child){.pid = -1};
    return run;
}

tv_child_result tv_child_run(const char *const *argv) {
    tv_child child = tv_child_start(argv);
    return tv_child_wait(&child);
}

void tv_child_result_free(tv_child_result *run) {
    free(run->out);
    free(run->err);
    *run = (tv_child_result){0};
}
