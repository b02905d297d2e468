/* The iterations of a run, its checkpoints and its sentences. */
#ifndef TV_STAGES_POLICY_LOOP_H
#define TV_STAGES_POLICY_LOOP_H

#include "run/run.h"
#include "stages/policy/within.h"

typedef struct tv_policy_loop {
    tv_run *run;
    tv_policy_within *within; /* how far the iteration at hand is */
    const char *what;         /* "an iteration of PPO", for labels */
    const char *advice;       /* what helps against numbers that are not finite: "a lower train.lr" */
    /* TV_E_NUMERIC where what is trained gives numbers that are not finite; TV_E_INTERRUPTED where an
     * interrupt stopped it on its way. */
    tv_status (*iterate)(void *context);
    /* Whether what is trained gives finite numbers as it is now: TV_E_NUMERIC when not. */
    tv_status (*check)(void *context);
    /* Adds what held-out prompts say of the policy as it is now; NULL: there are none. */
    tv_status (*measure)(void *context, tv_metrics_line *line);
    void *context;
    uint64_t good_step; /* of the last checkpoint that is known to give finite numbers; 0: none */
} tv_policy_loop;

/* To the end of this invocation, with a checkpoint where one is due and of the best step; after a failure
 * what was done stays. An iteration that stops with its models updated is saved as far as it is. A run's
 * first line, of step 0, says what is measured before it learns. */
tv_status tv_policy_loop_run(tv_policy_loop *loop);

#endif
