/* POSIX behind subprocess.h. */
#include "base/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/os.h"

extern char **environ;

enum { CHUNK = 65536, LONGEST_LINE = 1 << 26 };
/* How often a wait looks for interrupts: a signal between the look and the wait would else be missed. */
enum { POLL_MS = 200 };
static const double HINT_SECONDS = 30, END_SECONDS = 2;

typedef struct queue {
    char *data;
    uint64_t size, capacity;
    uint64_t taken; /* bytes at the front that are done with */
} queue;

struct tv_subprocess {
    char *command;
    pid_t pid;
    int input, output; /* our ends; -1: closed */
    queue to_send, received;
    bool ended, hinted, at_end; /* at_end: of its output */
    uint64_t searched;          /* bytes received that hold no newline */
    double limit;               /* seconds for an answer; 0: none */
    double since;               /* when it was first waited for the next line; 0: not yet */
    int wait_status;
};

static tv_status queue_append(queue *q, const char *bytes, uint64_t size) {
    if (q->taken == q->size)
        q->taken = q->size = 0;
    if (q->taken > CHUNK && q->taken > q->size / 2) {
        memmove(q->data, q->data + q->taken, q->size - q->taken);
        q->size -= q->taken;
        q->taken = 0;
    }
    if (q->capacity - q->size < size) {
        uint64_t capacity = tv_max_u64(q->size + size, 2 * q->capacity);
        char *grown = realloc(q->data, capacity);
        if (!grown)
            return tv_fail(TV_E_MEMORY, "out of host memory for a program's lines");
        q->data = grown;
        q->capacity = capacity;
    }
    memcpy(q->data + q->size, bytes, size);
    q->size += size;
    return TV_OK;
}

static void close_end(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Its own process group, so that all it starts can be ended with it and Ctrl-C is ours to handle. */
static int spawn(tv_subprocess *process, int input, int output) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults, none;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    char shell[] = "sh", option[] = "-c";
    char *argv[] = {shell, option, process->command, NULL};
    int error = posix_spawn(&process->pid, "/bin/sh", &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
}

tv_status tv_subprocess_start(const char *command, tv_subprocess **out) {
    *out = NULL;
    int to[2] = {-1, -1}, from[2] = {-1, -1}, error;
    tv_status status;
    tv_subprocess *process = calloc(1, sizeof *process);
    if (!process)
        return tv_fail(TV_E_MEMORY, "out of host memory for a program");
    process->pid = -1;
    process->input = process->output = -1;
    process->command = tv_format("%s", command);
    if (!process->command) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a program");
        goto fail;
    }
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) {
        status = tv_fail_errno(TV_E_IO, "cannot make a pipe to \"%s\"", command);
        goto fail;
    }
    process->input = to[1];
    process->output = from[0];
    fcntl(process->input, F_SETFL, O_NONBLOCK);
    fcntl(process->output, F_SETFL, O_NONBLOCK);
    error = spawn(process, to[0], from[1]);
    if (error != 0) {
        process->pid = -1;
        status = tv_fail(TV_E_IO, "cannot start \"%s\": %s", command, strerror(error));
        goto fail;
    }
    close_end(&to[0]);
    close_end(&from[1]);
    *out = process;
    return TV_OK;
fail:
    close_end(&to[0]);
    close_end(&from[1]);
    tv_subprocess_close(&process);
    return status;
}

/* write() that reports a reader's end as EPIPE and leaves no SIGPIPE behind. */
static ssize_t write_quietly(int fd, const char *bytes, uint64_t size) {
    sigset_t pipe_signal, before, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    ssize_t done = write(fd, bytes, size);
    int error = errno;
    if (done < 0 && error == EPIPE && !was_pending) {
        const struct timespec now = {0};
        while (sigtimedwait(&pipe_signal, NULL, &now) < 0 && errno == EINTR)
            continue;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return done;
}

/* Writes as much as the program takes now. */
static void flush(tv_subprocess *process) {
    queue *q = &process->to_send;
    while (process->input >= 0 && q->taken < q->size) {
        ssize_t done = write_quietly(process->input, q->data + q->taken, q->size - q->taken);
        if (done >= 0)
            q->taken += (uint64_t)done;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return;
        else if (errno != EINTR)
            close_end(&process->input);
    }
}

tv_status tv_subprocess_send(tv_subprocess *process, const char *line, uint64_t length) {
    if (process->input < 0)
        return TV_OK;
    TV_RETURN_IF_FAILED(queue_append(&process->to_send, line, length));
    TV_RETURN_IF_FAILED(queue_append(&process->to_send, "\n", 1));
    flush(process);
    return TV_OK;
}

/* Whether it ended within the time; its status is then kept. */
static bool wait_for_end(tv_subprocess *process, double seconds) {
    for (double start = tv_seconds(); !process->ended;) {
        pid_t pid = waitpid(process->pid, &process->wait_status, WNOHANG);
        process->ended = pid == process->pid || (pid < 0 && errno != EINTR);
        if (process->ended || tv_seconds() - start > seconds)
            break;
        const struct timespec rest = {.tv_nsec = 2000000};
        nanosleep(&rest, NULL);
    }
    return process->ended;
}

static tv_status say_end(tv_subprocess *process) {
    const bool ended = tv_interrupted() || wait_for_end(process, END_SECONDS);
    if (tv_interrupted_with_it())
        return tv_fail(TV_E_INTERRUPTED, "interrupted");
    if (!ended)
        return tv_fail(TV_E_DATA, "the program \"%s\" closed its output, expected an answer",
                       process->command);
    if (WIFSIGNALED(process->wait_status))
        return tv_fail(TV_E_DATA, "the program \"%s\" was ended by signal %d, expected an answer",
                       process->command, WTERMSIG(process->wait_status));
    return tv_fail(TV_E_DATA, "the program \"%s\" ended with exit code %d, expected an answer",
                   process->command, WEXITSTATUS(process->wait_status));
}

/* Waits until there is something to read, or to do, at most so long; reads what there is. */
static tv_status exchange(tv_subprocess *process, int milliseconds, bool *end, bool *came) {
    char chunk[CHUNK];
    struct pollfd fds[2] = {{.fd = process->output, .events = POLLIN}, {.fd = -1, .events = POLLOUT}};
    if (process->to_send.taken < process->to_send.size)
        fds[1].fd = process->input;
    if (poll(fds, 2, milliseconds) < 0 && errno != EINTR)
        return tv_fail_errno(TV_E_IO, "cannot wait for \"%s\"", process->command);
    if (tv_interrupted())
        return tv_fail(TV_E_INTERRUPTED, "interrupted");
    flush(process);
    ssize_t got = read(process->output, chunk, sizeof chunk);
    *end = got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
    *came = got > 0;
    return *came ? queue_append(&process->received, chunk, (uint64_t)got) : TV_OK;
}

void tv_subprocess_set_limit(tv_subprocess *process, double seconds) {
    process->limit = seconds;
}

static void hint(tv_subprocess *process, double since) {
    if (process->hinted || tv_seconds() - since <= HINT_SECONDS)
        return;
    process->hinted = true;
    tv_info("still waiting for an answer of \"%s\"; a program must answer each line before it waits for the "
            "next, and flush its output after each answer",
            process->command);
}

/* Where the next line ends; NULL: it is not there whole. */
static char *line_end(tv_subprocess *process) {
    const queue *q = &process->received;
    const uint64_t from = q->taken + process->searched;
    char *newline = q->size > from ? memchr(q->data + from, '\n', q->size - from) : NULL;
    if (!newline)
        process->searched = q->size - q->taken;
    return newline;
}

tv_status tv_subprocess_await(tv_subprocess *process, double seconds, bool *came) {
    const double begin = tv_seconds();
    bool got = false;
    if (!(process->since > 0))
        process->since = begin;
    for (;;) {
        *came =
            line_end(process) || process->at_end || process->output < 0 || process->searched > LONGEST_LINE;
        const double now = tv_seconds(), left = begin + seconds - now;
        if (*came || !(left > 0))
            return TV_OK;
        if (!got && process->limit > 0 && now - process->since > process->limit)
            return tv_fail(TV_E_DATA, "the program \"%s\" gave no answer within %g seconds", process->command,
                           process->limit);
        TV_RETURN_IF_FAILED(
            exchange(process, (int)tv_min_u64(POLL_MS, 1 + (uint64_t)(left * 1e3)), &process->at_end, &got));
        if (!got)
            hint(process, process->since);
    }
}

tv_status tv_subprocess_receive(tv_subprocess *process, const char **line, uint64_t *length) {
    queue *q = &process->received;
    char *newline = NULL;
    for (bool came = false; !came;)
        TV_RETURN_IF_FAILED(tv_subprocess_await(process, HINT_SECONDS, &came));
    if (!(newline = line_end(process)))
        return process->searched > LONGEST_LINE
                   ? tv_fail(TV_E_DATA, "the program \"%s\" wrote more than %d MiB without a newline",
                             process->command, LONGEST_LINE >> 20)
                   : say_end(process);
    char *start = q->data + q->taken;
    uint64_t whole = (uint64_t)(newline - start);
    q->taken += whole + 1;
    process->searched = 0;
    process->since = 0;
    *line = start;
    *length = whole > 0 && start[whole - 1] == '\r' ? whole - 1 : whole;
    start[*length] = '\0';
    return TV_OK;
}

static void show_waiting(const tv_subprocess *process, const char **bytes, uint64_t *size) {
    const queue *q = &process->received;
    *bytes = q->data ? q->data + q->taken : "";
    *size = q->size - q->taken;
}

tv_status tv_subprocess_waiting(tv_subprocess *process, double seconds, const char **bytes, uint64_t *size) {
    const double end_of_wait = tv_seconds() + seconds;
    bool end = process->output < 0, came = false;
    show_waiting(process, bytes, size);
    for (bool last = false; *size == 0 && !end && !last;) {
        double left = end_of_wait - tv_seconds();
        last = left <= 0;
        TV_RETURN_IF_FAILED(
            exchange(process, last ? 0 : (int)tv_min_u64(POLL_MS, 1 + (uint64_t)(left * 1e3)), &end, &came));
        show_waiting(process, bytes, size);
    }
    return TV_OK;
}

uint64_t tv_subprocess_unread(const tv_subprocess *process) {
    uint64_t held = process->to_send.size - process->to_send.taken;
    int in_pipe = 0;
    /* A system that cannot say this of the writing end says nothing: what it misses is found later. */
    if (process->input >= 0 && ioctl(process->input, FIONREAD, &in_pipe) == 0 && in_pipe > 0)
        held += (uint64_t)in_pipe;
    return held;
}

tv_status tv_subprocess_finish(tv_subprocess *process, const char **bytes, uint64_t *size) {
    const double start = tv_seconds();
    bool end = process->output < 0, came;
    close_end(&process->input);
    while (!end && tv_seconds() - start < END_SECONDS &&
           process->received.size - process->received.taken <= LONGEST_LINE)
        TV_RETURN_IF_FAILED(exchange(process, POLL_MS, &end, &came));
    show_waiting(process, bytes, size);
    return TV_OK;
}

void tv_subprocess_close(tv_subprocess **handle) {
    if (!handle || !*handle)
        return;
    tv_subprocess *process = *handle;
    close_end(&process->input);
    close_end(&process->output);
    if (process->pid > 0 && !wait_for_end(process, END_SECONDS)) {
        kill(-process->pid, SIGTERM);
        if (!wait_for_end(process, END_SECONDS)) {
            kill(-process->pid, SIGKILL);
            (void)wait_for_end(process, END_SECONDS);
        }
    }
    free(process->to_send.data);
    free(process->received.data);
    free(process->command);
    free(process);
    *handle = NULL;
}
