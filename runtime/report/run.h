/* One run directory, read for the report.
 *
 * Promise: what is there is read, what is missing stays empty; every number of metrics.jsonl becomes a series
 * under its own name, so that later stages need no change here.
 */
#ifndef TV_REPORT_RUN_H
#define TV_REPORT_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

enum { TV_REPORT_MAX_SERIES = 48 };

typedef struct tv_report_series {
    char *name;
    double *values; /* one per line of metrics.jsonl; NaN where the line lacks it or holds null */
} tv_report_series;

/* A text that the model wrote. */
typedef struct tv_report_sample {
    double step;         /* NaN when unknown */
    char *prompt, *text; /* `prompt` may be NULL */
} tv_report_sample;

typedef struct tv_report_run {
    char *path;  /* as given, without trailing slashes */
    char *name;  /* its last component */
    char *stage; /* of the last line; NULL before any */
    double *steps;
    uint64_t line_count;
    tv_report_series series[TV_REPORT_MAX_SERIES];
    uint64_t series_count;
    tv_report_sample *samples; /* in order of the files: metrics.jsonl, then samples.jsonl */
    uint64_t sample_count;
    cJSON *config; /* config.json; NULL when missing */
    cJSON *facts;  /* run.json: device, driver, versions, as the trainer recorded them; NULL when missing */
    char **files;  /* entries of the directory worth a link */
    uint64_t file_count;
    char *warning; /* of the last line that has one; NULL: none has */
    double warning_step;
    uint64_t warning_count;
    bool torn; /* the last line of metrics.jsonl was cut short */
} tv_report_run;

tv_status tv_report_run_load(const char *path, tv_report_run *run);
void tv_report_run_free(tv_report_run *run);

/* The series of that name, or NULL. */
const double *tv_report_values(const tv_report_run *run, const char *name);

#endif
