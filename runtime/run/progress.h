/* The line that a person watches while a run trains.
 *
 * Promise: on a terminal one line that replaces itself (step, what matters in this stage, tokens/s, share of
 * the device's measured peak, time left), with a lasting line for each evaluation and where a warning begins;
 * elsewhere plain lines, every few seconds and for the last step. Where the terminal is too narrow for all of
 * it, the share and the speed give way.
 */
#ifndef TV_RUN_PROGRESS_H
#define TV_RUN_PROGRESS_H

#include "run/metrics.h"

typedef enum tv_progress_form {
    TV_PROGRESS_LOSS,    /* 3.2145 */
    TV_PROGRESS_SIGNED,  /* +0.42 */
    TV_PROGRESS_SHORT,   /* 23.1 */
    TV_PROGRESS_PERCENT, /* 61 % */
} tv_progress_form;

/* A number of the line of metrics ("loss", "val_loss" or one of its extra ones) that the stage shows. */
typedef struct tv_progress_number {
    const char *series, *label;
    tv_progress_form form;
    bool evaluated; /* comes with evaluations: stays until the next, and makes its line a lasting one */
} tv_progress_number;

enum { TV_PROGRESS_NUMBERS = 6 };

/* Zero-initialise, then set the first four. */
typedef struct tv_progress {
    uint64_t total_steps;            /* of the schedule; 0: unknown */
    uint64_t end_step;               /* of this invocation; 0: total_steps */
    const tv_progress_number *shown; /* at most TV_PROGRESS_NUMBERS, up to one without a series; NULL: loss
                                        and validation */
    double plain_line_seconds;       /* between plain lines; 0: 10 s */
    double timed_from, last_line;
    uint64_t timed_step;
    bool warned;                        /* the line before had a warning */
    double values[TV_PROGRESS_NUMBERS]; /* as last seen, of those that are evaluated */
    bool seen[TV_PROGRESS_NUMBERS];
} tv_progress;

/* After each step. `peak_share` is the share of the device's measured peak in [0, 1]; negative when unknown.
 */
void tv_progress_step(tv_progress *progress, const tv_metrics_line *line, double peak_share);
/* Of fields with two spaces between them, leaves out those before the last one until `text` fits into
 * `columns`: the first stays, and the last, which is the time left or a warning. */
void tv_progress_shorten(char *text, uint64_t columns);
/* The same text, for tests: "step 3/10  loss 2.3456  1,234 tokens/s  41 % of peak  2 min left". `columns` 0:
 * as wide as it gets. Remembers what was evaluated, and returns whether this line has something of that. */
bool tv_progress_format(tv_progress *progress, const tv_metrics_line *line, double peak_share, double now,
                        uint64_t columns, char *text, uint64_t size);

#endif
