/* What the files of a recorder share: recorder.c has its life, its labels and its submissions, hazards.c the
 * barriers, dispatch.c the commands.
 */
#ifndef TV_VK_RECORDER_PARTS_H
#define TV_VK_RECORDER_PARTS_H

#include <stdlib.h>

#include "vk/internal.h"

enum { TV_LABEL_DEPTH = 8 };

/* Bytes that a command since the last barrier reads or writes. */
typedef struct tv_pending_access {
    const tv_buffer *buffer;
    uint64_t begin, end;
    tv_access access;
} tv_pending_access;

struct tv_recorder {
    tv_device *device;
    tv_recording *recording;
    VkCommandBuffer commands;
    double budget, segment_cost;
    tv_pending_access *pending;
    uint64_t pending_count, pending_capacity;
    char labels[TV_LABEL_DEPTH][TV_LABEL_BYTES];
    uint32_t label_depth;
    VkDescriptorPool pool;
    uint32_t pool_used;
};

/* The array with room for one more element behind `count`, its capacity the next power of two; NULL when
 * memory is out, and the array stays as it was. */
static inline void *tv_recorder_room(void *array, uint32_t count, size_t size) {
    if (count & (count - 1))
        return array;
    return realloc(array, (count ? 2 * (size_t)count : 1) * size);
}

static inline tv_status tv_recorder_no_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory while recording commands");
}

/* ---- hazards.c ---- */

/* A barrier between all work so far and the work of a segment that begins. */
void tv_record_barrier_to_work(tv_recorder *recorder);
/* Makes all work so far visible to the host. */
void tv_record_barrier_to_host(tv_recorder *recorder);
/* One barrier for all hazards of a command, or none; then the command's accesses are what the next one must
 * respect. Spans without a buffer are passed over. */
tv_status tv_record_order(tv_recorder *recorder, const tv_span *spans, const tv_access *access,
                          uint32_t count);

/* ---- recorder.c ---- */

void tv_recorder_begin_label(tv_recorder *recorder, const char *text);
void tv_recorder_end_label(tv_recorder *recorder);
/* A submission of its own begins where the budget would be exceeded. */
tv_status tv_recorder_take_from_budget(tv_recorder *recorder, double cost);
/* Nothing where the recording has no such query. */
void tv_record_timestamp(tv_recorder *recorder, uint32_t query);

#endif
