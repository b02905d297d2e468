/* Messages for people: see log.h. The level and the open progress line are the process's terminal state. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/os.h"
#include "base/status.h"
#include "base/visible.h"

/* Room for a sentence (status.c), and for the escapes of what is in it. */
enum { LINE_BYTES = 4096, SHOWN_BYTES = 2 * LINE_BYTES };

static atomic_int minimum_level = -1;
static atomic_bool progress_open;
static _Atomic(tv_log_callback) sink;
static _Atomic(void *) sink_context;

void tv_log_set_level(tv_log_level level) {
    atomic_store(&minimum_level, (int)level);
}

void tv_log_set_callback(tv_log_callback callback, void *context) {
    atomic_store(&sink_context, context);
    atomic_store(&sink, callback);
}

static bool is_enabled(tv_log_level level) {
    int minimum = atomic_load(&minimum_level);
    if (minimum < 0) {
        minimum = getenv("TRIVIUM_DEBUG") ? TV_LOG_DEBUG : TV_LOG_INFO;
        atomic_store(&minimum_level, minimum);
    }
    return (int)level >= minimum;
}

void tv_log_progress_end(void) {
    if (atomic_exchange(&progress_open, false))
        fputs("\n", stderr);
}

void tv_log_progress_clear(void) {
    if (atomic_exchange(&progress_open, false))
        fputs("\r\033[K", stderr);
}

void tv_log(tv_log_level level, const char *format, ...) {
    static const char *const prefixes[] = {"debug: ", "", "warning: ", "error: "};
    if (!is_enabled(level))
        return;
    char text[LINE_BYTES], shown[SHOWN_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tv_visible_line(text, shown, sizeof shown);
    tv_log_callback callback = atomic_load(&sink);
    if (callback) {
        callback(atomic_load(&sink_context), level, shown);
        return;
    }
    tv_log_progress_end();
    fprintf(stderr, "%s%s\n", prefixes[level], shown);
}

void tv_log_failure(const char *who) {
    char name[LINE_BYTES], shown[SHOWN_BYTES];
    tv_log_progress_end();
    tv_visible_line(who, name, sizeof name);
    fprintf(stderr, "%s: %s\n", name, tv_visible_line(tv_last_error(), shown, sizeof shown));
}

void tv_log_progress(const char *format, ...) {
    int columns = tv_terminal_columns();
    if (columns <= 0 || !is_enabled(TV_LOG_INFO) || atomic_load(&sink))
        return;
    char text[512], shown[sizeof text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    /* A line as wide as the terminal would wrap and no longer replace itself. */
    fprintf(stderr, "\r\033[K%s", tv_visible_line(text, shown, tv_min_u64((uint64_t)columns, sizeof shown)));
    fflush(stderr);
    atomic_store(&progress_open, true);
}
