/* Reading query pools: see timestamps.h. */
#include "vk/internal.h"

#include <math.h>
#include <stdlib.h>

/* Not *delivered: the work is done and its times have not come. */
static tv_status read_queries(tv_recording *recording, uint32_t count, uint64_t *ticks, bool *delivered) {
    tv_device *device = recording->device;
    *delivered = false;
    TV_RETURN_IF_FAILED(tv_wait(device, recording->value));
    if (device->hollow) /* a driver without its GPU may deliver what the memory happens to hold */
        return TV_OK;
    VkResult result =
        device->vk.vkGetQueryPoolResults(device->handle, recording->queries, 0, count, count * sizeof *ticks,
                                         ticks, sizeof *ticks, VK_QUERY_RESULT_64_BIT);
    *delivered = result != VK_NOT_READY;
    return *delivered ? tv_vk_check(device, result, "read timestamps") : TV_OK;
}

/* Counters of fewer than 64 bits wrap; their difference under the mask is right across one wrap. */
static double milliseconds(const tv_device *device, uint64_t begin, uint64_t end) {
    uint64_t bits = device->caps.timestamp_bits;
    uint64_t mask = bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    return (double)((end - begin) & mask) * device->caps.timestamp_ns * 1e-6;
}

/* A counter of fewer bits that wraps within a trace puts what follows first: it happens once in minutes. */
static double seconds(const tv_device *device, uint64_t ticks) {
    return (double)ticks * device->caps.timestamp_ns * 1e-9;
}

tv_status tv_recording_ends(tv_recording *recording, double *begin, double *end) {
    *begin = *end = NAN;
    uint64_t ticks[2];
    bool delivered;
    if (!recording->queries || !recording->value)
        return TV_OK;
    TV_RETURN_IF_FAILED(read_queries(recording, 2, ticks, &delivered));
    if (!delivered)
        return TV_OK;
    *begin = seconds(recording->device, ticks[0]);
    *end = *begin + milliseconds(recording->device, ticks[0], ticks[1]) * 1e-3;
    return TV_OK;
}

tv_status tv_recording_milliseconds(tv_recording *recording, double *out) {
    *out = NAN;
    uint64_t ticks[2];
    bool delivered;
    if (!recording->queries || !recording->value)
        return TV_OK;
    TV_RETURN_IF_FAILED(read_queries(recording, 2, ticks, &delivered));
    if (delivered)
        *out = milliseconds(recording->device, ticks[0], ticks[1]);
    return TV_OK;
}

tv_status tv_recording_profile(tv_recording *recording, tv_dispatch_time **times, uint32_t *count) {
    *times = NULL;
    *count = 0;
    if (!recording->profile)
        return tv_fail(TV_E_USAGE, "%s was not recorded for profiling", recording->name);
    uint32_t timed = recording->dispatch_count;
    if (recording->queries && timed > (recording->query_count - 2) / 2)
        timed = (recording->query_count - 2) / 2;
    uint64_t *ticks = calloc(2 + 2 * (size_t)timed, sizeof *ticks);
    *times = calloc(timed ? timed : 1, sizeof **times);
    tv_status status = TV_OK;
    if (!ticks || !*times) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a profile");
        goto fail;
    }
    bool delivered = recording->queries;
    if (recording->queries && recording->value)
        TV_TRY_OR_FAIL(read_queries(recording, 2 + 2 * timed, ticks, &delivered));
    for (uint32_t i = 0; i < timed; i++) {
        const tv_recorded_dispatch *dispatch = &recording->dispatches[i];
        (*times)[i] = (tv_dispatch_time){
            .program = dispatch->program->name,
            .label = dispatch->label,
            .shape = dispatch->shape,
            .begin = delivered ? seconds(recording->device, ticks[2 + 2 * i]) : NAN,
            .milliseconds =
                delivered ? milliseconds(recording->device, ticks[2 + 2 * i], ticks[3 + 2 * i]) : NAN,
            .flops = dispatch->flops,
            .bytes = dispatch->bytes,
        };
    }
    *count = timed;
    free(ticks);
    return TV_OK;
fail:
    free(ticks);
    free(*times);
    *times = NULL;
    return status;
}
