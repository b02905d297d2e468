/* POSIX behind os.h. */
#include "base/os.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/files.h"

static double clock_seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double tv_seconds(void) {
    return clock_seconds(CLOCK_MONOTONIC);
}

double tv_wall_seconds(void) {
    return clock_seconds(CLOCK_REALTIME);
}

static const int64_t most_seconds = 253402300799; /* the end of 9999 */

int64_t tv_date_seconds(void) {
    const char *fixed = getenv("SOURCE_DATE_EPOCH");
    long long seconds = fixed ? strtoll(fixed, NULL, 10) : (long long)time(NULL);
    return seconds >= 0 && seconds <= most_seconds ? seconds : 0;
}

tv_calendar tv_calendar_at(int64_t seconds) {
    bool fixed = getenv("SOURCE_DATE_EPOCH") != NULL;
    time_t now = seconds >= 0 && seconds <= most_seconds ? (time_t)seconds : 0;
    struct tm parts = {.tm_mday = 1};
    if (!(fixed ? gmtime_r(&now, &parts) : localtime_r(&now, &parts)))
        parts = (struct tm){.tm_year = 70, .tm_mday = 1, .tm_wday = 4};
    return (tv_calendar){.year = parts.tm_year + 1900,
                         .month = parts.tm_mon + 1,
                         .day = parts.tm_mday,
                         .hour = parts.tm_hour,
                         .minute = parts.tm_min,
                         .second = parts.tm_sec,
                         .weekday = parts.tm_wday,
                         .day_of_year = parts.tm_yday + 1};
}

void tv_sleep(double seconds) {
    struct timespec rest = {.tv_sec = (time_t)seconds};
    rest.tv_nsec = (long)((seconds - (double)rest.tv_sec) * 1e9);
    while (nanosleep(&rest, &rest) != 0 && !tv_interrupted())
        continue;
}

tv_status tv_random_bytes(void *bytes, uint64_t size) {
    /* Calls for up to 256 bytes are never cut short. */
    for (uint64_t at = 0; at < size;) {
        size_t piece = size - at < 256 ? (size_t)(size - at) : 256;
        if (getrandom((char *)bytes + at, piece, 0) != (ssize_t)piece)
            return tv_fail_errno(TV_E_IO, "the system gives no random bytes");
        at += piece;
    }
    return TV_OK;
}

tv_status tv_random_hex(char *text, uint64_t digits) {
    static const char alphabet[] = "0123456789abcdef";
    for (uint64_t i = 0; i < digits; i += 2) {
        uint8_t byte;
        TV_RETURN_IF_FAILED(tv_random_bytes(&byte, 1));
        text[i] = alphabet[byte >> 4];
        text[i + 1] = alphabet[byte & 15];
    }
    text[digits] = '\0';
    return TV_OK;
}

int tv_terminal_columns(void) {
    if (!isatty(STDERR_FILENO))
        return 0;
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20)
        return 80;
    return size.ws_col;
}

bool tv_stdout_is_terminal(void) {
    return isatty(STDOUT_FILENO);
}

bool tv_somebody_can_answer(void) {
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

bool tv_ask(const char *question) {
    char answer[16] = "";
    fprintf(stderr, "%s [y/N] ", question);
    fflush(stderr);
    if (!fgets(answer, sizeof answer, stdin))
        return false;
    answer[strcspn(answer, "\r\n")] = '\0';
    return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
}

/* A signal handler can only reach static storage. */
static volatile sig_atomic_t interrupts;

static void on_interrupt(int number) {
    interrupts = interrupts + 1;
    if (interrupts > 1) {
        signal(number, SIG_DFL);
        raise(number);
    }
}

static void catch_signal(int number, int flags) {
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

void tv_catch_interrupts(void) {
    catch_signal(SIGINT, 0);
    catch_signal(SIGTERM, 0);
    catch_signal(SIGUSR1, 0);
}

void tv_catch_ctrl_c(void) {
    interrupts = 0;
    catch_signal(SIGINT, SA_RESTART); /* what is being printed goes on */
}

bool tv_interrupted(void) {
    return interrupts > 0;
}

bool tv_interrupted_with_it(void) {
    static const double moment = 0.25;
    for (double start = tv_seconds(); !tv_interrupted() && tv_seconds() - start < moment;)
        tv_sleep(0.002);
    return tv_interrupted();
}

struct tv_thread {
    pthread_t handle;
    tv_thread_main main;
    void *context;
};

static void *thread_entry(void *argument) {
    tv_thread *thread = argument;
    thread->main(thread->context);
    return NULL;
}

tv_status tv_thread_start(tv_thread **out, tv_thread_main main, void *context) {
    *out = NULL;
    tv_thread *thread = calloc(1, sizeof *thread);
    if (!thread)
        return tv_fail(TV_E_MEMORY, "out of host memory for a thread");
    thread->main = main;
    thread->context = context;
    /* Signals stay with the main thread, so that system calls of helpers are not cut short. */
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    int error = pthread_create(&thread->handle, NULL, thread_entry, thread);
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    if (error != 0) {
        free(thread);
        return tv_fail(TV_E_MEMORY, "the system refused a thread: %s", strerror(error));
    }
    *out = thread;
    return TV_OK;
}

void tv_thread_join(tv_thread **thread) {
    if (!thread || !*thread)
        return;
    pthread_join((*thread)->handle, NULL);
    free(*thread);
    *thread = NULL;
}

struct tv_mutex {
    pthread_mutex_t handle;
};

tv_status tv_mutex_create(tv_mutex **mutex) {
    *mutex = calloc(1, sizeof **mutex);
    if (!*mutex)
        return tv_fail(TV_E_MEMORY, "out of host memory for a mutex");
    pthread_mutex_init(&(*mutex)->handle, NULL);
    return TV_OK;
}

void tv_mutex_destroy(tv_mutex **mutex) {
    if (!mutex || !*mutex)
        return;
    pthread_mutex_destroy(&(*mutex)->handle);
    free(*mutex);
    *mutex = NULL;
}

void tv_mutex_lock(tv_mutex *mutex) {
    pthread_mutex_lock(&mutex->handle);
}

void tv_mutex_unlock(tv_mutex *mutex) {
    pthread_mutex_unlock(&mutex->handle);
}

struct tv_condition {
    pthread_cond_t handle;
};

tv_status tv_condition_create(tv_condition **condition) {
    *condition = calloc(1, sizeof **condition);
    if (!*condition)
        return tv_fail(TV_E_MEMORY, "out of host memory for a condition");
    pthread_cond_init(&(*condition)->handle, NULL);
    return TV_OK;
}

void tv_condition_destroy(tv_condition **condition) {
    if (!condition || !*condition)
        return;
    pthread_cond_destroy(&(*condition)->handle);
    free(*condition);
    *condition = NULL;
}

void tv_condition_wait(tv_condition *condition, tv_mutex *mutex) {
    pthread_cond_wait(&condition->handle, &mutex->handle);
}

void tv_condition_signal_all(tv_condition *condition) {
    pthread_cond_broadcast(&condition->handle);
}

tv_status tv_cache_dir(char **path) {
    const char *own = getenv("TRIVIUM_CACHE_DIR");
    const char *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (own && own[0])
        *path = tv_format("%s", own);
    else if (xdg && xdg[0])
        *path = tv_format("%s/trivium", xdg);
    else
        *path = tv_format("%s/.cache/trivium", home && home[0] ? home : "/tmp");
    if (!*path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status = tv_make_dirs(*path);
    if (status != TV_OK) {
        free(*path);
        *path = NULL;
    }
    return status;
}
