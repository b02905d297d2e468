/* Groups' gradients over the host: see exchange.h. */
#include "train/exchange.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "vk/marks.h"

struct tv_exchange {
    tv_ranks *ranks;
    tv_device *device;
    uint32_t count;
    tv_buffer **taken, **given;         /* (count): this rank's group; another one's */
    tv_recording *take, *put, *put_own; /* parts to `taken`; `given` and `taken` to parts */
};

uint64_t tv_exchange_bytes(uint64_t parts) {
    return 2 * parts;
}

typedef enum direction { TAKE, PUT } direction;

static tv_status record(tv_exchange *e, const char *name, direction which, tv_buffer *const *buffers,
                        const tv_span *parts, tv_recording **recording) {
    tv_recorder *recorder = NULL;
    tv_status status;
    TV_TRY_OR_FAIL(tv_recorder_begin(e->device, &(tv_recorder_options){.name = name}, &recorder));
    for (uint32_t i = 0; i < e->count; i++) {
        tv_span host = tv_span_part(tv_buffer_span(buffers[i]), 0, parts[i].bytes);
        TV_TRY_OR_FAIL(
            tv_record_copy(recorder, which == TAKE ? parts[i] : host, which == TAKE ? host : parts[i]));
    }
    return tv_recorder_end(&recorder, recording);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

tv_status tv_exchange_create(tv_ranks *ranks, tv_device *device, const tv_span *parts, uint32_t count,
                             tv_exchange **out) {
    *out = NULL;
    tv_status status;
    tv_exchange *e = calloc(1, sizeof *e);
    if (!e)
        return tv_fail(TV_E_MEMORY, "out of host memory for an exchange");
    *e = (tv_exchange){.ranks = ranks, .device = device, .count = count};
    e->taken = calloc(count, sizeof(tv_buffer *));
    e->given = calloc(count, sizeof(tv_buffer *));
    if (!e->taken || !e->given) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for an exchange");
        goto fail;
    }
    for (uint32_t i = 0; i < count; i++) {
        TV_TRY_OR_FAIL(
            tv_buffer_create(device, parts[i].bytes, TV_MEMORY_READBACK, "own group", &e->taken[i]));
        TV_TRY_OR_FAIL(
            tv_buffer_create(device, parts[i].bytes, TV_MEMORY_READBACK, "other groups", &e->given[i]));
    }
    TV_TRY_OR_FAIL(record(e, "exchange/take", TAKE, e->taken, parts, &e->take));
    TV_TRY_OR_FAIL(record(e, "exchange/put", PUT, e->given, parts, &e->put));
    TV_TRY_OR_FAIL(record(e, "exchange/put own", PUT, e->taken, parts, &e->put_own));
    *out = e;
    return TV_OK;
fail:
    tv_exchange_destroy(&e);
    return status;
}

void tv_exchange_destroy(tv_exchange **handle) {
    if (!handle || !*handle)
        return;
    tv_exchange *e = *handle;
    tv_recording_destroy(&e->take);
    tv_recording_destroy(&e->put);
    tv_recording_destroy(&e->put_own);
    for (uint32_t i = 0; i < e->count; i++) {
        if (e->taken)
            tv_buffer_destroy(&e->taken[i]);
        if (e->given)
            tv_buffer_destroy(&e->given[i]);
    }
    free(e->taken);
    free(e->given);
    free(e);
    *handle = NULL;
}

tv_status tv_exchange_round(tv_exchange *e, tv_recording *add, uint64_t *value) {
    const uint32_t own = tv_ranks_own(e->ranks);
    TV_RETURN_IF_FAILED(tv_submit(e->device, &e->take, 1, value));
    TV_RETURN_IF_FAILED(tv_wait(e->device, *value));
    double begin = tv_mark_begin(e->device);
    for (uint32_t rank = 0; rank < tv_ranks_count(e->ranks); rank++) {
        tv_buffer *const *buffers = rank == own ? e->taken : e->given;
        /* What was given before is on the device. */
        if (rank != own)
            TV_RETURN_IF_FAILED(tv_wait(e->device, *value));
        for (uint32_t i = 0; i < e->count; i++) {
            tv_span host = tv_buffer_span(buffers[i]);
            TV_RETURN_IF_FAILED(tv_ranks_broadcast(e->ranks, rank, tv_span_map(host), host.bytes));
        }
        tv_recording *const work[] = {rank == own ? e->put_own : e->put, add};
        TV_RETURN_IF_FAILED(tv_submit(e->device, work, TV_COUNT(work), value));
    }
    tv_mark_end(e->device, begin, "host", "exchange gradients");
    return TV_OK;
}
