/* trivium bench train: tokens per second of a configuration's training step, and where its time goes.
 *
 * The step is timed as a run makes it: two steps in flight, by the host's clock. The kernels are timed in a
 * second, profiling recording of the same step, since timestamps around each of them would slow the first.
 * The gap is the difference: what the host, submissions, copies and barriers cost. Where a device overlaps
 * kernels in the normal recording it can be below zero.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/os.h"
#include "base/rng.h"
#include "run/defaults.h"
#include "run/memory_report.h"
#include "run/peak.h"
#include "stages/pretrain.h"
#include "text/loader.h"
#include "tools/bench.h"
#include "tools/bench_profile.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "train/step.h"
#include "train/trainer.h"
#include "vk/device.h"
#include "vk/marks.h"
#include "vk/trace.h"

enum { GROUPS = 5, MAX_GROUP_STEPS = 1000, MOST_READINGS = 5 };
static const double group_seconds = 1;

typedef struct train_bench {
    const char *config_path;
    tv_run_settings settings;
    tv_device *device;
    tv_bench_model model;
    tv_loader *loader; /* NULL: random tokens */
    uint64_t drawn;    /* random tokens so far */
    tv_trainer_options trainer_options;
    tv_trainer *trainer;
    const char *trace;        /* NULL: none is written */
    tv_bench_profile profile; /* mean over the profiled steps */
    double tokens_per_second, step_ms, device_ms, kernel_ms;
    uint64_t device_bytes, group_steps;
} train_bench;

/* ---- batches ---- */

static tv_status random_batch(void *context, tv_micro_batch *batch) {
    train_bench *bench = context;
    const tv_rng rng = {.seed = bench->settings.train.seed, .stream = TV_STREAM_TEST};
    uint64_t count = bench->trainer_options.batch * bench->trainer_options.tokens;
    uint64_t vocab = bench->model.list->config.vocab_size;
    for (uint64_t i = 0; i < count; i++) {
        batch->tokens[i] = (uint32_t)tv_uniform_below(&rng, bench->drawn + i, vocab);
        batch->targets[i] = (uint32_t)tv_uniform_below(&rng, bench->drawn + i + 1, vocab);
    }
    if (batch->doc_start)
        memset(batch->doc_start, 0, count * sizeof *batch->doc_start);
    bench->drawn += count;
    return TV_OK;
}

static tv_status loaded_batch(void *context, tv_micro_batch *batch) {
    train_bench *bench = context;
    return tv_loader_next(bench->loader, &(tv_batch){batch->tokens, batch->targets, batch->doc_start});
}

static tv_status open_loader(train_bench *bench) {
    const tv_data_settings *data = &bench->settings.data;
    const tv_model_config *config = &bench->model.list->config;
    tv_loader_source *sources = calloc(data->train_count, sizeof *sources);
    if (!sources)
        return tv_fail(TV_E_MEMORY, "out of host memory for the list of data");
    for (uint64_t i = 0; i < data->train_count; i++)
        sources[i] = (tv_loader_source){.path = data->train[i].path};
    tv_status status =
        tv_loader_create(&(tv_loader_options){.sources = sources,
                                              .source_count = data->train_count,
                                              .batch_size = (uint32_t)bench->settings.train.batch_size,
                                              .seq_len = (uint32_t)data->seq_len,
                                              .vocab_size = (uint32_t)config->vocab_size,
                                              .shuffle = data->shuffle,
                                              .document_mask = data->document_mask,
                                              .end_of_text = (uint32_t)config->eos_token_id,
                                              .seed = bench->settings.train.seed},
                         &bench->loader);
    free(sources);
    return tv_pretrain_loader_advice(status, data->shuffle);
}

/* ---- steps ---- */

static tv_status drain(train_bench *bench) {
    bool has_result = true;
    tv_step_result result;
    while (has_result)
        TV_RETURN_IF_FAILED(tv_trainer_drain(bench->trainer, &result, &has_result));
    return TV_OK;
}

/* *seconds of the host's clock until the last of `steps` steps is done. */
static tv_status run_steps(train_bench *bench, uint64_t steps, double *seconds) {
    const tv_train_settings *train = &bench->settings.train;
    struct tv_step_constants constants = tv_step_constants_make(train->lr, train->weight_decay, train->beta1,
                                                                train->beta2, train->eps, train->grad_clip);
    constants.momentum = (float)bench->settings.muon.momentum;
    constants.muon_rms = (float)bench->settings.muon.rms;
    tv_batch_source source = bench->loader ? loaded_batch : random_batch;
    double start = tv_seconds();
    for (uint64_t i = 0; i < steps; i++) {
        tv_step_result result;
        bool has_result;
        TV_RETURN_IF_FAILED(tv_trainer_step(bench->trainer, &constants, source, bench, &result, &has_result));
    }
    TV_RETURN_IF_FAILED(drain(bench));
    *seconds = tv_seconds() - start;
    return TV_OK;
}

/* Time of the normal recordings by their own ends, without the host. */
static tv_status read_device_time(train_bench *bench) {
    double micro_batch, update;
    TV_RETURN_IF_FAILED(
        tv_recording_milliseconds(tv_trainer_micro_batch_recording(bench->trainer), &micro_batch));
    TV_RETURN_IF_FAILED(tv_recording_milliseconds(tv_trainer_update_recording(bench->trainer), &update));
    bench->device_ms = micro_batch * (double)bench->settings.train.grad_accum + update;
    return TV_OK;
}

/* Seconds of a step in the normal recording. */
static tv_status time_group(train_bench *bench, uint64_t warmup, double *step_seconds) {
    double seconds;
    bench->trainer_options.profile = false;
    TV_RETURN_IF_FAILED(tv_trainer_create(bench->model.model, &bench->trainer_options, &bench->trainer));
    TV_RETURN_IF_FAILED(run_steps(bench, warmup, &seconds));
    if (bench->group_steps == 0) {
        /* The first steps compiled; two more tell how long one takes. */
        TV_RETURN_IF_FAILED(run_steps(bench, 2, &seconds));
        bench->group_steps = (uint64_t)fmin(MAX_GROUP_STEPS, 1 + group_seconds * 2 / fmax(seconds, 1e-6));
    }
    bench->device_bytes = tv_device_bytes(bench->device);
    TV_RETURN_IF_FAILED(run_steps(bench, bench->group_steps, &seconds));
    TV_RETURN_IF_FAILED(read_device_time(bench));
    *step_seconds = seconds / (double)bench->group_steps;
    tv_trainer_destroy(&bench->trainer);
    return TV_OK;
}

/* ---- profile ---- */

static tv_status add_profile(train_bench *bench, tv_recording *recording, double times_per_step,
                             double *milliseconds) {
    tv_dispatch_time *times = NULL;
    uint32_t count = 0;
    TV_RETURN_IF_FAILED(tv_recording_profile(recording, &times, &count));
    tv_status status = TV_OK;
    for (uint32_t i = 0; i < count && status == TV_OK; i++) {
        *milliseconds += times[i].milliseconds * times_per_step;
        status = tv_bench_profile_add(&bench->profile, &times[i], times_per_step / GROUPS);
    }
    free(times);
    return status;
}

static tv_status trace_step(train_bench *bench) {
    double seconds;
    TV_RETURN_IF_FAILED(tv_trace_begin(bench->device));
    double begin = tv_mark_begin(bench->device);
    TV_RETURN_IF_FAILED(run_steps(bench, 1, &seconds));
    tv_mark_end(bench->device, begin, "host", "a training step");
    return tv_trace_end(bench->device, bench->trace);
}

/* Milliseconds of a step's kernels in the profiling recording: the mean over `readings`, as the steps of a
 * group have their mean. */
static tv_status profile_steps(train_bench *bench, uint64_t readings, bool traced, double *kernel_ms) {
    const double weight = 1 / (double)readings;
    double seconds;
    *kernel_ms = 0;
    bench->trainer_options.profile = true;
    TV_RETURN_IF_FAILED(tv_trainer_create(bench->model.model, &bench->trainer_options, &bench->trainer));
    for (uint64_t i = 0; i < readings; i++) {
        /* Two steps for each, so that both slots have run. */
        TV_RETURN_IF_FAILED(run_steps(bench, 2, &seconds));
        TV_RETURN_IF_FAILED(add_profile(bench, tv_trainer_micro_batch_recording(bench->trainer),
                                        (double)bench->settings.train.grad_accum * weight, kernel_ms));
        TV_RETURN_IF_FAILED(
            add_profile(bench, tv_trainer_update_recording(bench->trainer), weight, kernel_ms));
    }
    if (traced)
        TV_RETURN_IF_FAILED(trace_step(bench));
    tv_trainer_destroy(&bench->trainer);
    return TV_OK;
}

/* Both in turn, so that what else the machine does meets both. */
static tv_status time_groups(train_bench *bench, uint64_t warmup) {
    const tv_train_settings *train = &bench->settings.train;
    double steps[GROUPS], kernels[GROUPS];
    for (int g = 0; g < GROUPS; g++) {
        TV_RETURN_IF_FAILED(time_group(bench, warmup, &steps[g]));
        uint64_t readings = tv_min_u64(MOST_READINGS, tv_max_u64(1, bench->group_steps / 2));
        TV_RETURN_IF_FAILED(profile_steps(bench, readings, bench->trace && g == GROUPS - 1, &kernels[g]));
    }
    double step = tv_median(steps, GROUPS);
    bench->step_ms = step * 1e3;
    bench->kernel_ms = tv_median(kernels, GROUPS);
    bench->tokens_per_second =
        (double)(train->batch_size * bench->settings.data.seq_len * train->grad_accum) / step;
    return TV_OK;
}

/* ---- results ---- */

static void print_result(train_bench *bench, double peak) {
    char bytes[32];
    const tv_train_settings *train = &bench->settings.train;
    double speed = tv_step_flops_per_token(&bench->model.list->config, bench->settings.data.seq_len) *
                   bench->tokens_per_second;
    double gap = bench->step_ms - bench->kernel_ms;
    printf("%s, %s\n", tv_device_caps(bench->device)->name, tv_device_caps(bench->device)->driver);
    printf("%" PRIu64 " parameters, B %" PRIu64 ", T %" PRIu64 ", %s, %d groups of %" PRIu64 " steps\n\n",
           bench->model.list->elements, train->batch_size, bench->settings.data.seq_len,
           bench->loader ? "the configuration's data" : "random tokens", GROUPS, bench->group_steps);
    tv_bench_profile_print(&bench->profile);
    printf("\n%.0f tokens/s\n", bench->tokens_per_second);
    if (bench->kernel_ms > 0)
        printf("step %.3f ms: kernels %.3f ms, outside of kernels %.3f ms (%.1f %%); recordings from end to "
               "end %.3f ms\n",
               bench->step_ms, bench->kernel_ms, gap, 100 * gap / bench->step_ms, bench->device_ms);
    else
        printf("step %.3f ms\n", bench->step_ms);
    printf("%.1f %% of the measured peak (%.1f of %.1f GFLOP/s); %s of device memory\n", 100 * speed / peak,
           speed * 1e-9, peak * 1e-9, tv_format_bytes(bench->device_bytes, bytes, sizeof bytes));
}

static tv_status print_json(train_bench *bench) {
    cJSON *result = cJSON_CreateObject();
    bool built = result && tv_json_set_number(result, "tokens_per_second", bench->tokens_per_second) &&
                 tv_json_set_number(result, "step_ms", bench->step_ms) &&
                 tv_json_set_number(result, "kernel_ms", bench->kernel_ms) &&
                 tv_json_set_number(result, "gap_ms", bench->step_ms - bench->kernel_ms) &&
                 tv_json_set_number(result, "device_bytes", (double)bench->device_bytes) &&
                 tv_bench_profile_add_json(&bench->profile, result);
    return tv_print_result(result, built);
}

static tv_status measure(train_bench *bench, const tv_device_options *device, uint64_t warmup, bool synthetic,
                         bool json) {
    const tv_train_settings *train = &bench->settings.train;
    double peak = NAN;
    tv_trainer_bytes bytes;
    TV_RETURN_IF_FAILED(tv_device_open(device, &bench->device));
    TV_RETURN_IF_FAILED(tv_bench_model_find(NULL, &bench->settings, bench->config_path, &bench->model));
    tv_defaults_of_model(&bench->settings, bench->model.list->elements,
                         bench->model.list->config.max_positions);
    TV_RETURN_IF_FAILED(tv_bench_check_length(&bench->settings, &bench->model.list->config));
    bench->trainer_options = (tv_trainer_options){
        .stage = "bench",
        .batch = train->batch_size,
        .tokens = bench->settings.data.seq_len,
        .grad_accum = train->grad_accum,
        .document_mask = bench->settings.data.document_mask,
        .recompute = train->recompute == TV_RECOMPUTE_BLOCK,
        .train = true,
    };
    const tv_parameter_list *list = bench->model.list;
    TV_RETURN_IF_FAILED(tv_memory_measure(list, bench->device, &bench->trainer_options, &bytes));
    TV_RETURN_IF_FAILED(tv_memory_check(list, bench->device, &bench->trainer_options, &bytes));
    TV_RETURN_IF_FAILED(tv_bench_model_fill(bench->device, train->seed, true, &bench->model));
    if (bench->settings.data.train_count && !synthetic)
        TV_RETURN_IF_FAILED(open_loader(bench));
    TV_RETURN_IF_FAILED(time_groups(bench, warmup));
    if (json)
        return print_json(bench);
    TV_RETURN_IF_FAILED(tv_device_peak(bench->device, &peak));
    print_result(bench, peak);
    return TV_OK;
}

static void release(train_bench *bench) {
    tv_trainer_destroy(&bench->trainer);
    tv_bench_model_free(&bench->model);
    tv_device_close(&bench->device);
    tv_loader_destroy(&bench->loader);
    tv_run_settings_free(&bench->settings);
    tv_bench_profile_free(&bench->profile);
}

tv_status tv_bench_train(int argc, char **argv) {
    tv_common_options common = {0};
    tv_texts sets = {0};
    train_bench bench = {0};
    uint64_t warmup = 3;
    bool synthetic = false, steps_given = false;
    const tv_option options[] = {
        tv_opt_required(tv_opt_existing(
            tv_opt_text("config", "F", &bench.config_path, "a configuration of pretrain, with a \"model\""))),
        tv_opt_repeated("set", "KEY=VALUE", &sets, "change a setting, such as train.batch_size=8"),
        tv_opt_given(&steps_given,
                     tv_opt_uint("steps", "N", &bench.group_steps, 1, MAX_GROUP_STEPS,
                                 "steps in each of the five measured groups (default: about a second)")),
        tv_opt_uint("warmup", "N", &warmup, 1, MAX_GROUP_STEPS, "steps before each group"),
        tv_opt_output(tv_opt_text("trace", "FILE", &bench.trace,
                                  "write a trace of a profiled step, for ui.perfetto.dev")),
        tv_opt_flag("synthetic", &synthetic, "random tokens even where the configuration names data"),
    };
    const tv_command_line line = {
        .command = "bench train",
        .summary = "Trains a configuration's model, drawn by seed, for some steps and writes nothing: tokens "
                   "per second (the median of five groups of steps), and where the time of a step goes. "
                   "Without data.train it trains on random tokens.",
        .notes = "example:\n  trivium bench train --config samples/bench/gpt2_875k.json",
        .options = options,
        .option_count = TV_COUNT(options),
        .common = &common,
        .common_mask = TV_COMMON_DEVICE | TV_COMMON_JSON | TV_COMMON_QUIET,
    };
    bool done;
    tv_status status;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    TV_TRY(
        tv_run_settings_read(bench.config_path, sets.items, sets.count, TV_STAGE_PRETRAIN, &bench.settings));
    TV_TRY(measure(&bench, &(tv_device_options){common.device, common.tier}, warmup, synthetic, common.json));
done:
    release(&bench);
    tv_texts_free(&sets);
    return status;
}
