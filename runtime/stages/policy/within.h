/* How far an iteration is, and that in a checkpoint.
 *
 * An iteration draws, scores and evaluates, goes some epochs through what it drew, and measures held-out
 * prompts. Before its first update a checkpoint is that of the step before. From there on it can be saved
 * between two updates and behind the last one: its rollout (rollout_file.h), the place of the next update and
 * what was measured up to it. What is left of it comes first on resuming, to the same bits.
 */
#ifndef TV_STAGES_POLICY_WITHIN_H
#define TV_STAGES_POLICY_WITHIN_H

#include "base/json.h"
#include "run/run.h"
#include "stages/policy/rewards.h"
#include "stages/policy/rollout.h"
#include "text/prompts.h"

/* What the models are. */
typedef enum tv_policy_models {
    TV_POLICY_UNTOUCHED, /* those of run->state.step */
    TV_POLICY_IN_FLIGHT, /* updates are under way: nothing of them can be saved */
    TV_POLICY_SETTLED    /* updated up to `epoch` and `first` */
} tv_policy_models;

/* Numbers that an iteration sums up on its way. */
typedef struct tv_policy_sums {
    const char *name;
    double *values;
    uint64_t count;
} tv_policy_sums;

enum { TV_POLICY_MOST_SUMS = 24 };

/* How long its parts took, in seconds, and how it drew. */
typedef struct tv_policy_times {
    double draw, score, forward, update;
    double draw_rate, prompt_shared; /* tokens a second; share of prompts' tokens that were not read again */
} tv_policy_times;
double tv_policy_times_sum(const tv_policy_times *times);
enum { TV_POLICY_TIMES_NUMBERS = 6 };
/* Appends draw/... and seconds/... */
void tv_policy_times_describe(const tv_policy_times *times, tv_metric_number *numbers, uint64_t *count);

typedef struct tv_policy_within {
    /* Of the stage, which sets them before the first iteration. */
    tv_run *run;
    tv_policy_rewards *scorers;
    const tv_prompts *prompts;
    tv_policy_rollout *rollout;
    uint64_t epochs, minibatch;
    tv_policy_sums sums[TV_POLICY_MOST_SUMS];
    uint64_t sum_count;
    /* How far it is. */
    tv_policy_models models;
    uint64_t epoch, first; /* of the next update: the place in the epoch's order where its minibatch begins */
    bool updated;          /* there is no further one: what is left is the measurement */
    bool taken_up;         /* all this is a checkpoint's, and what is left of the iteration comes next */
} tv_policy_within;

/* `count` numbers more that a checkpoint holds; and the times. Where there is no room for them, whatever
 * reads, writes or updates fails with TV_E_USAGE. */
void tv_policy_within_add(tv_policy_within *within, const char *name, double *values, uint64_t count);
void tv_policy_within_add_times(tv_policy_within *within, tv_policy_times *times);

/* Nothing of the next iteration is done. */
void tv_policy_within_restart(tv_policy_within *within);

/* Adds "within" to the stage's state, and the rollout to the directory of the checkpoint that is written. */
tv_status tv_policy_within_write(const tv_policy_within *within, cJSON *state, const char *directory);
/* The next iteration goes on with what `directory`, a checkpoint, holds in its file `state_name`. TV_E_DATA
 * where that fits no iteration of this run. */
tv_status tv_policy_within_read(tv_policy_within *within, const char *directory, const char *state_name);

/* ---- the updates ---- */

typedef struct tv_policy_updates {
    uint64_t count; /* sequences that take part */
    /* Lays out the order of an epoch. */
    tv_status (*order)(void *context, uint64_t epoch);
    /* The minibatch that begins at place `first`. */
    tv_status (*update)(void *context, const struct tv_step_constants *constants, uint64_t first);
    /* Takes the results of all updates in flight. */
    tv_status (*drain)(void *context);
    /* At an epoch's end: whether there is no further one; NULL: all epochs are gone through. */
    tv_status (*enough)(void *context, bool *enough);
    void *context;
    double *seconds; /* which they take are added */
} tv_policy_updates;

/* Hands all results of a trainer's updates in flight to `take`, in order. */
tv_status tv_policy_drain(tv_trainer *trainer, void (*take)(void *context, const tv_step_result *result),
                          void *context);

/* By all ranks. From where the iteration is to its last update. TV_E_INTERRUPTED where an interrupt stopped
 * it between two; it is settled then. */
tv_status tv_policy_within_update(tv_policy_within *within, const tv_policy_updates *updates);

#endif
