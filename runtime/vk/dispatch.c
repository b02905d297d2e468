/* The commands of a recording: dispatches with their limits, bindings and grids, copies and fills. See
 * recorder.h.
 */
#include "vk/recorder_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum { SETS_PER_POOL = 256 };

/* A byte that moves costs about as much time as ten FLOPs on the GPUs of the last decade. */
static const double flops_per_byte = 10;

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
            tv_recorder_room(recording->descriptor_pools, recording->descriptor_pool_count, sizeof *pools);
        if (!pools)
            return tv_recorder_no_memory();
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
    VkBufferView *views = tv_recorder_room(recording->views, recording->view_count, sizeof *views);
    if (!views)
        return tv_recorder_no_memory();
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

/* The kernel and its shape: the innermost label. */
static const char *kernel_label(const char *full) {
    const char *slash = strrchr(full, '/');
    return slash ? slash + 1 : full;
}

static char *full_label(const tv_recorder *recorder, const tv_dispatch *dispatch) {
    char path[TV_LABEL_DEPTH * TV_LABEL_BYTES] = "";
    size_t used = 0;
    for (uint32_t i = 1; i < recorder->label_depth && used < sizeof path; i++)
        used += (size_t)snprintf(path + used, sizeof path - used, "%s/", recorder->labels[i]);
    return tv_format("%s%s%s%s", path, dispatch->program->name, dispatch->shape ? " " : "",
                     dispatch->shape ? dispatch->shape : "");
}

static tv_status note_dispatch(tv_recorder *recorder, const tv_dispatch *dispatch, double flops,
                               double bytes) {
    tv_recording *recording = recorder->recording;
    tv_recorded_dispatch *list =
        tv_recorder_room(recording->dispatches, recording->dispatch_count, sizeof *list);
    if (!list)
        return tv_recorder_no_memory();
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
    return entry->label && entry->shape ? TV_OK : tv_recorder_no_memory();
}

static tv_status record_rows(tv_recorder *recorder, const tv_dispatch *dispatch, const tv_layout *layout,
                             VkPipeline pipeline, const grid *g) {
    const tv_program *program = dispatch->program;
    const tv_recording *recording = recorder->recording;
    const tv_device *device = recorder->device;
    tv_recorder_begin_label(recorder,
                            kernel_label(recording->dispatches[recording->dispatch_count - 1].label));
    device->vk.vkCmdBindPipeline(recorder->commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    TV_RETURN_IF_FAILED(bind(recorder, dispatch, layout));
    if (program->push_bytes)
        device->vk.vkCmdPushConstants(recorder->commands, layout->pipeline, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                                      program->push_bytes, dispatch->push);
    uint32_t query = 2 * recording->dispatch_count;
    if (recording->profile && g->first == 0)
        tv_record_timestamp(recorder, query);
    device->vk.vkCmdDispatchBase(recorder->commands, 0, g->first, 0, g->columns, g->count, g->layers);
    if (recording->profile && g->first + g->count == g->rows)
        tv_record_timestamp(recorder, query + 1);
    tv_recorder_end_label(recorder);
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
        TV_RETURN_IF_FAILED(tv_recorder_take_from_budget(recorder, cost / parts));
        /* Parts of one dispatch do not wait for each other, but where a submission begins all does. */
        if (part == 0 || recorder->pending_count == 0)
            TV_RETURN_IF_FAILED(
                tv_record_order(recorder, dispatch->bindings, program->access, program->binding_count));
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
    TV_RETURN_IF_FAILED(tv_record_order(recorder, spans, access, 2));
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
    TV_RETURN_IF_FAILED(tv_record_order(recorder, &span, &access, 1));
    recorder->device->vk.vkCmdFillBuffer(recorder->commands, span.buffer->handle, span.offset, span.bytes,
                                         word);
    return TV_OK;
}
