/* Device memory: buffers, and spans of them.
 *
 * Promise: a buffer lies in the memory that suits its kind, is within the device's limits, and counts in
 * tv_device_bytes. What is in several buffers is planned in plan.h and made in transfer.h.
 */
#ifndef TV_VK_MEMORY_H
#define TV_VK_MEMORY_H

#include "vk/device.h"
#include "vk/plan.h"

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

/* A single buffer, zeroed when mapped; its size is rounded up to TV_TENSOR_ALIGNMENT. */
tv_status tv_buffer_create(tv_device *device, uint64_t bytes, tv_memory_kind kind, const char *name,
                           tv_buffer **buffer);
void tv_buffer_destroy(tv_buffer **buffer);
tv_span tv_buffer_span(tv_buffer *buffer);
/* The host's view, or NULL for memory that the host cannot see. The host must not touch what a submission in
 * flight uses. */
void *tv_span_map(tv_span span);

/* Runs `make`, which plans by the device's caps and creates buffers. Where the driver refuses one of them, as
 * it may long before memory is full, buffers are at most half as large from then on (tv_caps.buffer_bytes),
 * and `make`, which left nothing behind, runs again; down to TV_SMALLEST_CUT. When that does not help the
 * caps are as before, and the first failure is what is told. */
#define TV_SMALLEST_CUT (UINT64_C(1) << 20)
tv_status tv_make_in_smaller_buffers(tv_device *device, tv_status (*make)(void *context), void *context);

/* Part of a span; both in bytes. What is not within the span is poisoned, and so is every part of that:
 * whatever it is given to fails with TV_E_USAGE, a dispatch by the kernel's name. */
tv_span tv_span_part(tv_span span, uint64_t offset, uint64_t bytes);
static inline bool tv_span_poisoned(tv_span span) {
    return span.bytes == UINT64_MAX;
}
/* The least span that holds both, which are of one buffer; poisoned where one is or where they are of two. */
tv_span tv_span_hull(tv_span a, tv_span b);
/* TV_E_USAGE, with `what`, for a poisoned one. */
tv_status tv_span_check(tv_span span, const char *what);

#endif
