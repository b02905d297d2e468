/* POSIX behind trial.h. */
#include "base/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"

/* The exit code of answer 0: crashed libraries use 0, 1 and 255, shells 126 and more. */
enum { FIRST_ANSWER = 32, ANSWERS = 64 };
static const double look_seconds = 0.001;

static _Noreturn void be_tried(int (*work)(void *), void *context) {
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGINT, SIGTERM};
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        (void)signal(fatal[i], SIG_DFL);
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere >= 0) {
        dup2(nowhere, STDOUT_FILENO);
        dup2(nowhere, STDERR_FILENO);
    }
    _exit(FIRST_ANSWER + work(context));
}

tv_trial tv_try_apart(int (*work)(void *), void *context, double seconds, int *answer) {
    pid_t pid = fork();
    if (pid < 0)
        return TV_TRIAL_NOT_MADE;
    if (pid == 0)
        be_tried(work, context);
    bool hung = false;
    double start = tv_seconds();
    int status = 0;
    for (;;) {
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid)
            break;
        /* Where a program ignores SIGCHLD its children leave no status behind. */
        if (ended < 0 && errno != EINTR)
            return TV_TRIAL_NOT_MADE;
        if (!hung && tv_seconds() - start > seconds) {
            hung = true;
            kill(pid, SIGKILL);
        }
        const struct timespec rest = {.tv_nsec = (long)(look_seconds * 1e9)};
        nanosleep(&rest, NULL);
    }
    if (hung)
        return TV_TRIAL_HUNG;
    if (!WIFEXITED(status) || WEXITSTATUS(status) < FIRST_ANSWER ||
        WEXITSTATUS(status) >= FIRST_ANSWER + ANSWERS)
        return TV_TRIAL_CRASHED;
    *answer = WEXITSTATUS(status) - FIRST_ANSWER;
    return TV_TRIAL_ANSWERED;
}
