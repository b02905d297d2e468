/* Rewards, advantages and returns of a rollout, on the device: one recording, replayed every iteration.
 *
 * Promise: it takes tv_ppo_advantages_bytes of device memory and computes what kernels/gae.h says.
 */
#ifndef TV_STAGES_PPO_ADVANTAGES_H
#define TV_STAGES_PPO_ADVANTAGES_H

#include "kernels/gae.h"
#include "run/settings.h"
#include "stages/policy/rollout.h"

typedef struct tv_ppo_advantages tv_ppo_advantages;

uint64_t tv_ppo_advantages_bytes(uint64_t sequences, uint64_t tokens);
tv_status tv_ppo_advantages_create(tv_device *device, const tv_ppo_settings *settings, uint64_t sequences,
                                   uint64_t tokens, tv_ppo_advantages **advantages);
void tv_ppo_advantages_destroy(tv_ppo_advantages **advantages);

/* From log-probabilities, values and the rewards of the sequences' ends (S) to advantages, whitened, and
 * returns of the rollout. `totals` gets the sums over sequences, TV_GAE_*. Blocks. */
tv_status tv_ppo_advantages_run(tv_ppo_advantages *advantages, tv_policy_rollout *rollout,
                                const float *rewards, double kl_coef, double totals[TV_GAE_SUMS]);

#endif
