/* The progress line: see progress.h. */
#include "run/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/os.h"

/* "12,345" */
static void format_count(double value, char *text, size_t size) {
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%.0f", value < 1e15 ? value : 1e15);
    size_t used = 0;
    for (int i = 0; i < length && used + 2 < size; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-')
            text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = '\0';
}

static void format_duration(double seconds, char *text, size_t size) {
    if (seconds < 100)
        snprintf(text, size, "%.0f s", seconds);
    else if (seconds < 5400)
        snprintf(text, size, "%.0f min", seconds / 60);
    else if (seconds < 86400)
        snprintf(text, size, "%.1f h", seconds / 3600);
    else
        snprintf(text, size, "%.1f days", seconds / 86400);
}

__attribute__((format(printf, 3, 4))) static void append(char *text, uint64_t size, const char *format, ...) {
    uint64_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

void tv_progress_format(const tv_progress *progress, const tv_metrics_line *line, double peak_share,
                        double now, char *text, uint64_t size) {
    char number[40];
    text[0] = '\0';
    append(text, size, "step %llu", (unsigned long long)line->step);
    if (progress->total_steps)
        append(text, size, "/%llu", (unsigned long long)progress->total_steps);
    append(text, size, "  loss %.4f", line->loss);
    if (line->has_val_loss)
        append(text, size, "  val %.4f", line->val_loss);
    format_count(line->tokens_per_second, number, sizeof number);
    append(text, size, "  %s tokens/s", number);
    if (peak_share >= 0)
        append(text, size, "  %.0f %% of peak", 100 * peak_share);
    if (line->step > progress->timed_step && progress->total_steps > line->step) {
        double each = (now - progress->timed_from) / (double)(line->step - progress->timed_step);
        format_duration(each * (double)(progress->total_steps - line->step), number, sizeof number);
        append(text, size, "  %s left", number);
    }
    if (line->warning)
        append(text, size, "  ! %s", line->warning);
}

void tv_progress_step(tv_progress *progress, const tv_metrics_line *line, double peak_share) {
    double now = tv_seconds();
    char text[512];
    bool first = progress->timed_step == 0;
    /* The first step compiles shaders; the time left is reckoned from its end. */
    if (first) {
        progress->timed_step = line->step;
        progress->timed_from = now;
    }
    tv_progress_format(progress, line, peak_share, now, text, sizeof text);
    bool last = progress->total_steps > 0 && line->step >= progress->total_steps;
    double interval = progress->plain_line_seconds > 0 ? progress->plain_line_seconds : 10;
    bool terminal = tv_terminal_columns() > 0;
    bool begins = line->warning && !progress->warned;
    progress->warned = line->warning != NULL;
    if (last || begins || line->has_val_loss ||
        (!terminal && (first || now - progress->last_line >= interval))) {
        tv_info("%s", text);
        progress->last_line = now;
    } else if (terminal) {
        tv_log_progress("%s", text);
    }
}
