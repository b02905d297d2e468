/* One iteration of GRPO, from prompts to an updated policy and the line that tells of it.
 *
 * Reads top to bottom in iteration.c: draw k answers to each prompt, score, choose the groups that teach,
 * evaluate policy (where its log-probabilities did not come with the draws) and reference, advantages,
 * update, measure held-out prompts, report. Everything drawn is addressed by seed and the number of the
 * answer over the whole run, so that a resumed run continues bit for bit. An interrupt stops it anywhere;
 * from the first update on the checkpoint holds the rollout (stages/policy/within.h). What outlasts an
 * iteration changes at its end only, behind all that may stop it.
 */
#ifndef TV_STAGES_GRPO_ITERATION_H
#define TV_STAGES_GRPO_ITERATION_H

#include "model/group_head.h"
#include "run/run.h"
#include "stages/policy/rewards.h"
#include "stages/policy/roles.h"
#include "stages/policy/rollout.h"
#include "stages/policy/within.h"
#include "stages/rollout.h"
#include "text/prompts.h"

enum { TV_GRPO_NUMBERS = 40 + TV_POLICY_REWARDS_NUMBERS };

/* What an iteration measures on its way. */
typedef struct tv_grpo_measured {
    double rated, reward, reward_square, ended; /* answers with a reward; sums over them; over all answers */
    double drawn, drawn_rated, drawn_reward;    /* the same of groups that gave way too */
    uint64_t equal;                             /* groups without variance */
    double stats[TV_HEAD_STATS];
    double loss, first_deviation, grad_norm; /* sum of the updates' losses; of the first minibatch's ratios */
    double updates, skipped;
    tv_policy_times times;
} tv_grpo_measured;

typedef struct tv_grpo {
    tv_run *run;                      /* the policy and its trainer */
    tv_activation_arena *activations; /* of all roles in turn */
    tv_prompts *prompts, *val;        /* val: held-out prompts; NULL: none */
    tv_policy_rewards *scorers;
    tv_policy_role reference; /* closed while kl_coef is 0 */
    tv_group_settings head;
    tv_decoder_settings drawing;
    tv_rollout *drawer;
    tv_policy_rollout rollout;  /* S = prompts x answers, a prompt's answers one behind the other */
    tv_policy_rollout held_out; /* of the same size; empty where there is none */
    tv_policy_rollout further;  /* what dynamic sampling draws beside it; empty where there is none */
    double *rewards;            /* (S) */
    uint8_t *equal;             /* (prompts): 1 where all rewards of the group are the same */
    bool passes;                /* the policy's forward pass is made, whatever came with the draws */
    uint64_t *kept, *order;     /* (S): sequences that take part in the updates; their order in the epoch */
    uint64_t kept_count;
    tv_grpo_measured measured; /* of the iteration at hand */
    tv_policy_within within;
    uint64_t first_val; /* the address of the first held-out prompt's draws, behind all of training's */
    tv_metric_number numbers[TV_GRPO_NUMBERS]; /* of the last line */
    uint64_t number_count;
    char warning[160];      /* of the last line; empty: none */
    uint64_t nothing_since; /* the first iteration of those in a row without a group that teaches; 0: none */
} tv_grpo;

/* Once the rollout is there: what of an iteration a checkpoint holds. */
void tv_grpo_within_begin(tv_grpo *grpo);
/* Whether the policy's loss or its rewards have a price on KL. */
bool tv_grpo_has_reference(const tv_grpo *grpo);
/* Iteration number run->state.step, which is one more afterwards. TV_E_NUMERIC where the policy gives numbers
 * that are not finite; the step is then not counted, but has a line that says so. */
tv_status tv_grpo_iterate(tv_grpo *grpo);
/* What held-out prompts, of which there are some, say of the policy as it is now: the line's further numbers.
 */
tv_status tv_grpo_measure(tv_grpo *grpo, tv_metrics_line *line);
/* Whether the policy gives finite numbers as it is now, for the last rollout: TV_E_NUMERIC when not. */
tv_status tv_grpo_check(tv_grpo *grpo);

#endif
