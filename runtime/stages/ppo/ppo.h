/* Stage 3: PPO, reinforcement learning from a reward, limited by the KL from a reference.
 *
 * Promise: a step is an iteration (draw, score, update); what is trained, drawn and reported is as in
 * iteration.h; everything that is needed to go on, the value model included, is in each checkpoint, and a
 * resumed run continues bit for bit. The rest of a run's life is run.h's.
 */
#ifndef TV_STAGES_PPO_PPO_H
#define TV_STAGES_PPO_PPO_H

#include "stages/policy/options.h"

/* As tv_run_stage. On resuming, reward and reference are those of the checkpoint unless given. A dry run runs
 * no program, and prints which one would be. */
tv_status tv_ppo_train(const tv_policy_options *options, tv_run_result *result);

#endif
