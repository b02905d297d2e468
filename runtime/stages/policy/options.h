/* What a run of PPO or GRPO is asked for. The folder holds what both share: rewards, prompts, rollouts, roles
 * beside the policy, and the loop of iterations with its checkpoints.
 */
#ifndef TV_STAGES_POLICY_OPTIONS_H
#define TV_STAGES_POLICY_OPTIONS_H

#include "run/run.h"
#include "stages/policy/reward.h"

typedef struct tv_policy_options {
    tv_run_options run; /* init: the policy to start from; data.train: prompt sets */
    const tv_reward_given *rewards;
    uint64_t reward_count;
    const char *reference; /* NULL: what the policy starts from */
    /* Whether a program may run that is not in these options but in the checkpoint that is resumed (`where`
     * names its file), which may be a stranger's; TV_OK runs it. NULL: such a program is refused. */
    tv_status (*allow_command)(void *context, const char *command, const char *where);
    void *allow_context;
} tv_policy_options;

#endif
