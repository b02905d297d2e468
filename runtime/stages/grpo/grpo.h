/* Stage 3: GRPO and its kin, reinforcement learning that compares answers to one prompt with each other.
 *
 * Promise: a step is an iteration (draw k answers a prompt, score, update); there is no value model, and no
 * reference unless KL has a price; what is trained, drawn and reported is as in iteration.h; everything that
 * is needed to go on is in each checkpoint, and a resumed run continues bit for bit. The rest of a run's life
 * is run.h's.
 */
#ifndef TV_STAGES_GRPO_GRPO_H
#define TV_STAGES_GRPO_GRPO_H

#include "stages/policy/options.h"

/* As tv_ppo_train, with the same options: what scores, and what KL is measured from. */
tv_status tv_grpo_train(const tv_policy_options *options, tv_run_result *result);

#endif
