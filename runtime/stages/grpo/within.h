/* How far an iteration is that stopped between two updates, in a checkpoint: the next update, what was
 * measured up to it, and the rollout (stages/ppo/rollout_file.h).
 */
#ifndef TV_STAGES_GRPO_WITHIN_H
#define TV_STAGES_GRPO_WITHIN_H

#include "base/json.h"
#include "stages/grpo/iteration.h"

/* Adds "within" to the stage's state, and the rollout to the directory of the checkpoint that is written. */
tv_status tv_grpo_within_write(const tv_grpo *grpo, cJSON *state, const char *directory);
/* The next iteration goes on with what `directory` holds; `where` names its state. TV_E_DATA where that fits
 * no iteration of this run. */
tv_status tv_grpo_within_read(tv_grpo *grpo, const cJSON *state, const char *where, const char *directory);

#endif
