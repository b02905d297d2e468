/* What a page says of a run by what it did: its stage and, among preference losses, its loss.
 *
 * Promise: a run of a stage that is not known here has its stage's name for a heading, and nothing else.
 */
#ifndef TV_REPORT_STAGE_H
#define TV_REPORT_STAGE_H

#include "report/run.h"

typedef struct tv_report_stage {
    const char *name;    /* the stage, as runs and metrics call it */
    const char *heading; /* of its part of the page */
    const char *title;   /* of its box in the workflow; NULL: what the box is called anyway */
    const char *lesson;  /* sentences for somebody who sees it for the first time */
    bool reference;      /* it may read a reference, the model that it began as or another */
} tv_report_stage;

/* The stage of the run's last line, or of run.json before any; "" where neither says. */
const char *tv_report_stage_name(const tv_report_run *run);
/* NULL: not known here. */
const tv_report_stage *tv_report_stage_of(const tv_report_run *run);
/* Whether the run read a reference, by its settings. */
bool tv_report_has_reference(const tv_report_run *run);

#endif
