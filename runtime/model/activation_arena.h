/* One arena of activations that several passes borrow in turn.
 *
 * Roles that never compute at the same time need no activations of their own each: what a pass keeps lies in
 * its activations from its first dispatch to its last, and nothing of it is asked for afterwards. Submissions
 * run in their order, each behind a barrier against all before (vk/recorder.h), so that the host may submit
 * one borrower's work behind another's without waiting.
 *
 * Promise: the arena is as large as the largest of the plans that were reserved, and is made when the first
 * of them is. One user at a time: who borrows what somebody else has not returned is refused by both names.
 * Made and used by one thread.
 */
#ifndef TV_MODEL_ACTIVATION_ARENA_H
#define TV_MODEL_ACTIVATION_ARENA_H

#include "vk/transfer.h"

typedef struct tv_activation_arena tv_activation_arena;

/* Held by one; empty. */
tv_status tv_activation_arena_create(tv_activation_arena **arena);
/* Held by one more: activations in it hold it, so that it may be released before them. */
void tv_activation_arena_hold(tv_activation_arena *arena);
void tv_activation_arena_release(tv_activation_arena **arena);

/* It holds this plan too from here on. TV_E_USAGE when it is made already and is smaller. */
tv_status tv_activation_arena_reserve(tv_activation_arena *arena, const tv_memory_plan *plan);
/* Bytes of its blocks at most: the first limit that was told, which all plans for it keep to. */
uint64_t tv_activation_arena_limit(tv_activation_arena *arena, uint64_t limit);
bool tv_activation_arena_has_room(const tv_activation_arena *arena, const tv_memory_plan *plan);
/* Of device memory, as reserved so far. */
uint64_t tv_activation_arena_bytes(const tv_activation_arena *arena);

/* The memory, for the spans of plans that were reserved; the arena's own. */
tv_status tv_activation_arena_make(tv_activation_arena *arena, tv_device *device,
                                   const tv_device_arena **made);

/* `user` is who has it, for sentences; it lasts until the return. */
tv_status tv_activation_arena_borrow(tv_activation_arena *arena, const void *borrower, const char *user);
void tv_activation_arena_return(tv_activation_arena *arena, const void *borrower);
/* Whether nobody borrowed it since. */
bool tv_activation_arena_untouched_since(const tv_activation_arena *arena, const void *borrower);

#endif
