/* trivium bench exchange: what handing groups of gradients round costs the ranks that a launcher started. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/os.h"
#include "model/loss_head.h"
#include "run/ranks_run.h"
#include "tools/bench.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "train/exchange.h"
#include "train/step.h"
#include "vk/transfer.h"

enum { ROUNDS = 5 };

typedef struct exchange_bench {
    tv_ranks *ranks;
    tv_device *device;
    tv_dtype type; /* of groups, as they go round */
    tv_parameter_list *list;
    tv_model *model;
    tv_buffer *stats, *stat_sums, *partials, *state;
    tv_exchange *exchange;
    tv_recording *taking;
    double round, weights, broadcast; /* seconds, medians */
} exchange_bench;

/* What a micro-batch does behind its gradients. */
static tv_status record_taking(exchange_bench *b) {
    tv_recorder *recorder = NULL;
    tv_status status;
    TV_TRY_OR_FAIL(tv_recorder_begin(b->device, &(tv_recorder_options){.name = "bench/group"}, &recorder));
    TV_TRY_OR_FAIL(tv_exchange_record_take(b->exchange, recorder, 0));
    return tv_recorder_end(&recorder, &b->taking);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

/* Whole rounds as a step makes them, and the weights behind the update. */
static tv_status time_rounds(exchange_bench *b) {
    double rounds[ROUNDS + 1], weights[ROUNDS + 1];
    for (int i = 0; i < ROUNDS + 1; i++) { /* the first one warms up */
        uint64_t value;
        double begin = tv_seconds();
        TV_RETURN_IF_FAILED(tv_submit(b->device, &b->taking, 1, &value));
        TV_RETURN_IF_FAILED(tv_exchange_round(b->exchange, b->taking, &value));
        TV_RETURN_IF_FAILED(tv_wait(b->device, value));
        rounds[i] = tv_seconds() - begin;
        begin = tv_seconds();
        TV_RETURN_IF_FAILED(tv_exchange_weights(b->exchange));
        TV_RETURN_IF_FAILED(tv_wait_idle(b->device));
        weights[i] = tv_seconds() - begin;
    }
    b->round = tv_median(rounds + 1, ROUNDS);
    b->weights = tv_median(weights + 1, ROUNDS);
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

/* GPT-2 of eight layers and about so many bytes of gradients. */
static tv_status make_model(exchange_bench *b, uint64_t bytes) {
    enum { LAYERS = 8, HEAD = 16, MATRICES = 12 };
    tv_model_config config = tv_model_config_defaults(TV_ARCH_GPT2);
    config.vocab_size = HEAD;
    config.max_positions = HEAD;
    config.n_layer = LAYERS;
    config.head_size = HEAD;
    const double channels = sqrt((double)bytes / sizeof(float) / (LAYERS * MATRICES));
    config.n_head = config.n_kv_head = tv_max_u64(1, (uint64_t)(channels / HEAD));
    config.channels = config.n_head * HEAD;
    config.ffn = 4 * config.channels;
    TV_RETURN_IF_FAILED(tv_parameter_list_create(&config, &b->list));
    b->list->owners = (tv_owners){tv_ranks_own(b->ranks), tv_ranks_count(b->ranks)};
    TV_RETURN_IF_FAILED(tv_model_create(b->device, b->list, true, &b->model));
    TV_RETURN_IF_FAILED(tv_model_keep_sums(b->model));
    return b->type == TV_BF16 ? tv_model_keep_errors(b->model, tv_ranks_count(b->ranks)) : TV_OK;
}

/* As an applied update leaves it. */
static tv_status make_state(exchange_bench *b, tv_tensor *tensor) {
    const struct tv_update_state state = {.finite = 1};
    *tensor = TV_ABSENT;
    if (b->type == TV_F32)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_buffer_create(b->device, sizeof state, TV_MEMORY_DEVICE, "state", &b->state));
    *tensor = (tv_tensor){tv_span_part(tv_buffer_span(b->state), 0, sizeof state), TV_U32};
    return tv_upload(b->device, tensor->span, &state, sizeof state);
}

static tv_status measure(exchange_bench *b, const tv_device_options *given, uint64_t bytes) {
    char number[16];
    tv_device_options device;
    TV_RETURN_IF_FAILED(tv_rank_device(b->ranks, given, number, sizeof number, &device));
    TV_RETURN_IF_FAILED(tv_device_open(&device, &b->device));
    TV_RETURN_IF_FAILED(make_model(b, bytes));
    TV_RETURN_IF_FAILED(
        tv_buffer_create(b->device, TV_TENSOR_ALIGNMENT, TV_MEMORY_DEVICE, "statistics", &b->stats));
    TV_RETURN_IF_FAILED(
        tv_buffer_create(b->device, TV_TENSOR_ALIGNMENT, TV_MEMORY_DEVICE, "statistics", &b->stat_sums));
    TV_RETURN_IF_FAILED(tv_buffer_create(b->device, tv_step_partials(b->list) * sizeof(float),
                                         TV_MEMORY_DEVICE, "partial sums", &b->partials));
    const uint64_t stats = TV_HEAD_STATS * sizeof(float);
    tv_tensor state;
    TV_RETURN_IF_FAILED(make_state(b, &state));
    const tv_exchange_tensors tensors = {{tv_span_part(tv_buffer_span(b->stats), 0, stats), TV_F32},
                                         {tv_span_part(tv_buffer_span(b->stat_sums), 0, stats), TV_F32},
                                         {tv_buffer_span(b->partials), TV_F32},
                                         state};
    TV_RETURN_IF_FAILED(tv_exchange_create(b->ranks, b->model, &tensors, &b->exchange));
    return record_taking(b);
}

static tv_status print(const exchange_bench *b, uint64_t bytes, bool json) {
    const uint32_t ranks = tv_ranks_count(b->ranks);
    const double sent = (double)bytes * ranks;
    if (!tv_ranks_leads(b->ranks))
        return TV_OK;
    printf("ranks      %u, each with a group of %.1f MB of %s on %s\n", ranks, (double)bytes * 1e-6,
           tv_dtype_name(b->type), tv_device_caps(b->device)->name);
    printf("round      %.1f ms: each rank's part of every group to it, and into its sums\n", b->round * 1e3);
    printf("weights    %.1f ms: each rank's part to every other one, behind the update\n", b->weights * 1e3);
    if (ranks > 1)
        printf("broadcasts %.1f ms of a group from every rank to every other one, %.2f GB/s\n",
               b->broadcast * 1e3, sent / b->broadcast * 1e-9);
    if (!json)
        return TV_OK;
    cJSON *object = cJSON_CreateObject();
    bool built = object && tv_json_set_number(object, "ranks", ranks) &&
                 tv_json_set_number(object, "bytes", (double)bytes) &&
                 cJSON_AddStringToObject(object, "type", tv_dtype_name(b->type)) &&
                 tv_json_set_number(object, "round_seconds", b->round) &&
                 tv_json_set_number(object, "weights_seconds", b->weights) &&
                 tv_json_set_number(object, "broadcast_seconds", b->broadcast);
    return tv_print_result(object, built);
}

tv_status tv_bench_exchange(int argc, char **argv) {
    tv_common_options common = {0};
    uint64_t megabytes = 64;
    int type = 0;
    const tv_option options[] = {
        tv_opt_uint("megabytes", "N", &megabytes, 1, 1024,
                    "of a group in f32: 4 for a million trained parameters"),
        tv_opt_choice("type", "f32|bf16", &type, "in which groups go round, as train.grad_exchange (f32)"),
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
    if (!b.ranks)
        return tv_fail(TV_E_USAGE, "bench exchange times what several ranks hand each other, and this is one "
                                   "alone; start it as: mpirun -n 2 trivium bench exchange");
    b.type = type == 1 ? TV_BF16 : TV_F32;
    uint64_t bytes = tv_align_up(megabytes * 1000000, TV_TENSOR_ALIGNMENT);
    TV_TRY(tv_ranks_agree(b.ranks, measure(&b, &(tv_device_options){common.device, common.tier}, bytes)));
    bytes = b.list->elements * tv_dtype_bytes(b.type);
    TV_TRY(time_rounds(&b));
    TV_TRY(time_broadcasts(&b, bytes));
    TV_TRY(print(&b, bytes, common.json));
done:
    tv_exchange_destroy(&b.exchange);
    tv_recording_destroy(&b.taking);
    tv_buffer_destroy(&b.stats);
    tv_buffer_destroy(&b.stat_sums);
    tv_buffer_destroy(&b.partials);
    tv_buffer_destroy(&b.state);
    tv_model_destroy(&b.model);
    tv_parameter_list_destroy(&b.list);
    tv_device_close(&b.device);
    return tv_ranks_end(&b.ranks, status, "trivium bench exchange");
}
