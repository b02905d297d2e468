/* The rounds of `trivium align`: each step is a command of its own (sample, rank, prefs, reward, dpo, ppo,
 * grpo) with the arguments that a person would type, in the directory of its round.
 *
 *     OUT/align.json                      the plan (align_plan.h)
 *     OUT/round-K/candidates.jsonl        sample, by the policy of the round before
 *     OUT/round-K/rankings.jsonl          rank; not with a reward model as judge, which orders while sampling
 *     OUT/round-K/prefs.jsonl             prefs
 *     OUT/round-K/reward/                 the run of reward, on the preferences of all rounds so far
 *     OUT/round-K/dpo/, ppo/ or grpo/     the run that makes the round's policy
 *     OUT/round-K/STEP.finished           {"command", "seconds"}: the step is at its end
 *     OUT/report.html                     all rounds so far, written at the end of each
 *
 * Promise: a step that is finished is not done again; one that was killed goes on by its own means, and what
 * comes out are the bits of rounds that nobody disturbed (but for people, who judge as they like).
 */
#ifndef TV_TOOLS_ALIGN_ROUNDS_H
#define TV_TOOLS_ALIGN_ROUNDS_H

#include "tools/align_plan.h"

typedef struct tv_align_options {
    const tv_align_plan *plan;
    const tv_texts *page; /* of --people: further words for `trivium rank` */
    const char *launcher; /* "mpirun -n 4": in front of the steps that ranks can share; or NULL */
    const tv_common_options *common;
} tv_align_options;

typedef struct tv_align_result {
    uint64_t steps, done; /* of all rounds; of them, done now */
    char *policy;         /* of the last round; the caller frees */
} tv_align_result;

/* TV_E_INTERRUPTED after Ctrl-C, with the way to go on. */
tv_status tv_align_run(const tv_align_options *options, tv_align_result *result);
/* Prints each step's command, finished or not. */
tv_status tv_align_print(const tv_align_options *options);

#endif
