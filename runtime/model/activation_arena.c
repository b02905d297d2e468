/* Activations borrowed in turn: see activation_arena.h. */
#include "model/activation_arena.h"

#include <stdlib.h>

#include "base/bytes.h"

struct tv_activation_arena {
    uint32_t holders;
    uint64_t limit;      /* of a block, as those who plan theirs agree; 0: nobody has yet */
    tv_memory_plan plan; /* block by block the largest of those reserved */
    tv_device_arena *memory;
    const void *borrower, *last;
    const char *user;
};

tv_status tv_activation_arena_create(tv_activation_arena **arena) {
    *arena = calloc(1, sizeof **arena);
    if (!*arena)
        return tv_fail(TV_E_MEMORY, "out of host memory for an arena of activations");
    (*arena)->holders = 1;
    return TV_OK;
}

void tv_activation_arena_hold(tv_activation_arena *arena) {
    arena->holders++;
}

void tv_activation_arena_release(tv_activation_arena **handle) {
    tv_activation_arena *arena = *handle;
    *handle = NULL;
    if (!arena || --arena->holders > 0)
        return;
    tv_device_arena_destroy(&arena->memory);
    tv_memory_plan_free(&arena->plan);
    free(arena);
}

uint64_t tv_activation_arena_limit(tv_activation_arena *arena, uint64_t limit) {
    if (arena->limit == 0)
        arena->limit = limit;
    return arena->limit;
}

bool tv_activation_arena_has_room(const tv_activation_arena *arena, const tv_memory_plan *plan) {
    for (uint32_t i = 0; i < plan->block_count; i++)
        if (i >= arena->plan.block_count || plan->block_bytes[i] > arena->plan.block_bytes[i])
            return false;
    return true;
}

tv_status tv_activation_arena_reserve(tv_activation_arena *arena, const tv_memory_plan *plan) {
    tv_memory_plan *own = &arena->plan;
    if (tv_activation_arena_has_room(arena, plan))
        return TV_OK;
    if (arena->memory)
        return tv_fail(TV_E_USAGE, "activations of %llu bytes were not planned in the arena of %llu",
                       (unsigned long long)plan->total_bytes, (unsigned long long)own->total_bytes);
    if (plan->block_count > own->block_count) {
        uint64_t *blocks = realloc(own->block_bytes, plan->block_count * sizeof *blocks);
        if (!blocks)
            return tv_fail(TV_E_MEMORY, "out of host memory for an arena of activations");
        own->block_bytes = blocks;
        while (own->block_count < plan->block_count)
            blocks[own->block_count++] = 0;
    }
    own->total_bytes = 0;
    for (uint32_t i = 0; i < own->block_count; i++) {
        if (i < plan->block_count)
            own->block_bytes[i] = tv_max_u64(own->block_bytes[i], plan->block_bytes[i]);
        own->total_bytes += own->block_bytes[i];
    }
    return TV_OK;
}

uint64_t tv_activation_arena_bytes(const tv_activation_arena *arena) {
    return arena->plan.total_bytes;
}

tv_status tv_activation_arena_make(tv_activation_arena *arena, tv_device *device,
                                   const tv_device_arena **made) {
    if (!arena->memory)
        TV_RETURN_IF_FAILED(
            tv_device_arena_create(device, &arena->plan, TV_MEMORY_DEVICE, "activations", &arena->memory));
    *made = arena->memory;
    return TV_OK;
}

tv_status tv_activation_arena_borrow(tv_activation_arena *arena, const void *borrower, const char *user) {
    if (arena->borrower)
        return tv_fail(TV_E_USAGE, "%s asked for the activations that %s has not returned", user,
                       arena->user);
    arena->borrower = arena->last = borrower;
    arena->user = user;
    return TV_OK;
}

void tv_activation_arena_return(tv_activation_arena *arena, const void *borrower) {
    if (arena->borrower == borrower)
        arena->borrower = NULL;
}

bool tv_activation_arena_untouched_since(const tv_activation_arena *arena, const void *borrower) {
    return arena->last == borrower;
}
