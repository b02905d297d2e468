/* The record of a run: metrics.jsonl, with TensorBoard event files beside it.
 *
 * Promise: one JSON object per optimizer step, whole or absent; after a resume the file reads as if the run
 * had never stopped: lines beyond the resumed step, and a torn last line, are cut off first. Steps are
 * counted from 1: a line's `step` is the number of updates done, as in checkpoints/step-N; a line of step 0
 * has what was measured before the first one.
 */
#ifndef TV_RUN_METRICS_H
#define TV_RUN_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "base/status.h"

typedef struct tv_metrics tv_metrics;

typedef struct tv_metric_number {
    const char *name;
    double value;
} tv_metric_number;

typedef struct tv_metrics_line {
    const char *stage; /* "pretrain" */
    uint64_t step;     /* 0: before training; loss, gradient, rate, speed and validation are left out */
    double loss;       /* mean over the step's valid targets */
    double grad_norm;  /* before clipping */
    double lr;
    double loss_scale; /* behind the step; 0: none */
    uint64_t tokens;   /* trained on since the run began */
    double tokens_per_second;
    bool has_val_loss;
    double val_loss;
    bool
        has_wait; /* of several ranks: the one that the others waited for in the step, and the seconds that */
    uint32_t waited_for; /* the one that waited longest waited longer than it */
    double wait_seconds;
    const tv_metric_number *extra; /* further numbers of the stage, such as "kl" */
    uint64_t extra_count;
    const char *const *samples; /* UTF-8 texts that the model wrote at this step */
    uint64_t sample_count;
    const char *warning; /* a few words on what is wrong at this step; NULL: nothing */
} tv_metrics_line;

/* Opens `run`/metrics.jsonl and a new event file; `run` exists. What is there is removed, or with `resumed`
 * kept up to `step`. Fails with TV_E_DATA where a line other than the last is no record. */
tv_status tv_metrics_open(const char *run, bool resumed, uint64_t step, tv_metrics **metrics);
tv_status tv_metrics_write(tv_metrics *metrics, const tv_metrics_line *line);
void tv_metrics_close(tv_metrics **metrics);

/* Calls `visit` for each whole line with its tree and the file offset behind it, until it returns false. A
 * torn last line is passed over; a missing file has no lines. `torn` (may be NULL) tells whether there was
 * one. */
typedef bool (*tv_metrics_visitor)(void *context, const cJSON *line, uint64_t end);
tv_status tv_metrics_each(const char *path, tv_metrics_visitor visit, void *context, bool *torn);

#endif
