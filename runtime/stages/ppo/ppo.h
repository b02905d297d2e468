/* Stage 3: PPO, reinforcement learning from a reward, limited by the KL from a reference.
 *
 * Promise: a step is an iteration (draw, score, update); what is trained, drawn and reported is as in
 * iteration.h; everything that is needed to go on, the value model included, is in each checkpoint, and a
 * resumed run continues bit for bit. The rest of a run's life is run.h's.
 */
#ifndef TV_STAGES_PPO_PPO_H
#define TV_STAGES_PPO_PPO_H

#include "run/run.h"
#include "stages/ppo/reward.h"

typedef struct tv_ppo_options {
    tv_run_options run; /* init: the policy to start from; data.train: prompt sets */
    const tv_reward_given *rewards;
    uint64_t reward_count;
    const char *reference; /* NULL: what the policy starts from */
    /* Whether a program may run that is not in these options but in the checkpoint that is resumed (`where`
     * names its file), which may be a stranger's; TV_OK runs it. NULL: such a program is refused. */
    tv_status (*allow_command)(void *context, const char *command, const char *where);
    void *allow_context;
} tv_ppo_options;

/* As tv_run_stage. On resuming, reward and reference are those of the checkpoint unless given. A dry run runs
 * no program, and prints which one would be. */
tv_status tv_ppo_train(const tv_ppo_options *options, tv_run_result *result);

#endif
