/* The pipeline description: what a script that ran all stages says about them, for the report.
 *
 *     { "title": s, "intro": s,
 *       "reference": false,      where the last stage read none
 *       "boxes":   { "text": { "title": s, "note": s, "facts": {"documents": 9980, "size": "3.9 MB"},
 *                              "files": [path, ...], "run": RUN directory }, ... },
 *       "checks":  [ {"what": s, "value": x, "relation": "at least|at most", "bound": x, "percent": true,
 *                     "detail": s}, ... ],
 *       "answers": { "policies": ["base model", ...],
 *                    "items": [ {"prompt": s, "answers": [s, ...], "scores": [x, ...]}, ... ] },
 *       "tables":  [ {"title": s, "note": s, "rows": {"pairs that agree": "74.8 %", ...}}, ... ] }
 *
 * Every member may be absent. The boxes are those of the workflow: text, pretrain, base, examples, sft,
 * tuned, prompts, sample, rank, prefs, reward, ppo, aligned. A box with "run" is also filled from that run's
 * metrics. Paths are relative to the working directory, as those of runs are.
 *
 * Promise: reading refuses what is not so with the file and the key (TV_E_DATA); whether a check is held is
 * computed here, and a number that is missing or not finite holds nothing.
 */
#ifndef TV_REPORT_PIPELINE_H
#define TV_REPORT_PIPELINE_H

#include "report/page.h"

tv_status tv_report_pipeline_read(const char *path, cJSON **pipeline);

/* A text, or "" */
const char *tv_report_pipeline_text(const cJSON *object, const char *key);

/* The boxes and arrows, and the checks beside them: workflow.c. */
void tv_report_write_workflow(tv_report_page *page, const cJSON *pipeline);
/* The same prompts answered by the model after each stage. */
void tv_report_write_answers(tv_report_page *page, const cJSON *pipeline);
void tv_report_write_tables(tv_report_page *page, const cJSON *pipeline);

/* The boxes' names in the order of the workflow, for reading and drawing. */
typedef struct tv_report_box {
    const char *id, *title;
    int stage;        /* 1 to 3 */
    int column, row;  /* of the diagram, from 1 */
    bool next;        /* an arrow leads to the box at its right */
    const char *from; /* what comes from another row, said where arrows have no room */
} tv_report_box;
enum { TV_REPORT_BOXES = 13 };
extern const tv_report_box tv_report_boxes[TV_REPORT_BOXES];

#endif
