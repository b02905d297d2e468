/* The page while it is written, and what its sections share: internal to the report.
 *
 * Promise: a section is a function over the page; it appends to `html` and remembers nothing else.
 */
#ifndef TV_REPORT_PAGE_H
#define TV_REPORT_PAGE_H

#include "report/chart.h"
#include "report/html.h"
#include "report/run.h"

typedef struct tv_report_page {
    tv_html html;
    tv_report_run *runs;
    const char **names; /* as shown: the directory's name, or its path where two are alike */
    uint64_t count;
    const char *out;   /* where the page will lie; NULL: it is served, and files are not reached from it */
    const char *nonce; /* of the script of a page that is served; NULL: it is a file */
    cJSON *pipeline;   /* NULL where none was given */
    const char *chart_prefix; /* goes before the ids of charts; "" where each is there once */
} tv_report_page;

/* What one run comes to. NaN where unknown. */
typedef struct tv_report_totals {
    double steps, planned_steps, tokens, loss, best_val, best_val_step, tokens_per_second, seconds;
    uint64_t not_finite;
} tv_report_totals;
tv_report_totals tv_report_add_up(const tv_report_run *run);

/* A number of a tree's section, or NaN. */
double tv_report_number_at(const cJSON *tree, const char *section, const char *key);

/* The path, or `text` in its place, as a link where there is a way. */
void tv_report_write_link(tv_report_page *page, const char *path, const char *text);

#endif
