/* Settings, directory, model, steps, checkpoints: see run.h. */
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
#include "formats/load.h"
#include "run/defaults.h"
#include "run/memory_report.h"
#include "run/model_settings.h"
#include "run/peak.h"
#include "run/schedule.h"
#include "run/trace_step.h"
#include "text/tokenizer_json.h"
#include "train/step.h"
#include "vk/capture.h"
#include "vk/marks.h"

/* ---- settings, model, data: everything that can be wrong, before anything is written ---- */

/* A run belongs to the stage that began it: another one's optimizer and positions say nothing. */
static tv_status check_stage(const tv_run *run) {
    const char *directory = run->options->run, *stage;
    cJSON *root = NULL;
    tv_status status = TV_OK;
    char *path = tv_format("%s/run.json", directory);
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (!run->options->resume || !tv_path_exists(path))
        goto done;
    TV_TRY(tv_json_read_file(path, &root));
    TV_TRY(tv_json_string(root, "stage", path, run->stage->name, &stage));
    if (strcmp(stage, run->stage->name) != 0)
        status = tv_fail(TV_E_USAGE,
                         "%s is a run of %s and not of %s; continue it with trivium %s, or begin a run of %s "
                         "from its model in another directory",
                         directory, stage, run->stage->name, stage, run->stage->name);
done:
    cJSON_Delete(root);
    free(path);
    return status;
}

static tv_status read_settings(tv_run *run) {
    const tv_run_options *o = run->options;
    char *own = o->resume && !o->config ? tv_format("%s/config.json", o->run) : NULL;
    tv_status status =
        own && !tv_path_exists(own)
            ? tv_fail(TV_E_USAGE,
                      "--resume: expected a run in %s, found no config.json there; start without --resume",
                      o->run)
            : tv_run_settings_read(own ? own : o->config, o->sets, o->set_count, run->stage->kind,
                                   &run->settings);
    free(own);
    TV_RETURN_IF_FAILED(status);
    if (run->settings.data.train_count == 0)
        return tv_fail(TV_E_CONFIG, "%s", run->stage->no_data);
    return TV_OK;
}

/* A run is continued only with --resume, and nothing that is not a run is written over. One that ended before
 * its first checkpoint has nothing to continue and may be started anew. */
static tv_status check_directory(const tv_run *r) {
    const char *run = r->options->run;
    char *found = NULL, *config = tv_format("%s/config.json", run),
         *description = tv_format("%s/run.json", run);
    tv_status status = TV_OK;
    if (!config || !description)
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
    else if (tv_path_exists(run) && !tv_path_is_directory(run))
        status = tv_fail(TV_E_USAGE, "--out %s: expected a directory or a new name, found a file", run);
    else if (tv_path_exists(config) && !tv_path_exists(description))
        status = tv_fail(TV_E_USAGE,
                         "%s holds a config.json that is not a run's, and it would be written over; name "
                         "another directory with --out",
                         run);
    if (status == TV_OK && !r->options->resume) {
        status = tv_checkpoint_find_last(run, &found);
        if (status == TV_OK)
            status = tv_fail(
                TV_E_USAGE,
                "%s already holds a run; continue it with --resume, or name another directory with --out",
                run);
        else if (status == TV_E_CONFIG)
            status = TV_OK;
    }
    free(found);
    free(config);
    free(description);
    return status;
}

/* The directory for this process alone, and once more what was said of it before. */
static tv_status take_directory(tv_run *run) {
    TV_RETURN_IF_FAILED(tv_lock_directory(run->options->run, &run->lock));
    return check_directory(run);
}

/* At the start only where a run is: a directory of something else gets no file before all is known to be
 * well.
 */
static tv_status take_begun_directory(tv_run *run) {
    char *description = tv_format("%s/run.json", run->options->run);
    if (!description)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    bool begun = tv_path_exists(description);
    free(description);
    return begun && !run->options->dry_run ? take_directory(run) : TV_OK;
}

/* run.json names what the run began from, for stages that need it again. */
static tv_status read_init(tv_run *run) {
    cJSON *root = NULL;
    const char *init;
    char *path = tv_format("%s/run.json", run->options->run);
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status;
    TV_TRY(tv_json_read_file(path, &root));
    TV_TRY(tv_json_string(root, "model", path, "", &init));
    if (init[0] && !(run->init = tv_format("%s", init)))
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
done:
    cJSON_Delete(root);
    free(path);
    return status;
}

/* A damaged checkpoint is not gone on from; the sentence says from which one that is possible. */
static tv_status check_checkpoint(const tv_run *run) {
    const char *path = run->source_path;
    bool sealed;
    char *before = NULL;
    tv_status status = tv_checkpoint_check(path, &sealed);
    if (status == TV_OK && !sealed)
        tv_warn("%s has no checksums, as checkpoints of earlier versions: damage to it would not be noticed",
                path);
    if (status != TV_E_DATA)
        return status;
    char *sentence = tv_format("%s", tv_last_error());
    if (sentence && tv_checkpoint_find_before(run->options->run, path, &before) == TV_OK)
        status = before ? tv_fail(status, "%s. Move %s away to continue with --resume from %s", sentence,
                                  path, before)
                        : tv_fail(status, "%s. %s has no checkpoint before it; begin the run anew", sentence,
                                  run->options->run);
    free(sentence);
    free(before);
    return status;
}

/* The directory that is read: of the checkpoint, or of --init. */
static tv_status open_source(tv_run *run) {
    const tv_run_options *o = run->options;
    if (o->resume) {
        TV_RETURN_IF_FAILED(tv_checkpoint_find_last(o->run, &run->source_path));
        TV_RETURN_IF_FAILED(check_checkpoint(run));
        TV_RETURN_IF_FAILED(tv_checkpoint_read_state(run->source_path, &run->state));
        TV_RETURN_IF_FAILED(tv_made_with_read(run->source_path, &run->before));
        TV_RETURN_IF_FAILED(read_init(run));
        run->resumed = true;
    } else if (o->init) {
        TV_RETURN_IF_FAILED(tv_model_path_resolve(o->init, &run->source_path));
        run->init = tv_format("%s", o->init);
        if (!run->init)
            return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    } else if (run->stage->needs_model) {
        return tv_fail(TV_E_USAGE, "expected --model DIR, the model to start from, found none");
    }
    return run->source_path ? tv_model_directory_open(run->source_path, &run->source) : TV_OK;
}

/* data.tokenizer, else the one beside the model that is continued. */
static tv_status find_tokenizer(tv_run *run) {
    const char *named = run->settings.data.tokenizer;
    if (named && !run->resumed)
        return tv_tokenizer_load(named, &run->tokenizer);
    if (!run->source_path)
        return TV_OK;
    char *file = tv_format("%s/tokenizer.json", run->source_path);
    if (!file)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    bool there = tv_path_exists(file);
    free(file);
    if (there)
        return tv_tokenizer_load(run->source_path, &run->tokenizer);
    if (run->stage->needs_text)
        return tv_fail(TV_E_DATA,
                       "%s has no tokenizer.json, and %s reads text; put the tokenizer there, or name its "
                       "directory with --set data.tokenizer=DIR",
                       run->source_path, run->stage->name);
    return TV_OK;
}

static tv_status find_model(tv_run *run) {
    if (run->source) {
        run->list = tv_model_directory_parameters(run->source);
        if (run->settings.model)
            TV_RETURN_IF_FAILED(
                tv_model_settings_check(run->settings.model, &run->list->config, run->source_path));
    }
    if (run->stage->choose_model)
        TV_RETURN_IF_FAILED(run->stage->choose_model(run->self, run));
    const tv_model_config *config = &run->list->config;
    TV_RETURN_IF_FAILED(tv_model_config_expect_head(config, run->stage->head,
                                                    run->source_path ? run->source_path : "\"model\""));
    if (run->tokenizer && tv_tokenizer_vocab_size(run->tokenizer) > config->vocab_size)
        return tv_fail(TV_E_CONFIG,
                       "the tokenizer has %u tokens and the model's vocab_size is %" PRIu64
                       "; they must agree",
                       tv_tokenizer_vocab_size(run->tokenizer), config->vocab_size);
    tv_defaults_of_model(&run->settings, run->list->elements, config->max_positions);
    if (!run->stage->own_length && run->settings.data.seq_len > config->max_positions)
        return tv_fail(TV_E_CONFIG,
                       "data.seq_len is %" PRIu64 " and the model has positions for %" PRIu64
                       "; use a shorter seq_len or a model with more positions",
                       run->settings.data.seq_len, config->max_positions);
    return TV_OK;
}

static tv_status add_sources(tv_run *run, const char *key, const tv_data_source *sources, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "data.%s[%" PRIu64 "]", key, i);
        TV_RETURN_IF_FAILED(tv_inputs_add(&run->now.inputs, name, sources[i].path));
    }
    return TV_OK;
}

/* Everything that is read besides the checkpoint, and the settings, as they are now. */
static tv_status find_inputs(tv_run *run) {
    const tv_data_settings *data = &run->settings.data;
    TV_RETURN_IF_FAILED(tv_run_settings_whole(&run->settings, &run->now.settings));
    TV_RETURN_IF_FAILED(add_sources(run, "train", data->train, data->train_count));
    TV_RETURN_IF_FAILED(add_sources(run, "val", data->val, data->val_count));
    TV_RETURN_IF_FAILED(add_sources(run, "ptx", data->ptx, data->ptx_count));
    if (run->options->init)
        TV_RETURN_IF_FAILED(tv_inputs_add_model(&run->now.inputs, "model", run->options->init));
    return run->stage->add_inputs ? run->stage->add_inputs(run->self, run) : TV_OK;
}

/* A run that goes on: with what it was, or with what changed on request. */
static tv_status compare_inputs(tv_run *run) {
    bool other_measure = false;
    const tv_input *began = tv_inputs_find(&run->before.inputs, "model");
    TV_RETURN_IF_FAILED(tv_made_with_compare(&run->before, &run->now,
                                             &(tv_made_with_rules){.checkpoint = run->source_path,
                                                                   .own_length = run->stage->own_length,
                                                                   .accept = run->options->accept_changes,
                                                                   .other_measure = &other_measure}));
    TV_RETURN_IF_FAILED(tv_inputs_keep(&run->now.inputs, began));
    if (other_measure && isfinite(run->state.best_val_loss)) {
        tv_info("validation measures something else from here on, so the best loss so far, %.4f of step "
                "%" PRIu64 ", is compared with no more",
                run->state.best_val_loss, run->state.best_step);
        run->state.best_val_loss = INFINITY;
        run->state.loss = NAN;
        run->state.best_step = 0;
    }
    return TV_OK;
}

static tv_status plan_memory(tv_run *run) {
    run->trainer_options.stage = run->stage->name;
    run->trainer_options.grad_accum =
        tv_max_u64(run->trainer_options.grad_accum, run->settings.train.grad_accum);
    run->trainer_options.recompute = run->settings.train.recompute == TV_RECOMPUTE_BLOCK;
    run->trainer_options.train = true;
    TV_RETURN_IF_FAILED(tv_memory_measure(run->list, run->device, &run->trainer_options, &run->bytes));
    return run->stage->measure ? run->stage->measure(run->self, run) : TV_OK;
}

tv_status tv_run_open(tv_run *run, const tv_stage *stage, void *self, const tv_run_options *options) {
    run->stage = stage;
    run->self = self;
    run->options = options;
    run->state.best_val_loss = INFINITY;
    TV_RETURN_IF_FAILED(check_directory(run));
    TV_RETURN_IF_FAILED(take_begun_directory(run));
    TV_RETURN_IF_FAILED(check_stage(run));
    TV_RETURN_IF_FAILED(read_settings(run));
    TV_RETURN_IF_FAILED(open_source(run));
    TV_RETURN_IF_FAILED(find_tokenizer(run));
    TV_RETURN_IF_FAILED(find_model(run));
    TV_RETURN_IF_FAILED(find_inputs(run));
    if (run->resumed)
        TV_RETURN_IF_FAILED(compare_inputs(run));
    TV_RETURN_IF_FAILED(stage->open_data(self, run));
    if (!run->resumed) /* a run goes on with what it began with, and was warned then */
        tv_defaults_of_schedule(&run->settings, run->total_steps);
    TV_RETURN_IF_FAILED(tv_device_open(&options->device, &run->device));
    TV_RETURN_IF_FAILED(plan_memory(run));
    /* Once more: the data may have chosen what was left to it. */
    cJSON_Delete(run->now.settings);
    run->now.settings = NULL;
    TV_RETURN_IF_FAILED(tv_run_settings_whole(&run->settings, &run->now.settings));
    if (options->dry_run)
        return TV_OK;
    return tv_memory_check(run->list, run->device, &run->trainer_options, &run->bytes);
}

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
        if (!cJSON_AddItemToObject(root, "model", model)) {
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
    bool built =
        path && root && tv_json_set_string(root, "trivium", TRIVIUM_VERSION) &&
        tv_json_set_string(root, "device", caps->name) && tv_json_set_string(root, "driver", caps->driver) &&
        tv_json_set_string(root, "tier", tv_tier_name(caps->tier)) &&
        tv_json_set_string(root, "started", started) && tv_json_set_string(root, "stage", run->stage->name) &&
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

tv_status tv_run_save(tv_run *run) {
    if (run->stage->position) /* which is that of run->state.step: nothing is in flight */
        run->state.examples = run->stage->position(run->self);
    return tv_checkpoint_write(run->options->run, run->model, run->tokenizer, &run->state,
                               run->settings.train.keep, save_more, run);
}

static tv_status fill_model(tv_run *run) {
    if (run->resumed)
        return tv_checkpoint_read_model(run->source_path, run->source, run->model);
    if (run->stage->fill_model)
        return run->stage->fill_model(run->self, run);
    if (run->source)
        return tv_model_load(run->model, run->source);
    return tv_model_initialise(run->model, run->settings.train.seed);
}

/* What the plan did not foresee: the driver gives less than it says it has. */
static tv_status make_trainer(tv_run *run) {
    tv_status status = tv_model_create(run->device, run->list, true, &run->model);
    if (status == TV_OK)
        status = fill_model(run);
    if (status == TV_OK)
        status = tv_trainer_create(run->model, &run->trainer_options, &run->trainer);
    return status == TV_E_FIT
               ? tv_fail(status, "%s; use a smaller train.batch_size, data.seq_len or model", tv_last_error())
               : status;
}

uint64_t tv_run_last_step(const tv_run *run) {
    uint64_t asked = run->options->stop_after;
    return asked && asked < run->total_steps - run->first_step ? run->first_step + asked : run->total_steps;
}

tv_status tv_run_start(tv_run *run) {
    const char *directory = run->options->run;
    TV_RETURN_IF_FAILED(measure_peak(run));
    TV_RETURN_IF_FAILED(make_trainer(run));
    TV_RETURN_IF_FAILED(tv_trainer_set_state(run->trainer, &run->state.update));
    if (run->stage->begin)
        TV_RETURN_IF_FAILED(run->stage->begin(run->self, run));
    TV_RETURN_IF_FAILED(tv_make_dirs(directory));
    if (!run->lock)
        TV_RETURN_IF_FAILED(take_directory(run));
    TV_RETURN_IF_FAILED(tv_checkpoint_check_place(directory));
    TV_RETURN_IF_FAILED(tv_metrics_open(directory, run->state.step, &run->metrics));
    TV_RETURN_IF_FAILED(tv_remove_temporaries(directory));
    /* In this order: a config.json without run.json is somebody else's. */
    TV_RETURN_IF_FAILED(write_run_description(run));
    TV_RETURN_IF_FAILED(write_resolved_config(run));
    if (run->resumed)
        TV_RETURN_IF_FAILED(tv_run_save(run));
    run->first_step = run->state.step;
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

/* ---- steps ---- */

uint64_t tv_run_steps_to(const tv_run *run, uint64_t end, uint64_t step_examples) {
    uint64_t left = end > run->state.examples ? end - run->state.examples : 0;
    return run->state.step + tv_div_up(left, step_examples);
}

struct tv_step_constants tv_run_constants(const tv_run *run, uint64_t step) {
    const tv_train_settings *train = &run->settings.train;
    return tv_step_constants_make(tv_schedule_lr(train, step, run->total_steps), train->weight_decay,
                                  train->beta1, train->beta2, train->eps, train->grad_clip);
}

bool tv_run_is_due(uint64_t every, uint64_t step, uint64_t total) {
    return step == total || (every > 0 && step % every == 0);
}

static bool has_evaluation(const tv_run *run) {
    return run->stage->evaluate && run->stage->has_evaluation(run->self);
}

tv_status tv_run_write_line(tv_run *run, const tv_metrics_line *line) {
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
        .tokens = run->state.tokens,
        .tokens_per_second = result->seconds > 0 ? (double)result->tokens / result->seconds : 0,
    };
    if (run->stage->describe)
        run->stage->describe(run->self, run, result, &line);
    if (has_evaluation(run) &&
        tv_run_is_due(run->settings.train.eval_every, run->state.step, run->total_steps)) {
        TV_RETURN_IF_FAILED(run->stage->evaluate(run->self, run, &line));
        if (line.has_val_loss && line.val_loss < run->state.best_val_loss) {
            run->state.best_val_loss = line.val_loss;
            run->state.best_step = run->state.step;
        }
    }
    if (!result->state.finite) {
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
    if (capture || trace)
        TV_RETURN_IF_FAILED(drain(run));
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
    float *values = calloc(run->list->max_elements, sizeof *values);
    tv_status status = values ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a parameter");
    *name = NULL;
    for (uint32_t i = 0; status == TV_OK && !*name && i < run->list->count; i++) {
        status = tv_model_source(run->model, i, values);
        for (uint64_t e = 0; status == TV_OK && !*name && e < run->list->items[i].count; e++)
            if (!isfinite(values[e]))
                *name = run->list->items[i].name;
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

tv_status tv_run_end(const tv_run *run) {
    const char *directory = run->options->run, *stage = run->stage->name;
    if (run->diverged)
        return say_diverged(run);
    if (!tv_interrupted() || run->state.step >= run->total_steps)
        return TV_OK;
    if (run->state.step == 0)
        return tv_fail(
            TV_E_INTERRUPTED,
            "interrupted before the first step, so nothing is saved; start again with the same command");
    return tv_fail(TV_E_INTERRUPTED,
                   "interrupted after step %" PRIu64 " of %" PRIu64
                   ", which is saved; continue with: trivium %s --out %s --resume",
                   run->state.step, run->total_steps, stage, directory);
}

static tv_status all_steps(tv_run *run) {
    uint64_t end = tv_run_last_step(run);
    tv_catch_interrupts();
    for (uint64_t step = run->first_step; step < end && !tv_interrupted() && !run->diverged; step++)
        TV_RETURN_IF_FAILED(one_step(run, step));
    TV_RETURN_IF_FAILED(drain(run));
    if (run->state.step > run->first_step)
        TV_RETURN_IF_FAILED(tv_run_save(run));
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
