/* Plans, arenas and buffers: see memory.h. */
#include "vk/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* ---- plans ---- */

typedef struct sized_item {
    tv_plan_item *item;
    uint64_t number;
} sized_item;

static int compare_size(const void *a, const void *b) {
    const sized_item *x = a, *y = b;
    if (x->item->bytes != y->item->bytes)
        return x->item->bytes > y->item->bytes ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

typedef struct byte_range {
    uint64_t begin, end;
} byte_range;

static int compare_begin(const void *a, const void *b) {
    const byte_range *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* The lowest offset of `block` where `bytes` fit beside the placed items that live at the same time. */
static uint64_t lowest_gap(const sized_item *placed, uint64_t placed_count, const tv_plan_item *item,
                           uint32_t block, byte_range *taken) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < placed_count; i++) {
        const tv_plan_item *other = placed[i].item;
        if (other->block == block && other->first <= item->last && item->first <= other->last)
            taken[count++] =
                (byte_range){other->offset, other->offset + tv_align_up(other->bytes, TV_TENSOR_ALIGNMENT)};
    }
    if (count)
        qsort(taken, count, sizeof *taken, compare_begin);
    uint64_t offset = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (taken[i].begin >= offset && taken[i].begin - offset >= item->bytes)
            break;
        offset = tv_max_u64(offset, taken[i].end);
    }
    return offset;
}

static tv_status check_item(const tv_plan_item *item, uint64_t limit) {
    char needed[32], allowed[32];
    if (tv_align_up(item->bytes, TV_TENSOR_ALIGNMENT) <= limit)
        return TV_OK;
    return tv_fail(TV_E_FIT, "one tensor takes %s and this device gives at most %s in one buffer",
                   tv_format_bytes(item->bytes, needed, sizeof needed),
                   tv_format_bytes(limit, allowed, sizeof allowed));
}

/* Notes that an item with block and offset set belongs to the plan. */
static void add_to_plan(tv_memory_plan *plan, const tv_plan_item *item) {
    if (item->block == plan->block_count)
        plan->block_count++;
    uint64_t end = item->offset + tv_align_up(item->bytes, TV_TENSOR_ALIGNMENT);
    uint64_t *block = &plan->block_bytes[item->block];
    if (end > *block) {
        plan->total_bytes += end - *block;
        *block = end;
    }
}

static tv_status begin_plan(uint64_t count, tv_memory_plan *plan) {
    *plan = (tv_memory_plan){0};
    /* Never more blocks than items. */
    plan->block_bytes = calloc(count + 1, sizeof *plan->block_bytes);
    return plan->block_bytes ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a memory plan");
}

tv_status tv_memory_plan_sequence(tv_plan_item *items, uint64_t count, uint64_t limit, tv_memory_plan *plan) {
    tv_status status;
    uint32_t block = 0;
    uint64_t offset = 0;
    TV_TRY(begin_plan(count, plan));
    for (uint64_t i = 0; i < count; i++) {
        TV_TRY(check_item(&items[i], limit));
        uint64_t bytes = tv_align_up(items[i].bytes, TV_TENSOR_ALIGNMENT);
        if (offset + bytes > limit) {
            block++;
            offset = 0;
        }
        items[i].block = block;
        items[i].offset = offset;
        offset += bytes;
        add_to_plan(plan, &items[i]);
    }
    return TV_OK;
fail:
    tv_memory_plan_free(plan);
    return status;
}

tv_status tv_memory_plan_assign(tv_plan_item *items, uint64_t count, uint64_t limit, tv_memory_plan *plan) {
    tv_status status;
    sized_item *order = calloc(count + 1, sizeof *order);
    byte_range *taken = calloc(count + 1, sizeof *taken);
    TV_TRY(begin_plan(count, plan));
    if (!order || !taken) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a memory plan");
        goto fail;
    }
    for (uint64_t i = 0; i < count; i++)
        order[i] = (sized_item){&items[i], i};
    if (count)
        qsort(order, count, sizeof *order, compare_size);
    for (uint64_t i = 0; i < count; i++) {
        tv_plan_item *item = order[i].item;
        TV_TRY(check_item(item, limit));
        for (item->block = 0;; item->block++) {
            item->offset =
                item->block < plan->block_count ? lowest_gap(order, i, item, item->block, taken) : 0;
            if (item->offset + tv_align_up(item->bytes, TV_TENSOR_ALIGNMENT) <= limit)
                break;
        }
        add_to_plan(plan, item);
    }
    free(order);
    free(taken);
    return TV_OK;
fail:
    free(order);
    free(taken);
    tv_memory_plan_free(plan);
    return status;
}

void tv_memory_plan_free(tv_memory_plan *plan) {
    free(plan->block_bytes);
    *plan = (tv_memory_plan){0};
}

/* ---- buffers ---- */

static uint32_t find_memory_type(const tv_device *device, uint32_t allowed, VkMemoryPropertyFlags wanted) {
    for (uint32_t i = 0; i < device->memory.memoryTypeCount; i++)
        if ((allowed & 1u << i) && (device->memory.memoryTypes[i].propertyFlags & wanted) == wanted)
            return i;
    return UINT32_MAX;
}

static uint32_t choose_memory_type(const tv_device *device, uint32_t allowed, tv_memory_kind kind) {
    const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    const VkMemoryPropertyFlags host =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const VkMemoryPropertyFlags cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    VkMemoryPropertyFlags wishes[3];
    uint32_t count = 0;
    if (kind == TV_MEMORY_DEVICE && device->caps.unified_memory)
        wishes[count++] = local | host;
    if (kind == TV_MEMORY_DEVICE)
        wishes[count++] = local;
    /* Cached also for uploads: they are copied to the device anyway, and the host may look at what it wrote.
     */
    if (kind != TV_MEMORY_DEVICE)
        wishes[count++] = host | cached;
    if (kind != TV_MEMORY_DEVICE)
        wishes[count++] = host;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t type = find_memory_type(device, allowed, wishes[i]);
        if (type != UINT32_MAX)
            return type;
    }
    return kind == TV_MEMORY_DEVICE ? find_memory_type(device, allowed, 0) : UINT32_MAX;
}

tv_status tv_buffer_create(tv_device *device, uint64_t bytes, tv_memory_kind kind, const char *name,
                           tv_buffer **out) {
    *out = NULL;
    TV_RETURN_IF_FAILED(tv_device_check(device));
    tv_status status;
    tv_buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer)
        return tv_fail(TV_E_MEMORY, "out of host memory for a buffer");
    buffer->device = device;
    buffer->bytes = tv_align_up(bytes ? bytes : 1, TV_TENSOR_ALIGNMENT);
    if (buffer->bytes > device->caps.buffer_bytes) {
        char needed[32], allowed[32];
        status = tv_fail(TV_E_FIT, "%s: a buffer of %s for %s is over the device's %s", device->caps.name,
                         tv_format_bytes(buffer->bytes, needed, sizeof needed), name,
                         tv_format_bytes(device->caps.buffer_bytes, allowed, sizeof allowed));
        goto fail;
    }
    char what[128];
    snprintf(what, sizeof what, "allocate %s for %.60s", tv_format_bytes(buffer->bytes, (char[32]){0}, 32),
             name);
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = buffer->bytes,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                 VK_BUFFER_USAGE_TRANSFER_DST_BIT |
                 (device->caps.texels ? VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT : 0),
    };
    TV_TRY(
        tv_vk_check(device, device->vk.vkCreateBuffer(device->handle, &info, NULL, &buffer->handle), what));
    tv_name_object(device, VK_OBJECT_TYPE_BUFFER, (uint64_t)buffer->handle, name);
    VkMemoryRequirements needs;
    device->vk.vkGetBufferMemoryRequirements(device->handle, buffer->handle, &needs);
    uint32_t type = choose_memory_type(device, needs.memoryTypeBits, kind);
    if (type == UINT32_MAX) {
        status = tv_fail(TV_E_DEVICE, "%s: the driver offers no memory that the host can reach for %s",
                         device->caps.name, name);
        goto fail;
    }
    VkMemoryAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                     .allocationSize = needs.size,
                                     .memoryTypeIndex = type};
    TV_TRY(tv_vk_check(device, device->vk.vkAllocateMemory(device->handle, &allocate, NULL, &buffer->memory),
                       what));
    tv_name_object(device, VK_OBJECT_TYPE_DEVICE_MEMORY, (uint64_t)buffer->memory, name);
    TV_TRY(tv_vk_check(
        device, device->vk.vkBindBufferMemory(device->handle, buffer->handle, buffer->memory, 0), what));
    /* A card's window into its memory is slow to read, so its own memory is mapped only where it is the
     * host's too. */
    VkMemoryPropertyFlags properties = device->memory.memoryTypes[type].propertyFlags;
    bool mapped = kind != TV_MEMORY_DEVICE || device->caps.unified_memory;
    buffer->cached = properties & VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    if (mapped && (properties & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT)) {
        TV_TRY(tv_vk_check(
            device,
            device->vk.vkMapMemory(device->handle, buffer->memory, 0, VK_WHOLE_SIZE, 0, &buffer->mapped),
            what));
        memset(buffer->mapped, 0, buffer->bytes);
    }
    buffer->allocated = needs.size;
    device->bytes += needs.size;
    device->peak_bytes = tv_max_u64(device->peak_bytes, device->bytes);
    *out = buffer;
    return TV_OK;
fail:
    tv_buffer_destroy(&buffer);
    return status;
}

void tv_buffer_destroy(tv_buffer **handle) {
    if (!handle || !*handle)
        return;
    tv_buffer *buffer = *handle;
    tv_device *device = buffer->device;
    device->vk.vkDestroyBuffer(device->handle, buffer->handle, NULL);
    device->vk.vkFreeMemory(device->handle, buffer->memory, NULL);
    device->bytes -= buffer->allocated;
    free(buffer);
    *handle = NULL;
}

tv_span tv_buffer_span(tv_buffer *buffer) {
    return (tv_span){buffer, 0, buffer->bytes};
}

void *tv_span_map(tv_span span) {
    return span.buffer && span.buffer->mapped ? (char *)span.buffer->mapped + span.offset : NULL;
}

tv_span tv_span_part(tv_span span, uint64_t offset, uint64_t bytes) {
    return (tv_span){span.buffer, span.offset + offset, bytes};
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
        TV_TRY(tv_buffer_create(device, plan->block_bytes[arena->count], kind, label, block));
        TV_TRY(tv_clear(device, tv_buffer_span(*block)));
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

/* ---- copies ---- */

/* Enough to keep the bus busy, little beside any model. */
enum { STAGING_BYTES = 16 << 20 };

typedef enum copy_direction { COPY_UP, COPY_DOWN } copy_direction;

/* Ends the recorder, runs what it holds once and waits. */
static tv_status run_once(tv_device *device, tv_recorder **recorder) {
    tv_recording *recording = NULL;
    tv_status status;
    uint64_t value;
    TV_TRY(tv_recorder_end(recorder, &recording));
    TV_TRY(tv_submit(device, &recording, 1, &value));
    TV_TRY(tv_wait(device, value));
fail:
    tv_recording_destroy(&recording);
    return status;
}

static tv_status copy_once(tv_device *device, tv_span from, tv_span to) {
    tv_recorder *recorder = NULL;
    tv_status status;
    TV_TRY(tv_recorder_begin(device, &(tv_recorder_options){.name = "copy"}, &recorder));
    TV_TRY(tv_record_copy(recorder, from, to));
    return run_once(device, &recorder);
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
fail:
    tv_buffer_destroy(&staging);
    return status;
}

static tv_status check_copy(tv_span span, uint64_t bytes) {
    if (bytes > span.bytes)
        return tv_fail(TV_E_USAGE, "a copy of %llu bytes does not fit a span of %llu",
                       (unsigned long long)bytes, (unsigned long long)span.bytes);
    return TV_OK;
}

tv_status tv_upload(tv_device *device, tv_span to, const void *from, uint64_t bytes) {
    TV_RETURN_IF_FAILED(check_copy(to, bytes));
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
    TV_RETURN_IF_FAILED(tv_wait_idle(device));
    void *mapped = tv_span_map(span);
    if (mapped) {
        memset(mapped, 0, span.bytes);
        return TV_OK;
    }
    tv_recorder *recorder = NULL;
    tv_status status;
    TV_TRY(tv_recorder_begin(device, &(tv_recorder_options){.name = "clear"}, &recorder));
    TV_TRY(tv_record_fill(recorder, span, 0));
    return run_once(device, &recorder);
fail:
    tv_recorder_abort(&recorder);
    return status;
}
