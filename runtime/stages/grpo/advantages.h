/* Advantages of answers that are compared with each other: no value model, the group is the baseline.
 *
 * Sources: group Shao et al. 2024 (GRPO); none Liu et al. 2025 (Dr. GRPO); batch as TRL has it; rloo Ahmadian
 * et al. 2024; reinforce++ Hu 2025. All in double on the host: a rollout has one number an answer.
 */
#ifndef TV_STAGES_GRPO_ADVANTAGES_H
#define TV_STAGES_GRPO_ADVANTAGES_H

#include "run/settings.h"
#include "stages/policy/rollout.h"

/* equal: (sequences / answers) out, 1 where all rewards of a group are the same; returns how many. */
uint64_t tv_group_equal(const tv_grpo_settings *settings, const double *rewards, uint64_t sequences,
                        uint8_t *equal);

/* The rollout's sequences are groups of `answers`, one behind the other. rewards: (S). Fills the advantages
 * of every response token; old and reference log-probabilities are read where kl_coef is above 0 and the kind
 * takes its penalty from the reward (rloo, reinforce++). `equal` and the result are tv_group_equal's. */
uint64_t tv_group_advantages(const tv_grpo_settings *settings, const double *rewards,
                             tv_policy_rollout *rollout, uint8_t *equal);

#endif
