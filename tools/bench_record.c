/* Recording whole steps without running them: see bench_record.h. */
#include "tools/bench_record.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/os.h"
#include "model/decoder.h"
#include "tools/bench.h"
#include "train/step.h"
#include "train/trainer.h"
#include "vk/submit.h"

enum { REPLAYS = 21, WARMUP = 4 };

static tv_recorded_step *next_row(tv_recorded_steps *steps, const char *name) {
    tv_recorded_step *row = &steps->rows[steps->count < TV_RECORDED_STEPS ? steps->count++ : 0];
    *row = (tv_recorded_step){.name = name, .record_ms = NAN, .host_ms = NAN};
    return row;
}

static void add_recording(tv_recorded_step *row, const tv_recording *recording, uint64_t times) {
    tv_recording_info info = tv_recording_get_info(recording);
    row->dispatches += info.dispatches * times;
    row->command_buffers += info.submissions * times;
    row->barriers += info.barriers * times;
}

/* ---- training ---- */

/* Leaves zeros, whose targets all count. */
static tv_status no_batch(void *context, tv_micro_batch *batch) {
    (void)context;
    (void)batch;
    return TV_OK;
}

static tv_status replay_training(tv_trainer *trainer, double *host_ms) {
    const struct tv_step_constants constants = tv_step_constants_make(1e-4, 0, 0.9, 0.95, 1e-8, 1);
    double times[REPLAYS];
    for (int i = 0; i < WARMUP + REPLAYS; i++) {
        tv_step_result result;
        bool has_result;
        double begin = tv_seconds();
        TV_RETURN_IF_FAILED(tv_trainer_step(trainer, &constants, no_batch, NULL, &result, &has_result));
        if (i >= WARMUP)
            times[i - WARMUP] = (tv_seconds() - begin) * 1e3;
    }
    *host_ms = tv_median(times, REPLAYS);
    return TV_OK;
}

static tv_status record_training(tv_model *model, const tv_run_settings *settings,
                                 const tv_record_options *options, tv_recorded_step *row) {
    const tv_train_settings *train = &settings->train;
    const tv_trainer_options trainer_options = {
        .stage = "bench",
        .batch = train->batch_size,
        .tokens = settings->data.seq_len,
        .grad_accum = train->grad_accum,
        .document_mask = settings->data.document_mask,
        .recompute = train->recompute == TV_RECOMPUTE_BLOCK,
        .train = true,
    };
    tv_trainer *trainer = NULL;
    tv_status status;
    double begin = tv_seconds();
    TV_TRY(tv_trainer_create(model, &trainer_options, &trainer));
    row->record_ms = (tv_seconds() - begin) * 1e3;
    add_recording(row, tv_trainer_micro_batch_recording(trainer), tv_max_u64(1, train->grad_accum));
    add_recording(row, tv_trainer_update_recording(trainer), 1);
    if (options->timed)
        TV_TRY(replay_training(trainer, &row->host_ms));
done:
    tv_trainer_destroy(&trainer);
    return status;
}

/* ---- decoding ---- */

enum { PROMPT = 32, LONGEST = 1024 };

static tv_status start_rows(tv_decoder *decoder, uint64_t rows, uint64_t prompt, uint64_t max_tokens) {
    static const uint32_t tokens[PROMPT];
    const tv_decoder_settings settings = {.seed = 1, .temperature = 0.8f, .top_k = 40, .top_p = 1};
    tv_decoder_prompt *prompts = calloc(rows, sizeof *prompts);
    if (!prompts)
        return tv_fail(TV_E_MEMORY, "out of host memory for the prompts");
    for (uint64_t r = 0; r < rows; r++)
        prompts[r] = (tv_decoder_prompt){
            .tokens = tokens, .length = prompt, .max_new = max_tokens - prompt, .sequence = (uint32_t)r};
    tv_status status = tv_decoder_start(decoder, prompts, rows, &settings);
    free(prompts);
    return status;
}

static tv_status record_decoding(const tv_model *model, const tv_record_options *options,
                                 tv_recorded_step *row) {
    uint64_t max_tokens = tv_min_u64(tv_model_list(model)->config.max_positions, LONGEST);
    uint64_t prompt = tv_min_u64(PROMPT, max_tokens / 2), running;
    tv_decoder *decoder = NULL;
    tv_status status;
    double begin = tv_seconds();
    TV_TRY(tv_decoder_create(model, &(tv_decoder_options){.rows = options->rows, .max_tokens = max_tokens},
                             &decoder));
    TV_TRY(start_rows(decoder, options->rows, prompt, max_tokens));
    TV_TRY(tv_decoder_run(decoder, 1, &running));
    row->record_ms = (tv_seconds() - begin) * 1e3;
done:
    tv_decoder_destroy(&decoder);
    return status;
}

tv_status tv_bench_record(tv_device *device, const tv_run_settings *settings, const char *where,
                          const tv_record_options *options, tv_recorded_steps *steps) {
    tv_bench_model found = {0};
    tv_status status;
    TV_TRY(tv_bench_model_find(NULL, settings, where, &found));
    TV_TRY(tv_model_create(device, found.list, true, &found.model));
    TV_TRY(record_training(found.model, settings, options, next_row(steps, "pretraining")));
    TV_TRY(record_decoding(found.model, options, next_row(steps, "decoding")));
done:
    tv_bench_model_free(&found);
    return status;
}
