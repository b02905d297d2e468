/* What goes between host and device outside of steps: copies, and arenas that start as zeros.
 *
 * Promise: works whether or not the host sees the device's memory; where it does not, through a staging
 * buffer and a recording of its own.
 */
#ifndef TV_VK_TRANSFER_H
#define TV_VK_TRANSFER_H

#include "vk/memory.h"

/* Copies between host and device and waits until it is done. For set-up and checkpoints, not for steps.
 * Everything submitted before has finished when they return. */
tv_status tv_upload(tv_device *device, tv_span to, const void *from, uint64_t bytes);
tv_status tv_download(tv_device *device, tv_span from, void *to, uint64_t bytes);
tv_status tv_clear(tv_device *device, tv_span span);

/* The buffers of a plan, zeroed. `name` labels them in tools and sentences; it is copied. */
typedef struct tv_device_arena tv_device_arena;
tv_status tv_device_arena_create(tv_device *device, const tv_memory_plan *plan, tv_memory_kind kind,
                                 const char *name, tv_device_arena **arena);
void tv_device_arena_destroy(tv_device_arena **arena);
tv_span tv_device_arena_span(const tv_device_arena *arena, const tv_plan_item *item);
/* Its buffers as they are, for what goes over all of it; the padding between items is 0 as long as nobody
 * writes there. */
uint32_t tv_device_arena_blocks(const tv_device_arena *arena);
tv_span tv_device_arena_block(const tv_device_arena *arena, uint32_t block);

#endif
