/* A stage that a test runs in its own process: the run's settings, and what its metrics say. */
#ifndef TV_TESTS_STAGE_RUN_H
#define TV_TESTS_STAGE_RUN_H

#include <stdint.h>

/* Texts with a NULL at their end. */
#define TV_TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})

enum { TV_MOST_STAGE_SETTINGS = 32, TV_MOST_METRIC_LINES = 64 };

typedef struct tv_stage_settings {
    const char *all[TV_MOST_STAGE_SETTINGS];
    uint64_t count;
    char *data; /* its own; all others are the caller's */
} tv_stage_settings;

/* What all runs of a test have, its file for data.train, then what this run has. Both lists end with NULL,
 * and `more` may be NULL. */
tv_stage_settings tv_stage_settings_make(const char *const *common, const char *data,
                                         const char *const *more);
void tv_stage_settings_free(tv_stage_settings *settings);

/* A number of metrics.jsonl, from the lines that have it, in their order. */
typedef struct tv_metric_column {
    const char *key;
    double values[TV_MOST_METRIC_LINES];
    uint64_t count;
} tv_metric_column;

/* Fails the test where no line has it, or more lines than a column holds. */
tv_metric_column tv_metric_column_of(const char *run, const char *key);
double tv_first_metric(const char *run, const char *key);
double tv_last_metric(const char *run, const char *key);
/* Of the line of `step`, from 1; fails the test where there is none. */
double tv_expect_metric(const char *run, uint64_t step, const char *key);

#endif
