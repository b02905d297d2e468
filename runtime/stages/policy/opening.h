/* What PPO and GRPO open before the first iteration, and what of it the memory plan names: prompts, rewards,
 * the settings of drawing.
 *
 * Order: prompts first, since settings that nobody gave follow from them; then rewards and drawing, which
 * take sequences of data.seq_len tokens.
 */
#ifndef TV_STAGES_POLICY_OPENING_H
#define TV_STAGES_POLICY_OPENING_H

#include "run/run.h"
#include "stages/policy/rewards.h"
#include "stages/policy/roles.h"
#include "stages/rollout.h"
#include "stages/sampling.h"
#include "text/prompts.h"

/* The prompts of data.train and data.val (*val stays NULL where none are named), for answers of up to
 * `max_new_tokens`; their longest, and the settings that follow from them. Refuses what is no language model.
 * The caller destroys both, after a failure too. */
tv_status tv_policy_open_prompts(tv_run *run, uint64_t max_new_tokens, const tv_policy_sources *sources,
                                 tv_prompts **prompts, tv_prompts **val, uint64_t *longest);
/* For rollouts of so many sequences; models hold their matrices as `weights` says and borrow the activations
 * of `shared`. */
tv_status tv_policy_open_rewards(const tv_run *run, const tv_policy_sources *sources, uint64_t sequences,
                                 tv_weights weights, tv_activation_arena *shared,
                                 tv_policy_rewards **rewards);
/* How answers are drawn. Keeps the ends of answers with the run, so that a resumed one draws with the same.
 */
tv_status tv_policy_open_drawing(tv_run *run, const tv_prompts *prompts, const tv_sampling *sampling,
                                 tv_decoder_settings *drawing);

/* Adds what a role, or drawing, takes to the plan of the run; `name` and, where the base's weights are the
 * policy's, `name_shared` are what a dry run calls it. */
tv_status tv_policy_plan_role(tv_run *run, const tv_policy_role *role, const char *name,
                              const char *name_shared);
tv_status tv_policy_plan_drawing(tv_run *run, const tv_rollout_options *options);

#endif
