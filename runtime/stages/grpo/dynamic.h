/* Groups whose rewards are all the same give way to others (dynamic sampling: DAPO, Yu et al. 2025).
 *
 * Promise: further prompts are answered in the order in which they come up in the run anyway, as many groups
 * as are missing at a time, at most grpo.dynamic_sampling times; what is drawn is addressed by the number of
 * the answer over the whole run, so that a resumed run continues bit for bit.
 */
#ifndef TV_STAGES_GRPO_DYNAMIC_H
#define TV_STAGES_GRPO_DYNAMIC_H

#include "stages/grpo/iteration.h"

/* What was drawn beside the rollout. */
typedef struct tv_grpo_further {
    uint64_t answers, rated; /* those that have a reward */
    double reward;           /* sum over them */
    double draw_seconds, score_seconds;
} tv_grpo_further;

/* Scores the answers of grpo->further; it may write over grpo->rewards. */
typedef tv_status tv_grpo_score(tv_grpo *grpo);

/* The rollout is scored and `rewards` are its, on entry. Groups that teach take the place of those that do
 * not. */
tv_status tv_grpo_replace_equal(tv_grpo *grpo, tv_grpo_score *score, tv_grpo_further *further);

/* The address of the first held-out prompt's draws: behind all that training may come to, and the same
 * however often the run was resumed. */
uint64_t tv_grpo_first_val(const tv_run *run);

#endif
