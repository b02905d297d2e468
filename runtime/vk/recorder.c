/* Recording with barriers from declared access: see recorder.h.
 *
 * One command buffer is a segment, the unit of submission. Every segment begins with a barrier against all
 * that came before it on the queue, and the last one ends with one that makes results visible to the host; in
 * between, barriers come from hazards alone.
 */
#include "vk/internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vk/trace.h"

enum { MAX_LABEL_DEPTH = 8, SETS_PER_POOL = 256, PROFILE_DISPATCHES = 16384 };

/* A byte that moves costs about as much time as ten FLOPs on the GPUs of the last decade. */
static const double flops_per_byte = 10;

typedef struct pending_access {
    const tv_buffer *buffer;
    uint64_t begin, end;
    tv_access access;
} pending_access;

struct tv_recorder {
    tv_device *device;
    tv_recording *recording;
    VkCommandBuffer commands;
    double budget, segment_cost;
    pending_access *pending;
    uint64_t pending_count, pending_capacity;
    char labels[MAX_LABEL_DEPTH][TV_LABEL_BYTES];
    uint32_t label_depth;
    VkDescriptorPool pool;
    uint32_t pool_used;
};

/* Appends one zeroed element to a growing array; NULL when memory is out. Capacity is the next power of two.
 */
static void *append(void *array, uint32_t count, size_t size) {
    if (count & (count - 1))
        return array;
    return realloc(array, (count ? 2 * (size_t)count : 1) * size);
}

static tv_status out_of_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory while recording commands");
}

/* ---- barriers ---- */

static const VkPipelineStageFlags2 work_stages =
    VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_2_COPY_BIT | VK_PIPELINE_STAGE_2_CLEAR_BIT;
static const VkAccessFlags2 work_writes =
    VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT;
static const VkAccessFlags2 work_access =
    VK_ACCESS_2_SHADER_STORAGE_READ_BIT | VK_ACCESS_2_SHADER_SAMPLED_READ_BIT |
    VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT | VK_ACCESS_2_TRANSFER_READ_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT;

static void emit_barrier(tv_recorder *recorder, VkPipelineStageFlags2 to, VkAccessFlags2 to_access) {
    VkMemoryBarrier2 barrier = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
        .srcStageMask = work_stages,
        .srcAccessMask = work_writes,
        .dstStageMask = to,
        .dstAccessMask = to_access,
    };
    VkDependencyInfo dependency = {
        .sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO, .memoryBarrierCount = 1, .pMemoryBarriers = &barrier};
    recorder->device->vk.vkCmdPipelineBarrier2(recorder->commands, &dependency);
    recorder->recording->info.barriers++;
}

static bool is_hazard(const tv_recorder *recorder, tv_span span, tv_access access) {
    uint64_t begin = span.offset, end = span.offset + span.bytes;
    for (uint64_t i = 0; i < recorder->pending_count; i++) {
        const pending_access *other = &recorder->pending[i];
        if (other->buffer == span.buffer && other->begin < end && begin < other->end &&
            ((other->access | access) & TV_WRITE))
            return true;
    }
    return false;
}

static tv_status note_access(tv_recorder *recorder, tv_span span, tv_access access) {
    if (recorder->pending_count == recorder->pending_capacity) {
        uint64_t capacity = recorder->pending_capacity ? 2 * recorder->pending_capacity : 64;
        pending_access *grown = realloc(recorder->pending, capacity * sizeof *grown);
        if (!grown)
            return out_of_memory();
        recorder->pending = grown;
        recorder->pending_capacity = capacity;
    }
    recorder->pending[recorder->pending_count++] =
        (pending_access){span.buffer, span.offset, span.offset + span.bytes, access};
    return TV_OK;
}

/* One barrier for all hazards of a command, or none; then the command's accesses are what the next one must
 * respect. */
static tv_status order_after_hazards(tv_recorder *recorder, const tv_span *spans, const tv_access *access,
                                     uint32_t count) {
    bool hazard = recorder->device->barrier_always && recorder->pending_count > 0;
    for (uint32_t i = 0; i < count && !hazard; i++)
        hazard = spans[i].buffer && is_hazard(recorder, spans[i], access[i]);
    if (hazard) {
        emit_barrier(recorder, work_stages, work_access);
        recorder->pending_count = 0;
    }
    for (uint32_t i = 0; i < count; i++)
        if (spans[i].buffer)
            TV_RETURN_IF_FAILED(note_access(recorder, spans[i], access[i]));
    return TV_OK;
}

/* ---- labels ---- */

static void begin_label(tv_recorder *recorder, const char *text) {
    if (!tv_instance_has_labels() || !vkCmdBeginDebugUtilsLabelEXT)
        return;
    VkDebugUtilsLabelEXT label = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT, .pLabelName = text};
    vkCmdBeginDebugUtilsLabelEXT(recorder->commands, &label);
}

static void end_label(tv_recorder *recorder) {
    if (tv_instance_has_labels() && vkCmdEndDebugUtilsLabelEXT)
        vkCmdEndDebugUtilsLabelEXT(recorder->commands);
}

void tv_record_push_label(tv_recorder *recorder, const char *format, ...) {
    if (recorder->label_depth == MAX_LABEL_DEPTH)
        return;
    char *label = recorder->labels[recorder->label_depth++];
    va_list args;
    va_start(args, format);
    vsnprintf(label, TV_LABEL_BYTES, format, args);
    va_end(args);
    begin_label(recorder, label);
}

void tv_record_pop_label(tv_recorder *recorder) {
    /* The recording's own name stays until the end. */
    if (recorder->label_depth <= 1)
        return;
    recorder->label_depth--;
    end_label(recorder);
}

/* The kernel and its shape: the innermost label. */
static const char *kernel_label(const char *full) {
    const char *slash = strrchr(full, '/');
    return slash ? slash + 1 : full;
}

static char *full_label(const tv_recorder *recorder, const tv_dispatch *dispatch) {
    char path[MAX_LABEL_DEPTH * TV_LABEL_BYTES] = "";
    size_t used = 0;
    for (uint32_t i = 1; i < recorder->label_depth && used < sizeof path; i++)
        used += (size_t)snprintf(path + used, sizeof path - used, "%s/", recorder->labels[i]);
    return tv_format("%s%s%s%s", path, dispatch->program->name, dispatch->shape ? " " : "",
                     dispatch->shape ? dispatch->shape : "");
}

/* ---- segments ---- */

static tv_status begin_segment(tv_recorder *recorder) {
    tv_device *device = recorder->device;
    tv_recording *recording = recorder->recording;
    VkCommandBuffer *segments = append(recording->segments, recording->segment_count, sizeof *segments);
    if (!segments)
        return out_of_memory();
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
        begin_label(recorder, recorder->labels[i]);
    emit_barrier(recorder, work_stages, work_access);
    recorder->pending_count = 0;
    recorder->segment_cost = 0;
    return TV_OK;
}

static tv_status end_segment(tv_recorder *recorder) {
    for (uint32_t i = 0; i < recorder->label_depth; i++)
        end_label(recorder);
    return tv_vk_check(recorder->device, recorder->device->vk.vkEndCommandBuffer(recorder->commands),
                       "end a command buffer");
}

tv_status tv_record_cut(tv_recorder *recorder) {
    tv_recording *recording = recorder->recording;
    uint32_t *cuts = append(recording->cuts, recording->cut_count, sizeof *cuts);
    if (!cuts)
        return out_of_memory();
    recording->cuts = cuts;
    cuts[recording->cut_count++] = recording->segment_count - 1;
    emit_barrier(recorder, VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT);
    TV_RETURN_IF_FAILED(end_segment(recorder));
    return begin_segment(recorder);
}

static void write_timestamp(tv_recorder *recorder, uint32_t query) {
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
        return out_of_memory();
    recorder->device = device;
    recorder->budget = options->flop_budget > 0 ? options->flop_budget : tv_default_budget(&device->caps);
    tv_recording *recording = recorder->recording = calloc(1, sizeof *recording);
    if (!recording) {
        status = out_of_memory();
        goto fail;
    }
    recording->device = device;
    recording->profile = options->profile;
    recording->simultaneous = options->simultaneous;
    recording->name = tv_format("%s", options->name);
    if (!recording->name) {
        status = out_of_memory();
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
    write_timestamp(recorder, 0);
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
    write_timestamp(recorder, 1);
    emit_barrier(recorder, VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT);
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

/* ---- dispatches ---- */

static tv_status check_limits(const tv_device *device, const tv_dispatch *dispatch) {
    const tv_program *program = dispatch->program;
    const tv_caps *caps = &device->caps;
    for (uint32_t i = 0; i < program->binding_count; i++) {
        const tv_span *span = &dispatch->bindings[i];
        uint64_t most = program->access[i] == TV_TEXELS
                            ? tv_min_u64(caps->storage_range, TV_TEXEL_BYTES * caps->texels)
                            : caps->storage_range;
        if (!span->buffer)
            continue;
        if (tv_span_poisoned(*span))
            return tv_fail(
                TV_E_USAGE,
                "%s %s: binding %u is a part that is larger than its tensor, in a buffer of %llu bytes",
                program->name, dispatch->shape ? dispatch->shape : "", i,
                (unsigned long long)span->buffer->bytes);
        if (span->bytes > most || span->bytes == 0)
            return tv_fail(TV_E_FIT,
                           "%s %s: binding %u takes %llu bytes and the device binds at most %llu; its "
                           "launcher must split it",
                           program->name, dispatch->shape ? dispatch->shape : "", i,
                           (unsigned long long)span->bytes, (unsigned long long)most);
        /* Of the strictest device, so that a launcher that cuts elsewhere fails where it was written. */
        if (span->offset % TV_TENSOR_ALIGNMENT != 0 || span->offset + span->bytes > span->buffer->bytes)
            return tv_fail(
                TV_E_USAGE,
                "%s %s: binding %u at offset %llu, %llu bytes, is not aligned to %d or leaves its buffer",
                program->name, dispatch->shape ? dispatch->shape : "", i, (unsigned long long)span->offset,
                (unsigned long long)span->bytes, (int)TV_TENSOR_ALIGNMENT);
    }
    if (dispatch->groups_z > caps->group_count_z ||
        dispatch->groups > caps->group_count_x * caps->group_count_y)
        return tv_fail(TV_E_FIT,
                       "%s %s: %llu x %u workgroups are over the device's limit; use a smaller batch",
                       program->name, dispatch->shape ? dispatch->shape : "",
                       (unsigned long long)dispatch->groups, dispatch->groups_z);
    return TV_OK;
}

static tv_status next_descriptor_set(tv_recorder *recorder, const tv_layout *layout, VkDescriptorSet *set) {
    tv_device *device = recorder->device;
    tv_recording *recording = recorder->recording;
    if (!recorder->pool || recorder->pool_used == SETS_PER_POOL) {
        VkDescriptorPool *pools =
            append(recording->descriptor_pools, recording->descriptor_pool_count, sizeof *pools);
        if (!pools)
            return out_of_memory();
        recording->descriptor_pools = pools;
        const VkDescriptorPoolSize sizes[] = {
            {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, SETS_PER_POOL * TV_MAX_BINDINGS},
            {VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, SETS_PER_POOL * TV_MAX_BINDINGS}};
        VkDescriptorPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                           .maxSets = SETS_PER_POOL,
                                           .poolSizeCount = TV_COUNT(sizes),
                                           .pPoolSizes = sizes};
        TV_RETURN_IF_FAILED(tv_vk_check(
            device, device->vk.vkCreateDescriptorPool(device->handle, &info, NULL, &recorder->pool),
            "create a descriptor pool"));
        pools[recording->descriptor_pool_count++] = recorder->pool;
        recorder->pool_used = 0;
    }
    recorder->pool_used++;
    VkDescriptorSetAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                            .descriptorPool = recorder->pool,
                                            .descriptorSetCount = 1,
                                            .pSetLayouts = &layout->set};
    return tv_vk_check(device, device->vk.vkAllocateDescriptorSets(device->handle, &allocate, set),
                       "allocate a descriptor set");
}

/* The recording owns the view. */
static tv_status create_view(tv_recorder *recorder, tv_span span, VkBufferView *view) {
    tv_device *device = recorder->device;
    tv_recording *recording = recorder->recording;
    VkBufferView *views = append(recording->views, recording->view_count, sizeof *views);
    if (!views)
        return out_of_memory();
    recording->views = views;
    const VkBufferViewCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
                                         .buffer = span.buffer->handle,
                                         .format = VK_FORMAT_R32G32B32A32_SFLOAT,
                                         .offset = span.offset,
                                         .range = span.bytes};
    TV_RETURN_IF_FAILED(tv_vk_check(device, device->vk.vkCreateBufferView(device->handle, &info, NULL, view),
                                    "create a view of a buffer"));
    views[recording->view_count++] = *view;
    return TV_OK;
}

static tv_status bind(tv_recorder *recorder, const tv_dispatch *dispatch, const tv_layout *layout) {
    tv_device *device = recorder->device;
    uint32_t count = dispatch->program->binding_count;
    VkDescriptorBufferInfo buffers[TV_MAX_BINDINGS];
    VkBufferView views[TV_MAX_BINDINGS];
    VkWriteDescriptorSet writes[TV_MAX_BINDINGS];
    VkDescriptorSet set = VK_NULL_HANDLE;
    if (!device->caps.push_descriptors)
        TV_RETURN_IF_FAILED(next_descriptor_set(recorder, layout, &set));
    for (uint32_t i = 0; i < count; i++) {
        tv_span span = dispatch->bindings[i].buffer ? dispatch->bindings[i] : tv_buffer_span(device->dummy);
        buffers[i] = (VkDescriptorBufferInfo){span.buffer->handle, span.offset, span.bytes};
        writes[i] = (VkWriteDescriptorSet){
            .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
            .dstSet = set,
            .dstBinding = i,
            .descriptorCount = 1,
            .descriptorType = tv_descriptor_type(dispatch->program->access[i]),
            .pBufferInfo = &buffers[i],
            .pTexelBufferView = &views[i],
        };
        if (dispatch->program->access[i] == TV_TEXELS)
            TV_RETURN_IF_FAILED(create_view(recorder, span, &views[i]));
    }
    if (device->caps.push_descriptors) {
        device->vk.vkCmdPushDescriptorSetKHR(recorder->commands, VK_PIPELINE_BIND_POINT_COMPUTE,
                                             layout->pipeline, 0, count, writes);
    } else {
        device->vk.vkUpdateDescriptorSets(device->handle, count, writes, 0, NULL);
        device->vk.vkCmdBindDescriptorSets(recorder->commands, VK_PIPELINE_BIND_POINT_COMPUTE,
                                           layout->pipeline, 0, 1, &set, 0, NULL);
    }
    return TV_OK;
}

static tv_status note_dispatch(tv_recorder *recorder, const tv_dispatch *dispatch, double flops,
                               double bytes) {
    tv_recording *recording = recorder->recording;
    tv_recorded_dispatch *list = append(recording->dispatches, recording->dispatch_count, sizeof *list);
    if (!list)
        return out_of_memory();
    recording->dispatches = list;
    tv_recorded_dispatch *entry = &list[recording->dispatch_count];
    *entry = (tv_recorded_dispatch){
        .program = dispatch->program,
        .label = full_label(recorder, dispatch),
        .shape = tv_format("%s", dispatch->shape ? dispatch->shape : ""),
        .flops = flops,
        .bytes = bytes,
    };
    recording->dispatch_count++;
    return entry->label && entry->shape ? TV_OK : out_of_memory();
}

/* A grid of workgroups in x, y and z, of which the rows from y `first` on are recorded by one command. */
typedef struct grid {
    uint32_t columns, rows, layers;
    uint32_t first, count;
} grid;

/* The rows of a folded grid are as even as they can be, so that few workgroups fall outside. A dispatch that
 * takes more than a submission may has a row for each part at least, as far as there are workgroups. */
static grid fold(const tv_recorder *recorder, const tv_dispatch *dispatch, double cost, uint32_t *parts) {
    const tv_caps *caps = &recorder->device->caps;
    uint64_t wanted = cost > recorder->budget ? (uint64_t)ceil(cost / recorder->budget) : 1;
    uint64_t rows = tv_max_u64(tv_div_up(dispatch->groups, caps->group_count_x),
                               tv_min_u64(tv_min_u64(wanted, dispatch->groups), caps->group_count_y));
    uint64_t columns = tv_div_up(dispatch->groups, rows);
    rows = tv_div_up(dispatch->groups, columns);
    *parts = (uint32_t)tv_min_u64(wanted, rows);
    return (grid){(uint32_t)columns, (uint32_t)rows, dispatch->groups_z ? dispatch->groups_z : 1, 0, 0};
}

/* A submission of its own begins where the budget would be exceeded. */
static tv_status take_from_budget(tv_recorder *recorder, double cost) {
    if (recorder->segment_cost > 0 && recorder->segment_cost + cost > recorder->budget) {
        TV_RETURN_IF_FAILED(end_segment(recorder));
        TV_RETURN_IF_FAILED(begin_segment(recorder));
    }
    recorder->segment_cost += cost;
    return TV_OK;
}

static tv_status record_rows(tv_recorder *recorder, const tv_dispatch *dispatch, const tv_layout *layout,
                             VkPipeline pipeline, const grid *g) {
    const tv_program *program = dispatch->program;
    const tv_recording *recording = recorder->recording;
    const tv_device *device = recorder->device;
    begin_label(recorder, kernel_label(recording->dispatches[recording->dispatch_count - 1].label));
    device->vk.vkCmdBindPipeline(recorder->commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    TV_RETURN_IF_FAILED(bind(recorder, dispatch, layout));
    if (program->push_bytes)
        device->vk.vkCmdPushConstants(recorder->commands, layout->pipeline, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                                      program->push_bytes, dispatch->push);
    uint32_t query = 2 * recording->dispatch_count;
    if (recording->profile && g->first == 0)
        write_timestamp(recorder, query);
    device->vk.vkCmdDispatchBase(recorder->commands, 0, g->first, 0, g->columns, g->count, g->layers);
    if (recording->profile && g->first + g->count == g->rows)
        write_timestamp(recorder, query + 1);
    end_label(recorder);
    return TV_OK;
}

tv_status tv_record_dispatch(tv_recorder *recorder, const tv_dispatch *dispatch) {
    tv_device *device = recorder->device;
    tv_recording *recording = recorder->recording;
    const tv_program *program = dispatch->program;
    if (dispatch->groups == 0)
        return TV_OK;
    TV_RETURN_IF_FAILED(check_limits(device, dispatch));

    double flops = 0, bytes = 0;
    program->cost(dispatch->push, &flops, &bytes);
    double cost = flops + bytes * flops_per_byte;
    recording->info.flops += flops;
    recording->info.bytes += bytes;
    recording->info.cost += cost;

    const tv_layout *layout;
    VkPipeline pipeline;
    uint32_t parts;
    TV_RETURN_IF_FAILED(tv_layout_get(device, program, &layout));
    TV_RETURN_IF_FAILED(tv_pipeline_get(device, program, dispatch->specialization,
                                        dispatch->specialization_count, &pipeline));
    grid g = fold(recorder, dispatch, cost, &parts);
    for (uint32_t part = 0; part < parts; part++) {
        TV_RETURN_IF_FAILED(take_from_budget(recorder, cost / parts));
        /* Parts of one dispatch do not wait for each other, but where a submission begins all does. */
        if (part == 0 || recorder->pending_count == 0)
            TV_RETURN_IF_FAILED(
                order_after_hazards(recorder, dispatch->bindings, program->access, program->binding_count));
        if (part == 0)
            TV_RETURN_IF_FAILED(note_dispatch(recorder, dispatch, flops, bytes));
        g.first = (uint32_t)((uint64_t)g.rows * part / parts);
        g.count = (uint32_t)((uint64_t)g.rows * (part + 1) / parts) - g.first;
        TV_RETURN_IF_FAILED(record_rows(recorder, dispatch, layout, pipeline, &g));
    }
    return TV_OK;
}

tv_status tv_record_copy(tv_recorder *recorder, tv_span from, tv_span to) {
    TV_RETURN_IF_FAILED(tv_span_check(from, "a recorded copy"));
    TV_RETURN_IF_FAILED(tv_span_check(to, "a recorded copy"));
    if (from.bytes != to.bytes || from.bytes % 4 || from.offset % 4 || to.offset % 4)
        return tv_fail(TV_E_USAGE, "a recorded copy needs equal sizes in multiples of 4 bytes");
    if (from.bytes == 0)
        return TV_OK;
    const tv_span spans[2] = {from, to};
    const tv_access access[2] = {TV_READ, TV_WRITE};
    TV_RETURN_IF_FAILED(order_after_hazards(recorder, spans, access, 2));
    VkBufferCopy region = {from.offset, to.offset, from.bytes};
    recorder->device->vk.vkCmdCopyBuffer(recorder->commands, from.buffer->handle, to.buffer->handle, 1,
                                         &region);
    return TV_OK;
}

tv_status tv_record_fill(tv_recorder *recorder, tv_span span, uint32_t word) {
    TV_RETURN_IF_FAILED(tv_span_check(span, "a recorded fill"));
    if (span.bytes % 4 || span.offset % 4)
        return tv_fail(TV_E_USAGE, "a recorded fill needs offset and size in multiples of 4 bytes");
    if (span.bytes == 0)
        return TV_OK;
    const tv_access access = TV_WRITE;
    TV_RETURN_IF_FAILED(order_after_hazards(recorder, &span, &access, 1));
    recorder->device->vk.vkCmdFillBuffer(recorder->commands, span.buffer->handle, span.offset, span.bytes,
                                         word);
    return TV_OK;
}
