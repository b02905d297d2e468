/* A recorder's life, its labels and its submissions: see recorder.h.
 *
 * One command buffer is a segment, the unit of submission. Every segment begins with a barrier against all
 * that came before it on the queue, and the last one ends with one that makes results visible to the host; in
 * between, barriers come from hazards alone.
 */
#include "vk/recorder_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vk/trace.h"

enum { PROFILE_DISPATCHES = 16384 };

/* ---- labels ---- */

void tv_recorder_begin_label(tv_recorder *recorder, const char *text) {
    if (!tv_instance_has_labels() || !vkCmdBeginDebugUtilsLabelEXT)
        return;
    VkDebugUtilsLabelEXT label = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT, .pLabelName = text};
    vkCmdBeginDebugUtilsLabelEXT(recorder->commands, &label);
}

void tv_recorder_end_label(tv_recorder *recorder) {
    if (tv_instance_has_labels() && vkCmdEndDebugUtilsLabelEXT)
        vkCmdEndDebugUtilsLabelEXT(recorder->commands);
}

void tv_record_push_label(tv_recorder *recorder, const char *format, ...) {
    if (recorder->label_depth == TV_LABEL_DEPTH)
        return;
    char *label = recorder->labels[recorder->label_depth++];
    va_list args;
    va_start(args, format);
    vsnprintf(label, TV_LABEL_BYTES, format, args);
    va_end(args);
    tv_recorder_begin_label(recorder, label);
}

void tv_record_pop_label(tv_recorder *recorder) {
    /* The recording's own name stays until the end. */
    if (recorder->label_depth <= 1)
        return;
    recorder->label_depth--;
    tv_recorder_end_label(recorder);
}

/* ---- segments ---- */

static tv_status begin_segment(tv_recorder *recorder) {
    tv_device *device = recorder->device;
    tv_recording *recording = recorder->recording;
    VkCommandBuffer *segments =
        tv_recorder_room(recording->segments, recording->segment_count, sizeof *segments);
    if (!segments)
        return tv_recorder_no_memory();
    recording->segments = segments;
    VkCommandBufferAllocateInfo allocate = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = recording->pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    TV_RETURN_IF_FAILED(tv_vk_check(
        device, device->vk.vkAllocateCommandBuffers(device->handle, &allocate, &recorder->commands),
        "allocate a command buffer"));
    segments[recording->segment_count++] = recorder->commands;
    tv_name_object(device, VK_OBJECT_TYPE_COMMAND_BUFFER, (uint64_t)(uintptr_t)recorder->commands,
                   recording->name);
    VkCommandBufferBeginInfo begin = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = recording->simultaneous ? VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT : 0,
    };
    TV_RETURN_IF_FAILED(tv_vk_check(device, device->vk.vkBeginCommandBuffer(recorder->commands, &begin),
                                    "begin a command buffer"));
    for (uint32_t i = 0; i < recorder->label_depth; i++)
        tv_recorder_begin_label(recorder, recorder->labels[i]);
    tv_record_barrier_to_work(recorder);
    recorder->segment_cost = 0;
    return TV_OK;
}

static tv_status end_segment(tv_recorder *recorder) {
    for (uint32_t i = 0; i < recorder->label_depth; i++)
        tv_recorder_end_label(recorder);
    return tv_vk_check(recorder->device, recorder->device->vk.vkEndCommandBuffer(recorder->commands),
                       "end a command buffer");
}

tv_status tv_record_cut(tv_recorder *recorder) {
    tv_recording *recording = recorder->recording;
    uint32_t *cuts = tv_recorder_room(recording->cuts, recording->cut_count, sizeof *cuts);
    if (!cuts)
        return tv_recorder_no_memory();
    recording->cuts = cuts;
    cuts[recording->cut_count++] = recording->segment_count - 1;
    tv_record_barrier_to_host(recorder);
    TV_RETURN_IF_FAILED(end_segment(recorder));
    return begin_segment(recorder);
}

tv_status tv_recorder_take_from_budget(tv_recorder *recorder, double cost) {
    if (recorder->segment_cost > 0 && recorder->segment_cost + cost > recorder->budget) {
        TV_RETURN_IF_FAILED(end_segment(recorder));
        TV_RETURN_IF_FAILED(begin_segment(recorder));
    }
    recorder->segment_cost += cost;
    return TV_OK;
}

void tv_record_timestamp(tv_recorder *recorder, uint32_t query) {
    if (recorder->recording->queries && query < recorder->recording->query_count)
        recorder->device->vk.vkCmdWriteTimestamp2(recorder->commands, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
                                                  recorder->recording->queries, query);
}

static tv_status create_queries(tv_recorder *recorder) {
    tv_device *device = recorder->device;
    tv_recording *recording = recorder->recording;
    /* Overlapping runs of one recording would reset each other's queries. */
    if (device->caps.timestamp_bits == 0 || recording->simultaneous)
        return TV_OK;
    recording->query_count = recording->profile ? 2 + 2 * PROFILE_DISPATCHES : 2;
    VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                  .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                  .queryCount = recording->query_count};
    TV_RETURN_IF_FAILED(
        tv_vk_check(device, device->vk.vkCreateQueryPool(device->handle, &info, NULL, &recording->queries),
                    "create a query pool"));
    tv_name_object(device, VK_OBJECT_TYPE_QUERY_POOL, (uint64_t)recording->queries, recording->name);
    device->vk.vkCmdResetQueryPool(recorder->commands, recording->queries, 0, recording->query_count);
    return TV_OK;
}

tv_status tv_recorder_begin(tv_device *device, const tv_recorder_options *options, tv_recorder **out) {
    *out = NULL;
    TV_RETURN_IF_FAILED(tv_device_check(device));
    tv_status status;
    tv_recorder *recorder = calloc(1, sizeof *recorder);
    if (!recorder)
        return tv_recorder_no_memory();
    recorder->device = device;
    recorder->budget = options->flop_budget > 0 ? options->flop_budget : tv_default_budget(&device->caps);
    tv_recording *recording = recorder->recording = calloc(1, sizeof *recording);
    if (!recording) {
        status = tv_recorder_no_memory();
        goto fail;
    }
    recording->device = device;
    recording->profile = options->profile;
    recording->simultaneous = options->simultaneous;
    recording->name = tv_format("%s", options->name);
    if (!recording->name) {
        status = tv_recorder_no_memory();
        goto fail;
    }
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .queueFamilyIndex = device->family};
    TV_TRY_OR_FAIL(tv_vk_check(device,
                               device->vk.vkCreateCommandPool(device->handle, &pool, NULL, &recording->pool),
                               "create a command pool"));
    snprintf(recorder->labels[recorder->label_depth++], TV_LABEL_BYTES, "%s", options->name);
    TV_TRY_OR_FAIL(begin_segment(recorder));
    TV_TRY_OR_FAIL(create_queries(recorder));
    tv_record_timestamp(recorder, 0);
    *out = recorder;
    return TV_OK;
fail:
    tv_recorder_abort(&recorder);
    return status;
}

tv_status tv_recorder_end(tv_recorder **handle, tv_recording **out) {
    tv_recorder *recorder = *handle;
    tv_status status;
    *out = NULL;
    tv_record_timestamp(recorder, 1);
    tv_record_barrier_to_host(recorder);
    TV_TRY(end_segment(recorder));
    recorder->recording->info.submissions = recorder->recording->segment_count;
    recorder->recording->info.dispatches = recorder->recording->dispatch_count;
    *out = recorder->recording;
    recorder->recording = NULL;
done:
    tv_recorder_abort(handle);
    return status;
}

void tv_recorder_abort(tv_recorder **handle) {
    if (!handle || !*handle)
        return;
    tv_recording_destroy(&(*handle)->recording);
    free((*handle)->pending);
    free(*handle);
    *handle = NULL;
}

void tv_recording_destroy(tv_recording **handle) {
    if (!handle || !*handle)
        return;
    tv_recording *recording = *handle;
    tv_device *device = recording->device;
    /* On a lost device there is nothing to wait for. */
    if (!device->lost && recording->value) {
        (void)tv_wait(device, recording->value);
        (void)tv_trace_collect(recording); /* a trace without it says so */
    }
    tv_marks_forget(device, recording);
    for (uint32_t i = 0; i < recording->dispatch_count; i++) {
        free(recording->dispatches[i].label);
        free(recording->dispatches[i].shape);
    }
    for (uint32_t i = 0; i < recording->descriptor_pool_count; i++)
        device->vk.vkDestroyDescriptorPool(device->handle, recording->descriptor_pools[i], NULL);
    for (uint32_t i = 0; i < recording->view_count; i++)
        device->vk.vkDestroyBufferView(device->handle, recording->views[i], NULL);
    device->vk.vkDestroyQueryPool(device->handle, recording->queries, NULL);
    device->vk.vkDestroyCommandPool(device->handle, recording->pool, NULL);
    free(recording->descriptor_pools);
    free(recording->views);
    free(recording->dispatches);
    free(recording->segments);
    free(recording->cuts);
    free(recording->name);
    free(recording);
    *handle = NULL;
}

tv_device *tv_recorder_device(const tv_recorder *recorder) {
    return recorder->device;
}

double tv_recorder_flop_budget(const tv_recorder *recorder) {
    return recorder->budget;
}

tv_recording_info tv_recording_get_info(const tv_recording *recording) {
    return recording->info;
}
