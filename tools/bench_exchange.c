/* trivium bench exchange: what handing groups of gradients round costs the ranks that a launcher started. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/os.h"
#include "kernels/group_add.h"
#include "run/ranks_run.h"
#include "tools/bench.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "train/exchange.h"
#include "vk/transfer.h"

enum { ROUNDS = 5 };

typedef struct exchange_bench {
    tv_ranks *ranks;
    tv_device *device;
    tv_buffer *group, *sum;
    tv_exchange *exchange;
    tv_recording *add;
    double round, broadcast; /* seconds, medians */
} exchange_bench;

static tv_status record_add(exchange_bench *b) {
    tv_recorder *recorder = NULL;
    tv_status status;
    const tv_recorder_options options = {.name = "bench/group", .simultaneous = true};
    const tv_tensor group = {tv_buffer_span(b->group), TV_F32}, sum = {tv_buffer_span(b->sum), TV_F32};
    TV_TRY_OR_FAIL(tv_recorder_begin(b->device, &options, &recorder));
    TV_TRY_OR_FAIL(tv_group_add(recorder, group.span.bytes / sizeof(float), group, sum));
    return tv_recorder_end(&recorder, &b->add);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

/* Whole rounds as a step makes them. */
static tv_status time_rounds(exchange_bench *b) {
    double seconds[ROUNDS + 1];
    for (int i = 0; i < ROUNDS + 1; i++) { /* the first one warms up */
        uint64_t value;
        double begin = tv_seconds();
        TV_RETURN_IF_FAILED(tv_exchange_round(b->exchange, b->add, &value));
        TV_RETURN_IF_FAILED(tv_wait(b->device, value));
        seconds[i] = tv_seconds() - begin;
    }
    b->round = tv_median(seconds + 1, ROUNDS);
    return TV_OK;
}

/* The ranks' part of that, without their devices. */
static tv_status time_broadcasts(exchange_bench *b, uint64_t bytes) {
    double seconds[ROUNDS + 1];
    char *data = calloc(bytes, 1);
    if (!data)
        return tv_fail(TV_E_MEMORY, "out of host memory for a broadcast");
    tv_status status = TV_OK;
    for (int i = 0; i < ROUNDS + 1 && status == TV_OK; i++) {
        double begin = tv_seconds();
        for (uint32_t rank = 0; rank < tv_ranks_count(b->ranks) && status == TV_OK; rank++)
            status = tv_ranks_broadcast(b->ranks, rank, data, bytes);
        seconds[i] = tv_seconds() - begin;
    }
    free(data);
    b->broadcast = tv_median(seconds + 1, ROUNDS);
    return status;
}

static tv_status measure(exchange_bench *b, const tv_device_options *given, uint64_t bytes) {
    char number[16];
    tv_device_options device;
    TV_RETURN_IF_FAILED(tv_rank_device(b->ranks, given, number, sizeof number, &device));
    TV_RETURN_IF_FAILED(tv_device_open(&device, &b->device));
    TV_RETURN_IF_FAILED(tv_buffer_create(b->device, bytes, TV_MEMORY_DEVICE, "group", &b->group));
    TV_RETURN_IF_FAILED(tv_buffer_create(b->device, bytes, TV_MEMORY_DEVICE, "sum", &b->sum));
    TV_RETURN_IF_FAILED(tv_clear(b->device, tv_buffer_span(b->group)));
    TV_RETURN_IF_FAILED(tv_clear(b->device, tv_buffer_span(b->sum)));
    TV_RETURN_IF_FAILED(record_add(b));
    const tv_span part = tv_buffer_span(b->group);
    return tv_exchange_create(b->ranks, b->device, &part, 1, &b->exchange);
}

static tv_status print(const exchange_bench *b, uint64_t bytes, bool json) {
    const uint32_t ranks = tv_ranks_count(b->ranks);
    const double sent = (double)bytes * ranks;
    if (!tv_ranks_leads(b->ranks))
        return TV_OK;
    printf("ranks      %u, each with a group of %.1f MB on %s\n", ranks, (double)bytes * 1e-6,
           tv_device_caps(b->device)->name);
    printf("round      %.1f ms: every group to every rank, and into the sums\n", b->round * 1e3);
    if (ranks > 1)
        printf("broadcasts %.1f ms of it between the ranks, %.2f GB/s\n", b->broadcast * 1e3,
               sent / b->broadcast * 1e-9);
    if (!json)
        return TV_OK;
    cJSON *object = cJSON_CreateObject();
    bool built = object && tv_json_set_number(object, "ranks", ranks) &&
                 tv_json_set_number(object, "bytes", (double)bytes) &&
                 tv_json_set_number(object, "round_seconds", b->round) &&
                 tv_json_set_number(object, "broadcast_seconds", b->broadcast);
    tv_status status =
        built ? tv_print_json(object) : tv_fail(TV_E_MEMORY, "out of host memory for the result");
    cJSON_Delete(object);
    return status;
}

tv_status tv_bench_exchange(int argc, char **argv) {
    tv_common_options common = {0};
    uint64_t megabytes = 64;
    const tv_option options[] = {
        tv_opt_uint("megabytes", "N", &megabytes, 1, 1024, "of a group: 4 for a million trained parameters"),
    };
    const tv_command_line line = {
        .command = "bench exchange",
        .summary = "Under mpirun: how long it takes to hand the groups of gradients of all ranks round, and "
                   "what of that is the network's.",
        .notes = "example:\n  mpirun -n 2 trivium bench exchange --megabytes 500",
        .options = options,
        .option_count = TV_COUNT(options),
        .common = &common,
        .common_mask = TV_COMMON_DEVICE | TV_COMMON_JSON | TV_COMMON_QUIET,
    };
    bool parsed;
    exchange_bench b = {0};
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &parsed));
    if (parsed)
        return TV_OK;
    tv_status status = tv_ranks_start(&b.ranks);
    if (status != TV_OK)
        return tv_launcher_fail(status);
    const uint64_t bytes = tv_align_up(megabytes * 1000000, TV_TENSOR_ALIGNMENT);
    TV_TRY(tv_ranks_agree(b.ranks, measure(&b, &(tv_device_options){common.device, common.tier}, bytes)));
    TV_TRY(time_rounds(&b));
    TV_TRY(time_broadcasts(&b, bytes));
    TV_TRY(print(&b, bytes, common.json));
done:
    tv_exchange_destroy(&b.exchange);
    tv_recording_destroy(&b.add);
    tv_buffer_destroy(&b.group);
    tv_buffer_destroy(&b.sum);
    tv_device_close(&b.device);
    return tv_ranks_end(&b.ranks, status, "trivium bench exchange");
}
