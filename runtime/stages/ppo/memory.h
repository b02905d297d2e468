/* What the roles of PPO or GRPO take with a changed step: for the advice where a run does not fit.
 *
 * Promise: the bytes are those that a run with the changed settings plans, arena of activations included.
 * Changes of its own: fewer answers drawn side by side, a narrower reward model, and a value model over the
 * policy's base, which adapters share.
 */
#ifndef TV_STAGES_PPO_MEMORY_H
#define TV_STAGES_PPO_MEMORY_H

#include "run/memory_advice.h"
#include "run/run.h"
#include "stages/ppo/rewards.h"
#include "stages/ppo/roles.h"
#include "stages/rollout.h"

enum { TV_PPO_CHANGES = 7 }; /* none among them */

/* What stands beside the policy. */
typedef struct tv_ppo_memory_roles {
    const tv_run *run;
    const tv_caps *caps;
    const tv_ppo_role *reference, *value; /* NULL: there is none */
    tv_ppo_rewards *rewards;
    tv_rollout_options drawing;
    bool mix;           /* pretraining text is learned beside */
    bool narrows;       /* the reward model's types are as published, and a setting changes them */
    bool moves;         /* the value model begins as the reward model, and a setting changes that */
    uint64_t sequences; /* of a rollout whose advantages the device computes; 0: it does not */
} tv_ppo_memory_roles;

typedef struct tv_ppo_memory {
    tv_ppo_memory_roles of;
    const char *keys[TV_PPO_CHANGES];
    char texts[TV_PPO_CHANGES][64];
    tv_memory_roles roles;
} tv_ppo_memory;

/* Fills `memory`, whose `roles` have itself for a context. */
void tv_ppo_memory_begin(const tv_ppo_memory_roles *of, tv_ppo_memory *memory);

#endif
