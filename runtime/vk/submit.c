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

/* What goes to the driver in one call: a command buffer and a signal for each segment, in groups. */
typedef struct batch {
    VkSubmitInfo2 *submits;
    VkCommandBufferSubmitInfo *buffers;
    VkSemaphoreSubmitInfo *signals;
    uint32_t segments, groups;
    uint64_t reached; /* the timeline's value at its end */
} batch;

static tv_status open_batch(tv_recording *const *recordings, uint32_t count, batch *b) {
    uint32_t segments = 0;
    for (uint32_t i = 0; i < count; i++)
        segments += recordings[i]->segment_count;
    b->submits = calloc(segments ? segments : 1, sizeof *b->submits);
    b->buffers = calloc(segments ? segments : 1, sizeof *b->buffers);
    b->signals = calloc(segments ? segments : 1, sizeof *b->signals);
    return b->submits && b->buffers && b->signals
               ? TV_OK
               : tv_fail(TV_E_MEMORY, "out of host memory while submitting");
}

static void close_batch(batch *b) {
    free(b->submits);
    free(b->buffers);
    free(b->signals);
}

/* `begins`: with a group of its own. */
static void add_segment(tv_device *device, const tv_recording *recording, uint32_t segment, bool begins,
                        batch *b) {
    const uint32_t n = b->segments++;
    b->reached++;
    b->buffers[n] = (VkCommandBufferSubmitInfo){.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
                                                .commandBuffer = recording->segments[segment]};
    b->signals[n] = (VkSemaphoreSubmitInfo){.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
                                            .semaphore = device->timeline,
                                            .value = b->reached,
                                            .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT};
    if (begins)
        b->submits[b->groups++] = (VkSubmitInfo2){.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
                                                  .pCommandBufferInfos = &b->buffers[n],
                                                  .signalSemaphoreInfoCount = 1};
    b->submits[b->groups - 1].commandBufferInfoCount++;
    b->submits[b->groups - 1].pSignalSemaphoreInfos = &b->signals[n];
    tv_pending *pending = &device->pending[b->reached % TV_PENDING_SUBMISSIONS];
    pending->value = b->reached;
    snprintf(pending->label, sizeof pending->label, "%.120s, part %u of %u", recording->name, segment + 1,
             recording->segment_count);
}

static void fill_batch(tv_device *device, tv_recording *const *recordings, uint32_t count, batch *b) {
    /* A CPU's work has no bound, and who waits for it wants to see that it goes on. */
    const double budget = device->caps.type == TV_DEVICE_CPU ? 0 : tv_default_budget(&device->caps);
    double cost = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t s = 0; s < recordings[i]->segment_count; s++) {
            /* Short work goes together: several steps of drawing are one submission. */
            const double own = recordings[i]->info.cost / recordings[i]->segment_count;
            const bool begins =
                b->segments == 0 || cost + own > budget || (s > 0 && is_cut(recordings[i], s - 1));
            cost = begins ? own : cost + own;
            add_segment(device, recordings[i], s, begins, b);
        }
    }
}

tv_status tv_submit(tv_device *device, tv_recording *const *recordings, uint32_t count, uint64_t *value) {
    TV_RETURN_IF_FAILED(tv_device_check(device));
    batch b = {.reached = device->submitted};
    tv_status status;
    TV_TRY(open_batch(recordings, count, &b));
    double begin = tv_mark_begin(device);
    fill_batch(device, recordings, count, &b);
    if (device->lose_at_submission && b.reached >= device->lose_at_submission) {
        /* What was submitted before still runs, as it would not on a device that is truly lost. */
        device->vk.vkDeviceWaitIdle(device->handle);
        status = tv_device_set_lost(device, "injected by TRIVIUM_INJECT_DEVICE_LOST");
        goto done;
    }
    if (device->submits)
        TV_TRY(tv_vk_check(device,
                           device->vk.vkQueueSubmit2(device->queue, b.groups, b.submits, VK_NULL_HANDLE),
                           "submit work"));
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
    close_batch(&b);
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
