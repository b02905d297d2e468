/* The progress line: see progress.h. */
#include "run/progress.h"

#include <math.h>
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

static const tv_progress_number loss_and_validation[] = {
    {"loss", "loss", TV_PROGRESS_LOSS, false}, {"val_loss", "val", TV_PROGRESS_LOSS, true}, {0}};

/* NaN where the line has no such number. */
static double number_of(const tv_metrics_line *line, const char *series) {
    if (strcmp(series, "loss") == 0)
        return line->loss;
    if (strcmp(series, "val_loss") == 0)
        return line->has_val_loss ? line->val_loss : NAN;
    for (uint64_t i = 0; i < line->extra_count; i++)
        if (strcmp(line->extra[i].name, series) == 0)
            return line->extra[i].value;
    return NAN;
}

static void append_number(const tv_progress_number *number, double value, char *text, uint64_t size) {
    switch (number->form) {
    case TV_PROGRESS_LOSS:
        append(text, size, "  %s %.4f", number->label, value);
        break;
    case TV_PROGRESS_SIGNED:
        append(text, size, "  %s %+.2f", number->label, value);
        break;
    case TV_PROGRESS_SHORT:
        append(text, size, "  %s %.1f", number->label, value);
        break;
    case TV_PROGRESS_PERCENT:
        append(text, size, "  %s %.0f %%", number->label, 100 * value);
        break;
    }
}

/* What the stage shows; returns whether something of it was evaluated at this step. */
static bool append_shown(tv_progress *progress, const tv_metrics_line *line, char *text, uint64_t size) {
    const tv_progress_number *shown = progress->shown ? progress->shown : loss_and_validation;
    bool evaluated = false;
    for (uint64_t i = 0; i < TV_PROGRESS_NUMBERS && shown[i].series; i++) {
        double value = number_of(line, shown[i].series);
        if (shown[i].evaluated) {
            if (!isnan(value)) {
                progress->values[i] = value;
                progress->seen[i] = evaluated = true;
            }
            if (!progress->seen[i])
                continue;
            value = progress->values[i];
        } else if (line->step == 0) {
            continue;
        }
        append_number(&shown[i], value, text, size);
    }
    return evaluated;
}

static uint64_t end_of(const tv_progress *progress) {
    return progress->end_step ? progress->end_step : progress->total_steps;
}

bool tv_progress_format(tv_progress *progress, const tv_metrics_line *line, double peak_share, double now,
                        uint64_t columns, char *text, uint64_t size) {
    char number[40], speed[64] = "", peak[40] = "", left[64] = "", warning[160] = "";
    text[0] = '\0';
    append(text, size, "step %llu", (unsigned long long)line->step);
    if (progress->total_steps)
        append(text, size, "/%llu", (unsigned long long)progress->total_steps);
    bool evaluated = append_shown(progress, line, text, size);
    format_count(line->tokens_per_second, number, sizeof number);
    if (line->step > 0)
        snprintf(speed, sizeof speed, "  %s tokens/s", number);
    if (line->step > 0 && peak_share >= 0)
        snprintf(peak, sizeof peak, "  %.0f %% of peak", 100 * peak_share);
    uint64_t end = end_of(progress);
    if (line->step > progress->timed_step && end > line->step) {
        double each = (now - progress->timed_from) / (double)(line->step - progress->timed_step);
        format_duration(each * (double)(end - line->step), number, sizeof number);
        snprintf(left, sizeof left, "  %s left", number);
    }
    if (line->warning)
        snprintf(warning, sizeof warning, "  ! %s", line->warning);
    uint64_t rest = columns ? columns : UINT64_MAX, needed = strlen(text) + strlen(left) + strlen(warning);
    bool show_speed = needed + strlen(speed) <= rest;
    bool show_peak = needed + strlen(speed) + strlen(peak) <= rest;
    append(text, size, "%s%s%s%s", show_speed ? speed : "", show_peak ? peak : "", left, warning);
    return evaluated;
}

/* Where the last two spaces before `end` begin; NULL where none are. */
static char *field_before(char *text, const char *end) {
    for (const char *at = end; at-- > text + 1;)
        if (at[-1] == ' ' && at[0] == ' ')
            return text + (at - 1 - text);
    return NULL;
}

void tv_progress_shorten(char *text, uint64_t columns) {
    char *last = field_before(text, text + strlen(text)), *before;
    while (last && strlen(text) > columns && (before = field_before(text, last))) {
        memmove(before, last, strlen(last) + 1);
        last = before;
    }
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
    int columns = tv_terminal_columns();
    bool terminal = columns > 0;
    /* A line as wide as the terminal would wrap. */
    bool evaluated = tv_progress_format(progress, line, peak_share, now, terminal ? (uint64_t)columns - 1 : 0,
                                        text, sizeof text);
    bool last = end_of(progress) > 0 && line->step >= end_of(progress);
    double interval = progress->plain_line_seconds > 0 ? progress->plain_line_seconds : 10;
    bool begins = line->warning && !progress->warned;
    progress->warned = line->warning != NULL;
    if (last || begins || evaluated || (!terminal && (first || now - progress->last_line >= interval))) {
        tv_log_progress_clear();
        tv_info("%s", text);
        progress->last_line = now;
    } else if (terminal) {
        tv_progress_shorten(text, (uint64_t)columns - 1);
        tv_log_progress("%s", text);
    }
}
