/* Device memory: plans, arenas, buffers, copies in and out.
 *
 * Promise: sizes are computed before anything is allocated, by the same code that allocates, so that
 * --dry-run tells the truth; an arena is a list of buffers within the device's limits; tensors align to
 * TV_TENSOR_ALIGNMENT.
 */
#ifndef TV_VK_MEMORY_H
#define TV_VK_MEMORY_H

#include "vk/device.h"

/* The largest offset alignment that Vulkan lets a device ask for. */
#define TV_TENSOR_ALIGNMENT UINT64_C(256)

typedef struct tv_buffer tv_buffer;

/* A range of a buffer. A zeroed span is "absent": a binding that the kernel does not touch. */
typedef struct tv_span {
    tv_buffer *buffer;
    uint64_t offset, bytes;
} tv_span;

typedef enum tv_memory_kind {
    TV_MEMORY_DEVICE,  /* fast for the device */
    TV_MEMORY_UPLOAD,  /* mapped, written by the host, read by the device */
    TV_MEMORY_READBACK /* mapped, written by the device, read by the host */
} tv_memory_kind;

/* One tensor of a plan: it lives from operation `first` to operation `last`, both included. Two items whose
 * lives overlap never share bytes. */
typedef struct tv_plan_item {
    uint64_t bytes;
    uint32_t first, last;
    uint32_t block;  /* set by tv_memory_plan_assign */
    uint64_t offset; /* set by tv_memory_plan_assign */
} tv_plan_item;

/* Where the items lie: blocks of at most the device's buffer size. */
typedef struct tv_memory_plan {
    uint64_t *block_bytes;
    uint32_t block_count;
    uint64_t total_bytes;
} tv_memory_plan;

/* Places items in their order, one after another, as gradients lie. `limit` is the bytes of one block.
 * TV_E_FIT when one item is larger. The caller frees the plan with tv_memory_plan_free. */
tv_status tv_memory_plan_sequence(tv_plan_item *items, uint64_t count, uint64_t limit, tv_memory_plan *plan);
/* Places items by first fit in decreasing size. `limit` is the bytes of one block. TV_E_FIT when one item is
 * larger. The caller frees the plan with tv_memory_plan_free. */
tv_status tv_memory_plan_assign(tv_plan_item *items, uint64_t count, uint64_t limit, tv_memory_plan *plan);
void tv_memory_plan_free(tv_memory_plan *plan);

/* The buffers of a plan, zeroed. `name` labels them in tools and sentences; it is copied. */
typedef struct tv_device_arena tv_device_arena;
tv_status tv_device_arena_create(tv_device *device, const tv_memory_plan *plan, tv_memory_kind kind,
                                 const char *name, tv_device_arena **arena);
void tv_device_arena_destroy(tv_device_arena **arena);
tv_span tv_device_arena_span(const tv_device_arena *arena, const tv_plan_item *item);

/* A single buffer, zeroed when mapped; its size is rounded up to TV_TENSOR_ALIGNMENT. */
tv_status tv_buffer_create(tv_device *device, uint64_t bytes, tv_memory_kind kind, const char *name,
                           tv_buffer **buffer);
void tv_buffer_destroy(tv_buffer **buffer);
tv_span tv_buffer_span(tv_buffer *buffer);
/* The host's view, or NULL for memory that the host cannot see. The host must not touch what a submission in
 * flight uses. */
void *tv_span_map(tv_span span);

/* Part of a span; both in bytes, within the span. */
tv_span tv_span_part(tv_span span, uint64_t offset, uint64_t bytes);

/* Copies between host and device and waits until it is done. For set-up and checkpoints, not for steps.
 * Everything submitted before has finished when they return. */
tv_status tv_upload(tv_device *device, tv_span to, const void *from, uint64_t bytes);
tv_status tv_download(tv_device *device, tv_span from, void *to, uint64_t bytes);
tv_status tv_clear(tv_device *device, tv_span span);

#endif
