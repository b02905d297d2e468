/* Model, steps, checkpoints: see run.h. What comes before them is in open.c. */
#include "run/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/files.h"
#include "base/log.h"
#include "base/os.h"
#include "base/shell_word.h"
#include "formats/load.h"
#include "run/directory.h"
#include "run/memory_report.h"
#include "run/peak.h"
#include "run/ranks_run.h"
#include "run/schedule.h"
#include "run/trace_step.h"
#include "train/step.h"
#include "vk/capture.h"
#include "vk/marks.h"

/* ---- set-up on the device ---- */

static tv_status write_resolved_config(const tv_run *run) {
    tv_status status;
    cJSON *root = NULL, *model = NULL;
    char *path = tv_format("%s/config.json", run->options->run);
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    TV_TRY(tv_run_settings_resolve(&run->settings, &root));
    /* With --init the file names the architecture that was found, so that the run explains itself. */
    if (!run->settings.model) {
        TV_TRY(tv_model_config_tree(&run->list->config, &model));
        bool kept = tv_json_overlay(model, tv_json_get(root, "model")); /* what is no config: its weights */
        cJSON_DeleteItemFromObjectCaseSensitive(root, "model");
        if (!kept || !cJSON_AddItemToObject(root, "model", model)) {
            status = tv_fail(TV_E_MEMORY, "out of host memory for the settings");
            goto done;
        }
        model = NULL;
    }
    TV_TRY(tv_json_write_file(path, root));
done:
    cJSON_Delete(model);
    cJSON_Delete(root);
    free(path);
    return status;
}

/* run.json: where and with what the run was last started, for the report. */
static tv_status write_run_description(const tv_run *run) {
    const tv_caps *caps = tv_device_caps(run->device);
    char started[32] = "";
    time_t now = (time_t)tv_wall_seconds();
    struct tm utc;
    if (gmtime_r(&now, &utc))
        strftime(started, sizeof started, "%Y-%m-%d %H:%M UTC", &utc);
    char *path = tv_format("%s/run.json", run->options->run);
    cJSON *root = cJSON_CreateObject();
    bool built = path && root && tv_json_set_string(root, "trivium", TRIVIUM_VERSION) &&
                 tv_json_set_string(root, "device", caps->name) &&
                 tv_json_set_string(root, "driver", caps->driver) &&
                 tv_json_set_string(root, "tier", tv_tier_name(caps->tier)) &&
                 tv_json_set_string(root, "started", started) &&
                 tv_json_set_number(root, "begun", (double)run->begun) &&
                 tv_json_set_string(root, "stage", run->stage->name) &&
                 (!run->init || tv_json_set_string(root, "model", run->init)) &&
                 tv_json_set_number(root, "parameters", (double)run->list->elements) &&
                 tv_json_set_number(root, "device_bytes", (double)run->bytes.total);
    tv_status status = built ? tv_json_write_file(path, root)
                             : tv_fail(TV_E_MEMORY, "out of host memory for the run's description");
    cJSON_Delete(root);
    free(path);
    return status;
}

/* Before the run's own memory, so that its peak is the run's alone. What a stage with a loop of its own does
 * to a token is more than to train on it, and is not set against the peak. */
static tv_status measure_peak(tv_run *run) {
    if (run->stage->next)
        TV_RETURN_IF_FAILED(tv_device_peak(run->device, &run->peak));
    run->flops_per_token = tv_step_flops_per_token(&run->list->config, run->trainer_options.tokens);
    tv_device_reset_peak_bytes(run->device);
    return TV_OK;
}

static tv_status save_more(void *context, const char *directory) {
    tv_run *run = context;
    TV_RETURN_IF_FAILED(tv_made_with_write(directory, &run->now));
    return run->stage->save ? run->stage->save(run->self, run, directory, run->state.step >= run->total_steps)
                            : TV_OK;
}

static tv_status write_checkpoint(tv_run *run) {
    if (run->within)
        return tv_checkpoint_write_within(run->options->run, run->model, run->tokenizer, &run->state,
                                          save_more, run);
    return tv_checkpoint_write(run->options->run, run->model, run->tokenizer, &run->state,
                               run->settings.train.keep, save_more, run);
}

/* The first rank writes, and the others hand it what they keep. */
static tv_status save(tv_run *run) {
    tv_ranks *ranks = run->options->ranks;
    if (!ranks)
        return write_checkpoint(run);
    if (!tv_ranks_leads(ranks))
        return tv_ranks_serve(ranks);
    tv_ranks_begin_asking(ranks);
    TV_RETURN_IF_FAILED(write_checkpoint(run));
    return tv_ranks_dismiss(ranks);
}

tv_status tv_run_save(tv_run *run) {
    if (run->stage->position) /* which is that of run->state.step: nothing is in flight */
        run->state.examples = run->stage->position(run->self);
    run->within = false;
    return save(run);
}

tv_status tv_run_save_within(tv_run *run) {
    run->within = true;
    return save(run);
}

static tv_status fill_model(tv_run *run) {
    if (run->resumed)
        return tv_checkpoint_read_model(run->source_path, run->source, run->model);
    if (run->stage->fill_model)
        return run->stage->fill_model(run->self, run);
    if (run->source)
        return tv_model_load_or_draw(run->model, run->source, run->settings.train.seed);
    return tv_model_initialise(run->model, run->settings.train.seed);
}

/* With the chunks that the run began with its sums go on in their order. */
static void keep_head_rows(tv_run *run) {
    const uint64_t rows = tv_trainer_head_rows(run->trainer), before = run->state.head_rows;
    const uint64_t bound =
        tv_device_caps(run->device)->storage_range / (run->list->config.vocab_size * sizeof(float));
    if (before >= bound && rows < run->trainer_options.batch * run->trainer_options.tokens)
        tv_warn("this device binds the logits of %" PRIu64
                " tokens at once, and the run began with chunks of "
                "%" PRIu64 ": from here on its gradients may differ in their last bits",
                rows, before);
    run->state.head_rows = rows;
}

/* What the plan did not foresee: the driver gives less than it says it has. */
static tv_status make_trainer(tv_run *run) {
    tv_status status = tv_model_create(run->device, run->list, true, &run->model);
    if (status == TV_OK)
        status = tv_trainer_prepare(run->model, &run->trainer_options);
    if (status == TV_OK)
        status = fill_model(run);
    if (status == TV_OK)
        status = tv_trainer_create(run->model, &run->trainer_options, &run->trainer);
    if (status == TV_OK)
        keep_head_rows(run);
    return status == TV_E_FIT
               ? tv_fail(status, "%s; use a smaller train.batch_size, data.seq_len or model", tv_last_error())
               : status;
}

uint64_t tv_run_last_step(const tv_run *run) {
    uint64_t asked = run->options->stop_after;
    return asked && asked < run->total_steps - run->first_step ? run->first_step + asked : run->total_steps;
}

static tv_status start_model(tv_run *run) {
    TV_RETURN_IF_FAILED(measure_peak(run));
    TV_RETURN_IF_FAILED(make_trainer(run));
    TV_RETURN_IF_FAILED(tv_trainer_set_state(run->trainer, &run->state.update));
    return run->stage->begin ? run->stage->begin(run->self, run) : TV_OK;
}

/* Of the rank that writes. */
static tv_status start_directory(tv_run *run) {
    const char *directory = run->options->run;
    TV_RETURN_IF_FAILED(tv_make_dirs(directory));
    if (!run->lock)
        TV_RETURN_IF_FAILED(tv_run_take_directory(run));
    TV_RETURN_IF_FAILED(tv_checkpoint_check_place(directory));
    TV_RETURN_IF_FAILED(tv_metrics_open(directory, run->resumed, run->state.step, &run->metrics));
    TV_RETURN_IF_FAILED(tv_remove_temporaries(directory));
    /* In this order: a config.json without run.json is somebody else's. */
    TV_RETURN_IF_FAILED(write_run_description(run));
    TV_RETURN_IF_FAILED(write_resolved_config(run));
    if (run->resumed && !run->within) /* which is there, but for what a kill cut short behind it */
        TV_RETURN_IF_FAILED(write_checkpoint(run));
    run->progress.total_steps = run->total_steps;
    run->progress.end_step = tv_run_last_step(run);
    run->progress.shown = run->stage->shown;
    if (run->resumed && run->state.step >= run->total_steps)
        tv_info("%s is at its end already: %" PRIu64 " steps are done and the schedule has %" PRIu64
                "; nothing is left to do",
                directory, run->state.step, run->total_steps);
    char size[32];
    tv_info("%s: %" PRIu64 " parameters, %s of device memory on %s",
            run->resumed ? "resuming" : run->stage->doing, run->list->elements,
            tv_format_bytes(tv_device_bytes(run->device), size, sizeof size),
            tv_device_caps(run->device)->name);
    return TV_OK;
}

tv_status tv_run_start(tv_run *run) {
    /* Nobody writes before everybody has read. */
    TV_RETURN_IF_FAILED(tv_ranks_agree(run->options->ranks, start_model(run)));
    TV_RETURN_IF_FAILED(tv_ranks_sum_peaks(run->options->ranks, run->device, &run->peak));
    run->first_step = run->state.step;
    return tv_ranks_leads(run->options->ranks) ? start_directory(run) : TV_OK;
}

/* ---- steps ---- */

uint64_t tv_run_steps_to(const tv_run *run, uint64_t end, uint64_t step_examples) {
    uint64_t left = end > run->state.examples ? end - run->state.examples : 0;
    return run->state.step + tv_div_up(left, step_examples);
}

struct tv_step_constants tv_run_constants(const tv_run *run, uint64_t step) {
    const tv_train_settings *train = &run->settings.train;
    struct tv_step_constants constants =
        tv_step_constants_make(tv_schedule_lr(train, step, run->total_steps), train->weight_decay,
                               train->beta1, train->beta2, train->eps, train->grad_clip);
    constants.momentum = (float)run->settings.muon.momentum;
    constants.muon_rms = (float)run->settings.muon.rms;
    return constants;
}

bool tv_run_is_due(uint64_t every, uint64_t step, uint64_t total) {
    return step == total || (every > 0 && step % every == 0);
}

static bool has_evaluation(const tv_run *run) {
    return run->stage->evaluate && run->stage->has_evaluation(run->self);
}

tv_status tv_run_write_line(tv_run *run, const tv_metrics_line *line) {
    if (!tv_ranks_leads(run->options->ranks))
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_metrics_write(run->metrics, line));
    tv_progress_step(&run->progress, line,
                     run->peak > 0 ? line->tokens_per_second * run->flops_per_token / run->peak : -1);
    return TV_OK;
}

/* Accounts for a finished step; evaluates where it is due (nothing is in flight then) and writes its line. */
static tv_status finish_step(tv_run *run, const tv_step_result *result) {
    run->last = *result;
    run->state.loss = result->loss;
    run->state.step++;
    run->state.tokens += result->tokens;
    run->state.update = result->state;
    run->session_tokens += result->tokens;
    run->seconds += result->seconds;
    tv_metrics_line line = {
        .stage = run->stage->name,
        .step = run->state.step,
        .loss = result->loss,
        .grad_norm = result->grad_norm,
        .lr = result->lr,
        .loss_scale = (double)result->state.loss_scale,
        .tokens = run->state.tokens,
        .tokens_per_second = result->seconds > 0 ? (double)result->tokens / result->seconds : 0,
        .has_wait = run->options->ranks != NULL,
        .waited_for = result->waited_for,
        .wait_seconds = result->wait_seconds,
    };
    if (run->stage->describe)
        run->stage->describe(run->self, run, result, &line);
    if (has_evaluation(run) &&
        tv_run_is_due(run->settings.train.eval_every, run->state.step, run->total_steps)) {
        TV_RETURN_IF_FAILED(run->stage->evaluate(run->self, run, &line));
        /* What follows from it is decided once. */
        TV_RETURN_IF_FAILED(tv_ranks_broadcast(run->options->ranks, 0, &line.val_loss, sizeof line.val_loss));
        if (line.has_val_loss && line.val_loss < run->state.best_val_loss) {
            run->state.best_val_loss = line.val_loss;
            run->state.best_step = run->state.step;
        }
    }
    if (!result->state.finite && result->state.skipped_in_row == 0) {
        tv_info("step %" PRIu64 ": the gradient was over the range of 16 bits, so the update was skipped and "
                "the loss scale halved to %g",
                run->state.step, (double)result->state.loss_scale);
    } else if (!result->state.finite) {
        line.warning = "the gradient was not finite, so the update was skipped";
        tv_warn("step %" PRIu64 ": %s (%u so far)", run->state.step, line.warning, result->state.skipped);
    }
    if (!run->diverged && result->state.skipped_in_row >= TV_SKIPS_IN_ROW)
        run->diverged = run->state.step;
    return tv_run_write_line(run, &line);
}

static tv_status drain(tv_run *run) {
    for (;;) {
        tv_step_result result;
        bool has_result;
        TV_RETURN_IF_FAILED(tv_trainer_drain(run->trainer, &result, &has_result));
        if (!has_result)
            return TV_OK;
        TV_RETURN_IF_FAILED(finish_step(run, &result));
    }
}

/* One step number `step` (from 0) is submitted; where something is due behind it, the pipeline is drained
 * first. */
static tv_status one_step(tv_run *run, uint64_t step) {
    const tv_train_settings *train = &run->settings.train;
    bool capture = run->options->capture_step == step + 1;
    struct tv_step_constants constants = tv_run_constants(run, step);
    tv_step_result result;
    bool has_result;
    bool trace = tv_trace_step_is(run, step, tv_run_last_step(run));
    if (capture || trace || run->before_step)
        TV_RETURN_IF_FAILED(drain(run));
    if (run->before_step)
        TV_RETURN_IF_FAILED(run->before_step(run->self, run));
    if (capture)
        TV_RETURN_IF_FAILED(tv_capture_begin(run->device, "a training step"));
    if (trace)
        TV_RETURN_IF_FAILED(tv_trace_step_begin(run));
    double begin = tv_mark_begin(run->device);
    TV_RETURN_IF_FAILED(
        tv_trainer_step(run->trainer, &constants, run->stage->next, run->self, &result, &has_result));
    if (has_result)
        TV_RETURN_IF_FAILED(finish_step(run, &result));
    if (trace) {
        TV_RETURN_IF_FAILED(drain(run));
        tv_mark_end(run->device, begin, "host", "a training step");
        TV_RETURN_IF_FAILED(tv_trace_step_end(run, step));
    }
    if (capture)
        TV_RETURN_IF_FAILED(tv_capture_end(run->device));
    bool checkpoint = tv_run_is_due(train->checkpoint_every, step + 1, run->total_steps);
    bool evaluation = has_evaluation(run) && tv_run_is_due(train->eval_every, step + 1, run->total_steps);
    if (!checkpoint && !evaluation)
        return TV_OK;
    TV_RETURN_IF_FAILED(drain(run));
    /* The best model is on disk as soon as it is known. */
    if (checkpoint || run->state.best_step == run->state.step)
        TV_RETURN_IF_FAILED(tv_run_save(run));
    return TV_OK;
}

/* The first parameter on the device that holds a NaN or an infinity; NULL when there is none. */
static tv_status find_nonfinite(const tv_run *run, const char **name) {
    float *values = calloc(tv_parameter_piece_elements(run->list), sizeof *values);
    tv_status status = values ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a parameter");
    *name = NULL;
    for (uint32_t i = 0; status == TV_OK && !*name && i < run->list->count; i++) {
        const tv_parameter *p = &run->list->items[i];
        uint64_t piece = tv_parameter_piece_rows(p);
        for (uint64_t first = 0, rows; status == TV_OK && !*name && first < p->shape[0]; first += rows) {
            rows = tv_min_u64(piece, p->shape[0] - first);
            status = tv_model_source(run->model, i, first, rows, TV_F32, values);
            for (uint64_t e = 0; status == TV_OK && !*name && e < rows * p->shape[1]; e++)
                if (!isfinite(values[e]))
                    *name = p->name;
        }
    }
    free(values);
    return status;
}

/* What is said of the saved parameters and of earlier ones is looked up first. */
static tv_status say_diverged(const tv_run *run) {
    const char *directory = run->options->run, *nonfinite;
    char *path = tv_format("%s/checkpoints/step-%" PRIu64, directory, run->state.step), *before = NULL;
    char *saved = NULL, *advice = NULL;
    tv_status status = path ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (status == TV_OK)
        status = find_nonfinite(run, &nonfinite);
    if (status == TV_OK)
        status = tv_checkpoint_find_before(directory, path, &before);
    if (status != TV_OK)
        goto done;
    saved = nonfinite ? tv_format("the parameters in %s are not finite either (%s)", path, nonfinite)
                      : tv_format("%s holds the last finite parameters", path);
    advice = before ? tv_format("Start again from %s", before) : tv_format("Start again");
    status = tv_fail(TV_E_NUMERIC,
                     "the gradient was not finite in the %d steps up to step %" PRIu64
                     ", and their updates were skipped; %s. %s with a lower train.lr, and check the data",
                     TV_SKIPS_IN_ROW, run->diverged, saved ? saved : path, advice ? advice : "Start again");
done:
    free(advice);
    free(saved);
    free(before);
    free(path);
    return status;
}

tv_status tv_run_check_interrupt(tv_run *run) {
    const char *inject = getenv("TRIVIUM_INJECT_INTERRUPT");
    const bool injected = inject && ++run->interrupt_looks == strtoull(inject, NULL, 10);
    return tv_ranks_any(run->options->ranks, tv_interrupted() || injected, &run->interrupted);
}

char *tv_run_resume_command(const tv_run *run) {
    char *out = tv_shell_word(run->options->run);
    char *command = out ? tv_format("trivium %s --out %s --resume", run->stage->name, out) : NULL;
    free(out);
    return command;
}

/* Of a run that an interrupt ended behind something that is worth to be gone on with. */
static tv_status say_interrupted(const tv_run *run) {
    char *again = tv_run_resume_command(run);
    tv_fail(TV_E_INTERRUPTED,
            "interrupted %s step %" PRIu64 " of %" PRIu64 ", which is saved%s; continue with: %s",
            run->within ? "in" : "after", run->state.step + run->within, run->total_steps,
            run->within ? " as far as it is done" : "", again ? again : "the same command and --resume");
    free(again);
    return TV_E_INTERRUPTED;
}

tv_status tv_run_end(const tv_run *run) {
    if (run->diverged)
        return say_diverged(run);
    const bool interrupted = run->interrupted || (!run->options->ranks && tv_interrupted());
    if (!interrupted || run->state.step >= run->total_steps)
        return TV_OK;
    if (run->state.step == 0 && !run->within)
        return tv_fail(
            TV_E_INTERRUPTED,
            "interrupted before the first step, so nothing is saved; start again with the same command");
    return say_interrupted(run);
}

static tv_status all_steps(tv_run *run) {
    uint64_t end = tv_run_last_step(run);
    const tv_ranks_since begin = tv_ranks_now(run->options->ranks);
    tv_catch_interrupts();
    TV_RETURN_IF_FAILED(tv_run_check_interrupt(run));
    for (uint64_t step = run->first_step; step < end && !run->interrupted && !run->diverged; step++) {
        TV_RETURN_IF_FAILED(one_step(run, step));
        TV_RETURN_IF_FAILED(tv_run_check_interrupt(run));
    }
    TV_RETURN_IF_FAILED(drain(run));
    if (run->state.step > run->first_step)
        TV_RETURN_IF_FAILED(tv_run_save(run));
    TV_RETURN_IF_FAILED(tv_ranks_say_waits(run->options->ranks, begin));
    return tv_run_end(run);
}

void tv_run_close(tv_run *run) {
    tv_metrics_close(&run->metrics);
    tv_trainer_destroy(&run->trainer);
    tv_model_destroy(&run->model);
    tv_device_close(&run->device);
    tv_tokenizer_destroy(&run->tokenizer);
    tv_parameter_list_destroy(&run->own_list);
    tv_model_directory_close(&run->source);
    tv_run_settings_free(&run->settings);
    tv_made_with_free(&run->before);
    tv_made_with_free(&run->now);
    tv_lock_release(&run->lock);
    free(run->source_path);
    free(run->init);
    run->source_path = run->init = NULL;
}

void tv_run_describe(const tv_run *run, tv_run_result *result) {
    *result = (tv_run_result){
        .step = run->state.step,
        .tokens = run->state.tokens,
        .loss = run->state.loss,
        .already_finished = run->resumed && run->first_step >= run->total_steps,
        .best_val_loss = isfinite(run->state.best_val_loss) ? run->state.best_val_loss : NAN,
        .tokens_per_second = run->seconds > 0 ? (double)run->session_tokens / run->seconds : 0,
        .device_bytes = run->device ? tv_device_peak_bytes(run->device) : 0,
        .planned_bytes = run->bytes.total,
        .finished = run->state.step >= run->total_steps,
    };
}

tv_status tv_run_stage(const tv_stage *stage, void *self, const tv_run_options *options,
                       tv_run_result *result) {
    tv_run run = {0};
    tv_status status;
    TV_TRY(tv_run_open(&run, stage, self, options));
    if (options->dry_run && !tv_ranks_leads(options->ranks))
        goto done;
    if (options->dry_run) {
        tv_run_plan plan = {0};
        stage->plan(self, &run, &plan);
        tv_run_plan_print(&run.settings, &plan, run.total_steps);
        TV_TRY(tv_memory_report(run.list, run.device, &run.trainer_options, &run.bytes));
        goto done;
    }
    TV_TRY(tv_run_start(&run));
    TV_TRY(all_steps(&run));
done:
    tv_run_describe(&run, result);
    tv_run_close(&run);
    return status;
}
