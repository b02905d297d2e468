/* fork, exec and wait: see launched.h. */
#include "base/launched.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os.h"

/* In the child, which shares nothing with the parent's threads: only calls that are safe between fork and
 * exec. */
static void become(const char *command, pid_t parent) {
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    if (getppid() == parent)
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

tv_status tv_run_program(const char *command, int *exit_code) {
    const pid_t parent = getpid(), pid = fork();
    int ended = 0;
    pid_t found = 0;
    *exit_code = 0;
    if (pid == 0)
        become(command, parent);
    if (pid < 0)
        return tv_fail_errno(TV_E_IO, "cannot start \"%s\"", command);
    for (bool asked = false; found == 0 || (found < 0 && errno == EINTR);) {
        if (!asked && tv_interrupted())
            asked = kill(pid, SIGUSR1) == 0;
        found = waitpid(pid, &ended, WNOHANG);
        if (found == 0)
            tv_sleep(0.02);
    }
    if (found < 0)
        return tv_fail_errno(TV_E_IO, "cannot wait for \"%s\"", command);
    *exit_code = WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
    return TV_OK;
}
