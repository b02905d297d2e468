/* What the roles of PPO or GRPO take with a changed step: for the advice where a run does not fit.
 *
 * Promise: the bytes are those that a run with the changed settings plans, arena of activations included.
 * Changes of its own: fewer answers drawn side by side, a narrower reward model, and a value model over the
 * policy's base, which adapters share.
 */
#ifndef TV_STAGES_POLICY_MEMORY_H
#define TV_STAGES_POLICY_MEMORY_H

#include "run/memory_advice.h"
#include "run/run.h"
#include "stages/policy/rewards.h"
#include "stages/policy/roles.h"
#include "stages/rollout.h"

enum { TV_POLICY_CHANGES = 7 }; /* none among them */

/* What stands beside the policy. */
typedef struct tv_policy_memory_roles {
    const tv_run *run;
    const tv_caps *caps;
    const tv_policy_role *reference, *value; /* NULL: there is none */
    tv_policy_rewards *rewards;
    tv_rollout_options drawing;
    bool mix;           /* pretraining text is learned beside */
    bool narrows;       /* the reward model's types are as published, and a setting changes them */
    bool moves;         /* the value model begins as the reward model, and a setting changes that */
    uint64_t sequences; /* of a rollout */
    /* Bytes that the stage keeps on the device for such a rollout; NULL: none. */
    uint64_t (*further)(uint64_t sequences, uint64_t tokens);
} tv_policy_memory_roles;

typedef struct tv_policy_memory {
    tv_policy_memory_roles of;
    const char *keys[TV_POLICY_CHANGES];
    char texts[TV_POLICY_CHANGES][64];
    tv_memory_roles roles;
} tv_policy_memory;

/* Fills `memory`, whose `roles` have itself for a context. */
void tv_policy_memory_begin(const tv_policy_memory_roles *of, tv_policy_memory *memory);

#endif
