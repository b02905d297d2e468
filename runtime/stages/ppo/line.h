/* The line of an iteration, with whole samples as text: what PPO and GRPO share. */
#ifndef TV_STAGES_PPO_LINE_H
#define TV_STAGES_PPO_LINE_H

#include "run/run.h"
#include "stages/ppo/rollout.h"

typedef struct tv_ppo_line {
    double loss, grad_norm, seconds;
    const tv_metric_number *numbers;
    uint64_t number_count;
    const char *warning; /* empty: none */
    /* Measures held-out prompts where that is due, and adds what it found; NULL: there are none. */
    tv_status (*evaluate)(void *context, tv_metrics_line *line);
    void *context;
} tv_ppo_line;

/* Counts the iteration in run->state, then writes its line. */
tv_status tv_ppo_line_write(tv_run *run, const tv_ppo_rollout *rollout, const tv_ppo_line *line);
/* Of step number `step`, which numbers that are not finite ended and which is not counted: its line says the
 * last sentence, and so does the failure, TV_E_NUMERIC. Resuming cuts the line off again. */
tv_status tv_ppo_line_end(tv_run *run, uint64_t step);

#endif
