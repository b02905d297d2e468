/* The line that a person watches while a run trains.
 *
 * Promise: on a terminal one line that replaces itself (step, loss, tokens/s, share of the device's measured
 * peak, time left), with a lasting line for each evaluation and where a warning begins; elsewhere plain
 * lines, every few seconds and for the last step.
 */
#ifndef TV_RUN_PROGRESS_H
#define TV_RUN_PROGRESS_H

#include "run/metrics.h"

/* Zero-initialise, then set the first two. */
typedef struct tv_progress {
    uint64_t total_steps;      /* 0: unknown */
    double plain_line_seconds; /* between plain lines; 0: 10 s */
    double timed_from, last_line;
    uint64_t timed_step;
    bool warned; /* the line before had a warning */
} tv_progress;

/* After each step. `peak_share` is the share of the device's measured peak in [0, 1]; negative when unknown.
 */
void tv_progress_step(tv_progress *progress, const tv_metrics_line *line, double peak_share);

/* The same text, for tests: "step 3/10  loss 2.3456  1,234 tokens/s  41 % of peak  2 min left". */
void tv_progress_format(const tv_progress *progress, const tv_metrics_line *line, double peak_share,
                        double now, char *text, uint64_t size);

#endif
