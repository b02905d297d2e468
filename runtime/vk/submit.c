/* The timeline: see submit.h. */
#include "vk/internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "vk/marks.h"

static bool is_cut(const tv_recording *recording, uint32_t segment) {
    for (uint32_t c = 0; c < recording->cut_count; c++)
        if (recording->cuts[c] == segment)
            return true;
    return false;
}

uint64_t tv_recording_cut_value(const tv_recording *recording, uint32_t cut) {
    return recording->value - (recording->segment_count - 1 - recording->cuts[cut]);
}

tv_status tv_submit(tv_device *device, tv_recording *const *recordings, uint32_t count, uint64_t *value) {
    TV_RETURN_IF_FAILED(tv_device_check(device));
    uint32_t segments = 0;
    for (uint32_t i = 0; i < count; i++)
        segments += recordings[i]->segment_count;
    VkSubmitInfo2 *submits = calloc(segments ? segments : 1, sizeof *submits);
    VkCommandBufferSubmitInfo *buffers = calloc(segments ? segments : 1, sizeof *buffers);
    VkSemaphoreSubmitInfo *signals = calloc(segments ? segments : 1, sizeof *signals);
    tv_status status;
    if (!submits || !buffers || !signals) {
        status = tv_fail(TV_E_MEMORY, "out of host memory while submitting");
        goto done;
    }
    uint32_t n = 0, groups = 0;
    double cost = 0;
    /* A CPU's work has no bound, and who waits for it wants to see that it goes on. */
    const double budget = device->caps.type == TV_DEVICE_CPU ? 0 : tv_default_budget(&device->caps);
    uint64_t reached = device->submitted;
    double begin = tv_mark_begin(device);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t s = 0; s < recordings[i]->segment_count; s++, n++) {
            reached++;
            buffers[n] = (VkCommandBufferSubmitInfo){.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
                                                     .commandBuffer = recordings[i]->segments[s]};
            /* Short work goes together: several steps of drawing are one submission. */
            const double own = recordings[i]->info.cost / recordings[i]->segment_count;
            if (n == 0 || cost + own > budget || (s > 0 && is_cut(recordings[i], s - 1))) {
                cost = 0;
                submits[groups++] = (VkSubmitInfo2){.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
                                                    .pCommandBufferInfos = &buffers[n],
                                                    .signalSemaphoreInfoCount = 1};
            }
            cost += own;
            signals[n] = (VkSemaphoreSubmitInfo){.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
                                                 .semaphore = device->timeline,
                                                 .value = reached,
                                                 .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT};
            submits[groups - 1].commandBufferInfoCount++;
            submits[groups - 1].pSignalSemaphoreInfos = &signals[n];
            tv_pending *pending = &device->pending[reached % TV_PENDING_SUBMISSIONS];
            pending->value = reached;
            snprintf(pending->label, sizeof pending->label, "%.120s, part %u of %u", recordings[i]->name,
                     s + 1, recordings[i]->segment_count);
        }
    }
    if (device->lose_at_submission && reached >= device->lose_at_submission) {
        /* What was submitted before still runs, as it would not on a device that is truly lost. */
        device->vk.vkDeviceWaitIdle(device->handle);
        status = tv_device_set_lost(device, "injected by TRIVIUM_INJECT_DEVICE_LOST");
        goto done;
    }
    if (device->submits)
        TV_TRY(tv_vk_check(device, device->vk.vkQueueSubmit2(device->queue, groups, submits, VK_NULL_HANDLE),
                           "submit work"));
    status = TV_OK;
    /* Only now: nobody may wait for what the driver refused. */
    for (uint32_t i = 0; i < count; i++) {
        recordings[i]->value = device->submitted += recordings[i]->segment_count;
        device->sums.dispatches += recordings[i]->info.dispatches;
        device->sums.barriers += recordings[i]->info.barriers;
        device->sums.command_buffers += recordings[i]->segment_count;
        tv_marks_submission(device, recordings[i], begin);
    }
    *value = device->submitted;
    tv_mark_end(device, begin, "submit", count ? recordings[0]->name : "nothing");
done:
    free(submits);
    free(buffers);
    free(signals);
    return status;
}

tv_submitted tv_submitted_so_far(const tv_device *device) {
    return device->sums;
}

static tv_status read_timeline(tv_device *device, uint64_t *counter) {
    return tv_vk_check(device,
                       device->vk.vkGetSemaphoreCounterValue(device->handle, device->timeline, counter),
                       "read the timeline");
}

static tv_status wait(tv_device *device, uint64_t value) {
    VkSemaphoreWaitInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                .semaphoreCount = 1,
                                .pSemaphores = &device->timeline,
                                .pValues = &value};
    uint64_t timeout = device->timeout > 0 ? (uint64_t)(device->timeout * 1e9) : UINT64_MAX;
    uint64_t before = 0, counter = 0;
    TV_RETURN_IF_FAILED(read_timeline(device, &counter));
    for (;;) {
        VkResult result = device->vk.vkWaitSemaphores(device->handle, &info, timeout);
        if (result != VK_TIMEOUT)
            return tv_vk_check(device, result, "wait for the device");
        /* A slow device that works through a long queue is not lost: only one that stands still. */
        before = counter;
        TV_RETURN_IF_FAILED(read_timeline(device, &counter));
        if (counter == before) {
            char reason[64];
            snprintf(reason, sizeof reason, "no answer for %g s", device->timeout);
            return tv_device_set_lost(device, reason);
        }
    }
}

tv_status tv_wait(tv_device *device, uint64_t value) {
    TV_RETURN_IF_FAILED(tv_device_check(device));
    if (!device->submits)
        return TV_OK;
    double begin = tv_seconds();
    tv_status status = wait(device, value);
    device->waited += tv_seconds() - begin;
    tv_mark_end(device, device->marks ? begin : 0, "wait", "wait for the device");
    return status;
}

double tv_waited_seconds(const tv_device *device) {
    return device->waited;
}

tv_status tv_wait_idle(tv_device *device) {
    return tv_wait(device, device->submitted);
}
