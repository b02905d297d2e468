/* One iteration of PPO, from prompts to an updated policy and the line that tells of it.
 *
 * Reads top to bottom in iteration.c: draw, evaluate the roles (the policy only where its log-probabilities
 * did not come with the draws), score, advantages, update, measure
 * held-out prompts, report. Everything drawn is addressed by seed and iteration, so that a resumed run
 * continues bit for bit. An interrupt stops it anywhere; from the first update on the checkpoint holds the
 * rollout (within.h). What outlasts an iteration changes at its end only, behind all that may stop it.
 */
#ifndef TV_STAGES_PPO_ITERATION_H
#define TV_STAGES_PPO_ITERATION_H

#include "model/policy_head.h"
#include "model/score_head.h"
#include "run/run.h"
#include "stages/policy/rewards.h"
#include "stages/policy/roles.h"
#include "stages/policy/within.h"
#include "stages/ppo/advantages.h"
#include "stages/rollout.h"
#include "text/loader.h"
#include "text/prompts.h"

enum { TV_PPO_NUMBERS = 40 + TV_POLICY_REWARDS_NUMBERS };

/* What an iteration measures on its way. */
typedef struct tv_ppo_measured {
    double totals[TV_GAE_SUMS];
    double score, ended; /* sums over sequences */
    double policy[TV_HEAD_STATS], value[TV_HEAD_STATS];
    double terms, value_terms;    /* response tokens that the updates saw */
    double epoch_kl, epoch_terms; /* approximate KL and tokens when the epoch began */
    double first_deviation;       /* root mean square of ratio - 1 in the first minibatch */
    double grad_norm, value_grad_norm, ptx_loss;
    double updates, value_updates, ptx_updates, skipped;
    tv_policy_times times;
    double device_seconds; /* of these, in which the host only waited for the device */
} tv_ppo_measured;

typedef struct tv_ppo {
    tv_run *run;                      /* the policy and its trainer */
    tv_activation_arena *activations; /* of all roles in turn */
    tv_prompts *prompts;
    tv_policy_rewards *scorers;
    tv_policy_role reference, value;
    tv_policy_settings policy_settings;
    tv_value_settings value_settings;
    tv_decoder_settings drawing;
    tv_rollout *drawer;
    tv_ppo_advantages *advantages;
    tv_policy_rollout rollout, held_out; /* of the same size; empty where there are no held-out prompts */
    tv_ppo_measured measured;            /* of the iteration at hand */
    tv_policy_within within;
    bool passes;     /* the policy's forward pass is made, whatever came with the draws */
    uint64_t *order; /* (S) of the epoch */
    float *rewards;  /* (S): what each sequence's last token is rewarded with */
    tv_prompts *val; /* held-out prompts; NULL: none */
    tv_loader *ptx;  /* pretraining text that the policy keeps learning; NULL: none */
    tv_trainer *ptx_trainer;
    uint64_t ptx_examples; /* windows drawn so far */
    uint64_t first_val;    /* the address of the first held-out prompt's draws, behind all of training's */
    double kl_coef;        /* beta as the controller has it */
    uint64_t negative_kl;  /* iterations in a row whose mean KL was clearly negative */
    struct tv_update_state value_state;
    tv_metric_number numbers[TV_PPO_NUMBERS]; /* of the last line */
    uint64_t number_count;
    char warning[160];        /* of the last line; empty: none */
    uint64_t collapsed_since; /* the first step of those in a row with one, up to the last; 0: none */
} tv_ppo;

/* Once the rollout is there: what of an iteration a checkpoint holds. */
void tv_ppo_within_begin(tv_ppo *ppo);
/* Iteration number run->state.step, which is one more afterwards. TV_E_NUMERIC where the policy or the value
 * model gives numbers that are not finite; the step is then not counted, but has a line that says so. */
tv_status tv_ppo_iterate(tv_ppo *ppo);
/* What held-out prompts, of which there are some, say of the policy as it is now: the line's further numbers.
 */
tv_status tv_ppo_measure(tv_ppo *ppo, tv_metrics_line *line);
/* Whether both models give finite numbers as they are now, for the last rollout: TV_E_NUMERIC when not. */
tv_status tv_ppo_check(tv_ppo *ppo);

#endif
