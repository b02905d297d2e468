/* Buffers and spans: see memory.h. */
#include "vk/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"

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

static VkResult allocate(tv_device *device, uint64_t bytes, uint32_t type, VkDeviceMemory *memory) {
    const VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = bytes, .memoryTypeIndex = type};
    VkResult result = device->refuse_above && bytes > device->refuse_above
                          ? VK_ERROR_OUT_OF_DEVICE_MEMORY
                          : device->vk.vkAllocateMemory(device->handle, &info, NULL, memory);
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY)
        device->refused_bytes = bytes;
    return result;
}

/* Where nothing runs, buffers lie over each other, so that steps of any size can be recorded: drivers without
 * their GPU have 4 GiB for everything, their commands too, of which those of integrated GPUs keep more. What
 * is left of the limit is room for a driver's own rounding. */
static VkResult allocate_hollow(tv_device *device, uint64_t bytes, uint32_t type) {
    const uint64_t most = (device->caps.type == TV_DEVICE_DISCRETE ? UINT64_C(3) : 1) << 30,
                   rounding = 1 << 20;
    if (device->hollow_memory)
        return VK_SUCCESS;
    VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    uint64_t size = tv_min_u64(most, device->caps.buffer_bytes);
    for (; result != VK_SUCCESS && size >= bytes + rounding; size /= 2) {
        result = allocate(device, size, type, &device->hollow_memory);
        if (result == VK_SUCCESS)
            device->caps.buffer_bytes = size - rounding;
    }
    return result;
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
    TV_TRY_OR_FAIL(
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
    bool hollow = device->hollow && kind == TV_MEMORY_DEVICE;
    TV_TRY_OR_FAIL(tv_vk_check(device,
                               hollow ? allocate_hollow(device, needs.size, type)
                                      : allocate(device, needs.size, type, &buffer->memory),
                               what));
    VkDeviceMemory memory = hollow ? device->hollow_memory : buffer->memory;
    tv_name_object(device, VK_OBJECT_TYPE_DEVICE_MEMORY, (uint64_t)memory, name);
    TV_TRY_OR_FAIL(
        tv_vk_check(device, device->vk.vkBindBufferMemory(device->handle, buffer->handle, memory, 0), what));
    /* A card's window into its memory is slow to read, so its own memory is mapped only where it is the
     * host's too. */
    VkMemoryPropertyFlags properties = device->memory.memoryTypes[type].propertyFlags;
    bool mapped = kind != TV_MEMORY_DEVICE || (device->caps.unified_memory && !hollow);
    buffer->cached = properties & VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    if (mapped && (properties & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT)) {
        TV_TRY_OR_FAIL(tv_vk_check(
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

tv_status tv_make_in_smaller_buffers(tv_device *device, tv_status (*make)(void *context), void *context) {
    const uint64_t whole = device->caps.buffer_bytes;
    char sentence[512], size[32];
    device->refused_bytes = 0;
    tv_status status = make(context);
    snprintf(sentence, sizeof sentence, "%s", status == TV_OK ? "" : tv_last_error());
    while (status == TV_E_FIT && device->refused_bytes / 2 >= TV_SMALLEST_CUT) {
        device->caps.buffer_bytes = tv_min_u64(device->caps.buffer_bytes, device->refused_bytes) / 2 /
                                    TV_TENSOR_ALIGNMENT * TV_TENSOR_ALIGNMENT;
        device->refused_bytes = 0;
        status = make(context);
    }
    device->refused_bytes = 0; /* who calls this within `make` has tried all there is */
    if (device->caps.buffer_bytes == whole)
        return status;
    if (status == TV_OK) {
        tv_info("%s refused a larger buffer: they take at most %s each from here on", device->caps.name,
                tv_format_bytes(device->caps.buffer_bytes, size, sizeof size));
        return TV_OK;
    }
    device->caps.buffer_bytes = whole;
    return tv_fail(status, "%s", sentence);
}

tv_span tv_buffer_span(tv_buffer *buffer) {
    return (tv_span){buffer, 0, buffer->bytes};
}

void *tv_span_map(tv_span span) {
    return span.buffer && span.buffer->mapped && !tv_span_poisoned(span)
               ? (char *)span.buffer->mapped + span.offset
               : NULL;
}

tv_span tv_span_part(tv_span span, uint64_t offset, uint64_t bytes) {
    if (tv_span_poisoned(span) || offset > span.bytes || bytes > span.bytes - offset)
        return (tv_span){span.buffer, span.offset, UINT64_MAX};
    return (tv_span){span.buffer, span.offset + offset, bytes};
}

tv_span tv_span_hull(tv_span a, tv_span b) {
    if (tv_span_poisoned(a) || tv_span_poisoned(b) || a.buffer != b.buffer)
        return (tv_span){a.buffer, a.offset, UINT64_MAX};
    uint64_t begin = tv_min_u64(a.offset, b.offset);
    return (tv_span){a.buffer, begin, tv_max_u64(a.offset + a.bytes, b.offset + b.bytes) - begin};
}

tv_status tv_span_check(tv_span span, const char *what) {
    if (tv_span_poisoned(span))
        return tv_fail(TV_E_USAGE, "%s of a part that is larger than its tensor, in a buffer of %llu bytes",
                       what, (unsigned long long)(span.buffer ? span.buffer->bytes : 0));
    return TV_OK;
}
