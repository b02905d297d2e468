/* What PPO's four roles take with a changed step: for the advice where a run does not fit.
 *
 * Promise: the bytes are those that a run with the changed settings plans, arena of activations included.
 * Changes of its own: fewer answers drawn side by side, a narrower reward model, and a value model over the
 * policy's base, which adapters share.
 */
#ifndef TV_STAGES_PPO_MEMORY_H
#define TV_STAGES_PPO_MEMORY_H

#include "run/memory_advice.h"
#include "stages/ppo/iteration.h"

enum { TV_PPO_CHANGES = 6 }; /* none among them */

typedef struct tv_ppo_memory {
    const tv_ppo *ppo;
    const tv_caps *caps;
    uint64_t rows; /* of drawing */
    const char *keys[TV_PPO_CHANGES];
    char rows_key[32];
    tv_memory_roles roles;
} tv_ppo_memory;

/* Fills `roles`, whose context is `memory` itself. */
void tv_ppo_memory_begin(const tv_ppo *ppo, const tv_caps *caps, uint64_t rows, tv_ppo_memory *memory);

#endif
