/* What a dry run says before the memory: data, padding, steps, schedule.
 *
 * Promise: the figures are those that the run itself was planned with, so that what is said is what happens.
 */
#ifndef TV_RUN_PLAN_H
#define TV_RUN_PLAN_H

#include "run/settings.h"

/* One pass through the training data. A figure that says nothing of a stage is 0. */
typedef struct tv_run_plan {
    const char *items;       /* what they are called: "examples" */
    uint64_t count;          /* of them, without those that are left out; 0: the data are tokens alone */
    uint64_t held_out;       /* to validate with */
    uint64_t cut, left_out;  /* of training and validation data */
    uint64_t tokens;         /* that are read */
    uint64_t trained_tokens; /* of them, that are learned from */
    uint64_t slots;          /* that are computed: the tokens and the padding beside them */
    double passes;           /* of the whole run */
} tv_run_plan;

/* Prints lines beginning with "data", "padding", "run" and "schedule" to stdout; `steps` in all. */
void tv_run_plan_print(const tv_run_settings *settings, const tv_run_plan *plan, uint64_t steps);

/* The line "schedule" alone. */
void tv_schedule_print(const tv_run_settings *settings, bool validates);

#endif
