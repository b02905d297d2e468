/* Copies between host and device, and arenas that start as zeros: see transfer.h. */
#include "vk/transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vk/internal.h"
#include "vk/once.h"

/* Enough to keep the bus busy, little beside any model. */
enum { STAGING_BYTES = 16 << 20 };

typedef enum copy_direction { COPY_UP, COPY_DOWN } copy_direction;

static tv_status copy_once(tv_device *device, tv_span from, tv_span to) {
    tv_recorder *recorder = NULL;
    tv_status status;
    TV_TRY_OR_FAIL(tv_recorder_begin(device, &(tv_recorder_options){.name = "copy"}, &recorder));
    TV_TRY_OR_FAIL(tv_record_copy(recorder, from, to));
    return tv_run_once(&recorder);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

static tv_status copy_staged(tv_device *device, tv_span span, char *host, uint64_t bytes,
                             copy_direction direction) {
    tv_buffer *staging = NULL;
    tv_status status = TV_OK;
    uint64_t chunk = tv_min_u64(tv_align_up(bytes, 4), STAGING_BYTES);
    TV_TRY(tv_buffer_create(device, chunk, direction == COPY_UP ? TV_MEMORY_UPLOAD : TV_MEMORY_READBACK,
                            "staging", &staging));
    for (uint64_t done = 0; done < bytes; done += chunk) {
        uint64_t size = tv_min_u64(chunk, bytes - done);
        tv_span stage = tv_span_part(tv_buffer_span(staging), 0, tv_align_up(size, 4));
        tv_span part = tv_span_part(span, done, tv_align_up(size, 4));
        if (direction == COPY_UP) {
            memcpy(staging->mapped, host + done, size);
            TV_TRY(copy_once(device, stage, part));
        } else {
            TV_TRY(copy_once(device, part, stage));
            memcpy(host + done, staging->mapped, size);
        }
    }
done:
    tv_buffer_destroy(&staging);
    return status;
}

static tv_status check_copy(tv_span span, uint64_t bytes) {
    TV_RETURN_IF_FAILED(tv_span_check(span, "a copy"));
    if (bytes > span.bytes)
        return tv_fail(TV_E_USAGE, "a copy of %llu bytes does not fit a span of %llu",
                       (unsigned long long)bytes, (unsigned long long)span.bytes);
    return TV_OK;
}

tv_status tv_upload(tv_device *device, tv_span to, const void *from, uint64_t bytes) {
    TV_RETURN_IF_FAILED(check_copy(to, bytes));
    if (device->hollow)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_wait_idle(device));
    void *mapped = tv_span_map(to);
    if (mapped) {
        memcpy(mapped, from, bytes);
        return TV_OK;
    }
    /* copy_staged reads only from `host` in this direction. */
    return copy_staged(device, to, (char *)(uintptr_t)from, bytes, COPY_UP);
}

tv_status tv_download(tv_device *device, tv_span from, void *to, uint64_t bytes) {
    TV_RETURN_IF_FAILED(check_copy(from, bytes));
    if (device->hollow) {
        memset(to, 0, bytes);
        return TV_OK;
    }
    TV_RETURN_IF_FAILED(tv_wait_idle(device));
    /* Write-combined memory is read at a hundredth of the speed at which the device copies it. */
    const void *mapped = tv_span_map(from);
    if (mapped && from.buffer->cached) {
        memcpy(to, mapped, bytes);
        return TV_OK;
    }
    return copy_staged(device, from, to, bytes, COPY_DOWN);
}

tv_status tv_clear(tv_device *device, tv_span span) {
    TV_RETURN_IF_FAILED(tv_span_check(span, "clearing"));
    if (device->hollow)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_wait_idle(device));
    void *mapped = tv_span_map(span);
    if (mapped) {
        memset(mapped, 0, span.bytes);
        return TV_OK;
    }
    tv_recorder *recorder = NULL;
    tv_status status;
    TV_TRY_OR_FAIL(tv_recorder_begin(device, &(tv_recorder_options){.name = "clear"}, &recorder));
    TV_TRY_OR_FAIL(tv_record_fill(recorder, span, 0));
    return tv_run_once(&recorder);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

/* ---- arenas ---- */

struct tv_device_arena {
    tv_buffer **blocks;
    uint32_t count;
};

tv_status tv_device_arena_create(tv_device *device, const tv_memory_plan *plan, tv_memory_kind kind,
                                 const char *name, tv_device_arena **out) {
    *out = NULL;
    tv_status status;
    tv_device_arena *arena = calloc(1, sizeof *arena);
    if (!arena)
        return tv_fail(TV_E_MEMORY, "out of host memory for an arena");
    arena->blocks = calloc(plan->block_count + 1, sizeof *arena->blocks);
    if (!arena->blocks) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for an arena");
        goto fail;
    }
    for (; arena->count < plan->block_count; arena->count++) {
        char label[96];
        snprintf(label, sizeof label, plan->block_count > 1 ? "%.60s (%u)" : "%.60s", name, arena->count);
        tv_buffer **block = &arena->blocks[arena->count];
        TV_TRY_OR_FAIL(tv_buffer_create(device, plan->block_bytes[arena->count], kind, label, block));
        TV_TRY_OR_FAIL(tv_clear(device, tv_buffer_span(*block)));
    }
    *out = arena;
    return TV_OK;
fail:
    tv_device_arena_destroy(&arena);
    return status;
}

void tv_device_arena_destroy(tv_device_arena **handle) {
    if (!handle || !*handle)
        return;
    tv_device_arena *arena = *handle;
    /* A failed creation leaves one block beyond the count. */
    for (uint32_t i = 0; arena->blocks && arena->blocks[i]; i++)
        tv_buffer_destroy(&arena->blocks[i]);
    free(arena->blocks);
    free(arena);
    *handle = NULL;
}

tv_span tv_device_arena_span(const tv_device_arena *arena, const tv_plan_item *item) {
    return (tv_span){arena->blocks[item->block], item->offset, item->bytes};
}

uint32_t tv_device_arena_blocks(const tv_device_arena *arena) {
    return arena->count;
}

tv_span tv_device_arena_block(const tv_device_arena *arena, uint32_t block) {
    return tv_buffer_span(arena->blocks[block]);
}
