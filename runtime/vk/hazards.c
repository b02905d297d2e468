/* Barriers from declared access: which bytes commands touch since the last one, and whether the next command
 * must wait. See recorder.h.
 */
#include "vk/recorder_parts.h"

#include <stdlib.h>

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

void tv_record_barrier_to_work(tv_recorder *recorder) {
    emit_barrier(recorder, work_stages, work_access);
    recorder->pending_count = 0;
}

void tv_record_barrier_to_host(tv_recorder *recorder) {
    emit_barrier(recorder, VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT);
}

static bool is_hazard(const tv_recorder *recorder, tv_span span, tv_access access) {
    uint64_t begin = span.offset, end = span.offset + span.bytes;
    for (uint64_t i = 0; i < recorder->pending_count; i++) {
        const tv_pending_access *other = &recorder->pending[i];
        if (other->buffer == span.buffer && other->begin < end && begin < other->end &&
            ((other->access | access) & TV_WRITE))
            return true;
    }
    return false;
}

static tv_status note_access(tv_recorder *recorder, tv_span span, tv_access access) {
    if (recorder->pending_count == recorder->pending_capacity) {
        uint64_t capacity = recorder->pending_capacity ? 2 * recorder->pending_capacity : 64;
        tv_pending_access *grown = realloc(recorder->pending, capacity * sizeof *grown);
        if (!grown)
            return tv_recorder_no_memory();
        recorder->pending = grown;
        recorder->pending_capacity = capacity;
    }
    recorder->pending[recorder->pending_count++] =
        (tv_pending_access){span.buffer, span.offset, span.offset + span.bytes, access};
    return TV_OK;
}

tv_status tv_record_order(tv_recorder *recorder, const tv_span *spans, const tv_access *access,
                          uint32_t count) {
    bool hazard = recorder->device->barrier_always && recorder->pending_count > 0;
    for (uint32_t i = 0; i < count && !hazard; i++)
        hazard = spans[i].buffer && is_hazard(recorder, spans[i], access[i]);
    if (hazard)
        tv_record_barrier_to_work(recorder);
    for (uint32_t i = 0; i < count; i++)
        if (spans[i].buffer)
            TV_RETURN_IF_FAILED(note_access(recorder, spans[i], access[i]));
    return TV_OK;
}
