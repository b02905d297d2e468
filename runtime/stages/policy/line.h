/* The line of an iteration, with whole samples as text. */
#ifndef TV_STAGES_POLICY_LINE_H
#define TV_STAGES_POLICY_LINE_H

#include "run/run.h"
#include "stages/policy/rollout.h"

typedef struct tv_policy_line {
    uint64_t examples; /* of the prompts, that were drawn */
    double loss, grad_norm, seconds;
    const tv_metric_number *numbers;
    uint64_t number_count;
    const char *warning; /* empty: none */
    bool has_val_loss;   /* held-out prompts were measured; the step with the least is the best */
    double val_loss;
} tv_policy_line;

/* Whether the iteration at hand ends with a measurement of held-out prompts. */
bool tv_policy_line_measures(const tv_run *run);
/* By all ranks, before each rollout of that: TV_E_INTERRUPTED after an interrupt. */
tv_status tv_policy_line_go_on(tv_run *run);
/* Of the iteration at hand; then counts it in run->state. */
tv_status tv_policy_line_write(tv_run *run, const tv_policy_rollout *rollout, const tv_policy_line *line);
/* Of the iteration at hand, which numbers that are not finite ended and which is not counted: its line says
 * the last sentence, and so does the failure, TV_E_NUMERIC. Resuming cuts the line off again. */
tv_status tv_policy_line_end(tv_run *run);

#endif
