/* Stage 1, in the order in which a run lives: see stage_pretrain.h. */
#include "train/stage_pretrain.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/files.h"
#include "base/log.h"
#include "base/os.h"
#include "text/loader.h"
#include "text/tokenizer_json.h"
#include "train/checkpoint.h"
#include "train/memory_report.h"
#include "train/metrics.h"
#include "train/peak.h"
#include "train/progress.h"
#include "train/schedule.h"
#include "train/settings.h"
#include "train/step.h"
#include "vk/capture.h"

typedef struct pretraining {
    const tv_pretrain_options *options;
    tv_run_settings settings;
    tv_device *device;
    tv_model_directory *source; /* of --init or of the checkpoint that is resumed; NULL: drawn by seed */
    char *resumed_path;         /* the checkpoint; NULL: a fresh start */
    tv_parameter_list *own_list;
    const tv_parameter_list *list;
    tv_tokenizer *tokenizer;
    tv_loader *train, *val;
    tv_metric_number *mix; /* tokens that each source gave; NULL without weights */
    tv_trainer_options trainer_options;
    tv_trainer_bytes bytes;
    tv_model *model;
    tv_trainer *trainer;
    tv_metrics *metrics;
    tv_progress progress;
    tv_checkpoint_state state;
    uint64_t total_steps;
    uint64_t first_step; /* of this invocation */
    double peak;         /* FLOP/s that the device was measured at; 0: unknown */
    double flops_per_token;
    uint64_t diverged; /* the step whose skipped update was number TV_SKIPS_IN_ROW in a row; 0: none */
    tv_step_result last;
    double seconds; /* of training in this invocation, without evaluation and checkpoints */
    uint64_t session_tokens;
} pretraining;

/* ---- settings, model, data: everything that can be wrong, before anything is written ---- */

static tv_status read_settings(pretraining *p) {
    const tv_pretrain_options *o = p->options;
    char *own = o->resume && !o->config ? tv_format("%s/config.json", o->run) : NULL;
    tv_status status = tv_run_settings_read(own ? own : o->config, o->sets, o->set_count, &p->settings);
    free(own);
    TV_RETURN_IF_FAILED(status);
    if (p->settings.data.train_count == 0)
        return tv_fail(
            TV_E_CONFIG,
            "data.train: expected at least one token shard, found none; make one with trivium data pack");
    return TV_OK;
}

/* A run is continued only with --resume, and nothing that is not a run is written over. One that ended before
 * its first checkpoint has nothing to continue and may be started anew. */
static tv_status check_run_directory(const pretraining *p) {
    const char *run = p->options->run;
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
    if (status == TV_OK && !p->options->resume) {
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

/* The model's list of parameters: of the checkpoint, of --init, or of the configuration. */
static tv_status find_model(pretraining *p) {
    const tv_pretrain_options *o = p->options;
    if (o->resume) {
        TV_RETURN_IF_FAILED(tv_checkpoint_find_last(o->run, &p->resumed_path));
        TV_RETURN_IF_FAILED(tv_checkpoint_read_state(p->resumed_path, &p->state));
        TV_RETURN_IF_FAILED(tv_model_directory_open(p->resumed_path, &p->source));
    } else if (o->init) {
        char *path = NULL;
        TV_RETURN_IF_FAILED(tv_model_path_resolve(o->init, &path));
        tv_status status = tv_model_directory_open(path, &p->source);
        free(path);
        TV_RETURN_IF_FAILED(status);
    }
    if (p->source) {
        p->list = tv_model_directory_parameters(p->source);
        return TV_OK;
    }
    if (!p->settings.model)
        return tv_fail(TV_E_CONFIG, "expected a \"model\" in the configuration or --init DIR, found neither");
    tv_model_config config;
    const char *where = o->config ? o->config : "settings";
    TV_RETURN_IF_FAILED(tv_model_config_read(p->settings.model, where, true, &config));
    if (p->tokenizer && config.eos_token_id < 0) {
        uint32_t end = tv_tokenizer_info_of(p->tokenizer)->end_of_text;
        if (end != TV_NO_TOKEN && end < config.vocab_size)
            config.eos_token_id = end;
    }
    TV_RETURN_IF_FAILED(tv_parameter_list_create(&config, &p->own_list));
    p->list = p->own_list;
    return TV_OK;
}

/* data.tokenizer, else the one beside the model that is continued. */
static tv_status find_tokenizer(pretraining *p) {
    const char *named = p->settings.data.tokenizer;
    const char *beside = p->options->resume ? p->resumed_path : p->options->init;
    if (named && !p->options->resume)
        return tv_tokenizer_load(named, &p->tokenizer);
    if (!beside)
        return TV_OK;
    char *file = tv_format("%s/tokenizer.json", beside);
    if (!file)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status = tv_path_exists(file) ? tv_tokenizer_load(beside, &p->tokenizer) : TV_OK;
    free(file);
    return status;
}

static tv_status check_tokenizer(const pretraining *p) {
    const tv_model_config *config = &p->list->config;
    if (p->tokenizer && tv_tokenizer_vocab_size(p->tokenizer) > config->vocab_size)
        return tv_fail(TV_E_CONFIG,
                       "the tokenizer has %u tokens and the model's vocab_size is %" PRIu64
                       "; they must agree",
                       tv_tokenizer_vocab_size(p->tokenizer), config->vocab_size);
    if (p->settings.data.document_mask && !p->tokenizer && config->eos_token_id < 0)
        return tv_fail(
            TV_E_CONFIG,
            "data.document_mask needs the end-of-text token: set data.tokenizer or the model's eos_token_id");
    return TV_OK;
}

static uint32_t end_of_text(const pretraining *p) {
    uint32_t end = p->tokenizer ? tv_tokenizer_info_of(p->tokenizer)->end_of_text : TV_NO_TOKEN;
    return end != TV_NO_TOKEN ? end : (uint32_t)p->list->config.eos_token_id;
}

static tv_status open_loader(const pretraining *p, const tv_data_source *sources, uint64_t count,
                             bool training, tv_loader **loader) {
    const tv_data_settings *data = &p->settings.data;
    tv_loader_source *list = calloc(count + 1, sizeof *list);
    if (!list)
        return tv_fail(TV_E_MEMORY, "out of host memory for the list of data");
    bool weighted = false;
    for (uint64_t i = 0; i < count; i++)
        weighted |= sources[i].weight != 1;
    for (uint64_t i = 0; i < count; i++)
        list[i] = (tv_loader_source){sources[i].path, training && weighted ? sources[i].weight : 0};
    tv_status status =
        tv_loader_create(&(tv_loader_options){.sources = list,
                                              .source_count = count,
                                              .batch_size = (uint32_t)p->settings.train.batch_size,
                                              .seq_len = (uint32_t)data->seq_len,
                                              .vocab_size = (uint32_t)p->list->config.vocab_size,
                                              .shuffle = training && data->shuffle,
                                              .keep_tail = !training,
                                              .document_mask = data->document_mask,
                                              .end_of_text = end_of_text(p),
                                              .seed = p->settings.train.seed,
                                              .first_batch = training ? p->state.batches : 0},
                         loader);
    free(list);
    return status;
}

/* Names for the tokens of each source, where the loader draws among several. */
static tv_status name_mix(pretraining *p) {
    uint64_t count = tv_loader_stream_count(p->train);
    if (count < 2)
        return TV_OK;
    p->mix = calloc(count, sizeof *p->mix);
    for (uint64_t i = 0; p->mix && i < count; i++) {
        p->mix[i].name = tv_format("tokens of %s", p->settings.data.train[i].path);
        if (!p->mix[i].name)
            return tv_fail(TV_E_MEMORY, "out of host memory for the list of data");
    }
    return p->mix ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the list of data");
}

static void free_mix(pretraining *p) {
    for (uint64_t i = 0; p->mix && i < tv_loader_stream_count(p->train); i++)
        free((char *)(uintptr_t)p->mix[i].name);
    free(p->mix);
    p->mix = NULL;
}

static tv_status open_data(pretraining *p) {
    const tv_data_settings *data = &p->settings.data;
    const tv_train_settings *train = &p->settings.train;
    TV_RETURN_IF_FAILED(open_loader(p, data->train, data->train_count, true, &p->train));
    TV_RETURN_IF_FAILED(name_mix(p));
    if (data->val_count)
        TV_RETURN_IF_FAILED(open_loader(p, data->val, data->val_count, false, &p->val));
    uint64_t pass_steps = tv_max_u64(1, tv_loader_pass_batches(p->train) / train->grad_accum);
    p->total_steps = train->steps ? train->steps : (uint64_t)ceil(train->epochs * (double)pass_steps);
    return TV_OK;
}

static tv_status plan_memory(pretraining *p) {
    const tv_train_settings *train = &p->settings.train;
    p->trainer_options = (tv_trainer_options){
        .stage = "pretrain",
        .batch = train->batch_size,
        .tokens = p->settings.data.seq_len,
        .grad_accum = train->grad_accum,
        .document_mask = p->settings.data.document_mask,
        .recompute = train->recompute == TV_RECOMPUTE_BLOCK,
        .train = true,
    };
    return tv_memory_measure(p->list, p->device, &p->trainer_options, &p->bytes);
}

static tv_status prepare(pretraining *p) {
    TV_RETURN_IF_FAILED(read_settings(p));
    TV_RETURN_IF_FAILED(check_run_directory(p));
    if (!p->options->resume)
        TV_RETURN_IF_FAILED(find_tokenizer(p));
    TV_RETURN_IF_FAILED(find_model(p));
    if (p->options->resume)
        TV_RETURN_IF_FAILED(find_tokenizer(p));
    TV_RETURN_IF_FAILED(check_tokenizer(p));
    if (p->settings.data.seq_len > p->list->config.max_positions)
        return tv_fail(TV_E_CONFIG,
                       "data.seq_len is %" PRIu64 " and the model has positions for %" PRIu64
                       "; use a shorter seq_len or a model with more positions",
                       p->settings.data.seq_len, p->list->config.max_positions);
    TV_RETURN_IF_FAILED(open_data(p));
    TV_RETURN_IF_FAILED(tv_device_open(&p->options->device, &p->device));
    TV_RETURN_IF_FAILED(plan_memory(p));
    if (p->options->dry_run)
        return TV_OK;
    return tv_memory_check(p->list, p->device, &p->trainer_options, &p->bytes);
}

/* ---- set-up on the device ---- */

static tv_status write_resolved_config(const pretraining *p) {
    tv_status status;
    cJSON *root = NULL, *model = NULL;
    char *path = tv_format("%s/config.json", p->options->run);
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    TV_TRY(tv_run_settings_resolve(&p->settings, &root));
    /* With --init the file names the architecture that was found, so that the run explains itself. */
    if (!p->settings.model) {
        TV_TRY(tv_model_config_tree(&p->list->config, &model));
        if (!cJSON_AddItemToObject(root, "model", model)) {
            status = tv_fail(TV_E_MEMORY, "out of host memory for the settings");
            goto fail;
        }
        model = NULL;
    }
    TV_TRY(tv_json_write_file(path, root));
fail:
    cJSON_Delete(model);
    cJSON_Delete(root);
    free(path);
    return status;
}

/* run.json: where and with what the run was last started, for the report. */
static tv_status write_run_description(const pretraining *p) {
    const tv_caps *caps = tv_device_caps(p->device);
    char started[32] = "";
    time_t now = (time_t)tv_wall_seconds();
    struct tm utc;
    if (gmtime_r(&now, &utc))
        strftime(started, sizeof started, "%Y-%m-%d %H:%M UTC", &utc);
    char *path = tv_format("%s/run.json", p->options->run);
    cJSON *root = cJSON_CreateObject();
    bool built = path && root && tv_json_set_string(root, "trivium", TRIVIUM_VERSION) &&
                 tv_json_set_string(root, "device", caps->name) &&
                 tv_json_set_string(root, "driver", caps->driver) &&
                 tv_json_set_string(root, "tier", tv_tier_name(caps->tier)) &&
                 tv_json_set_string(root, "started", started) &&
                 tv_json_set_number(root, "parameters", (double)p->list->elements) &&
                 tv_json_set_number(root, "device_bytes", (double)p->bytes.total);
    tv_status status = built ? tv_json_write_file(path, root)
                             : tv_fail(TV_E_MEMORY, "out of host memory for the run's description");
    cJSON_Delete(root);
    free(path);
    return status;
}

/* Before the run's own memory, so that its peak is the run's alone. */
static tv_status measure_peak(pretraining *p) {
    TV_RETURN_IF_FAILED(tv_device_peak(p->device, &p->peak));
    p->flops_per_token = tv_step_flops_per_token(&p->list->config, p->settings.data.seq_len);
    tv_device_reset_peak_bytes(p->device);
    return TV_OK;
}

static tv_status save(pretraining *p) {
    return tv_checkpoint_write(p->options->run, p->model, p->tokenizer, &p->state, p->settings.train.keep);
}

static tv_status start(pretraining *p) {
    TV_RETURN_IF_FAILED(measure_peak(p));
    TV_RETURN_IF_FAILED(tv_model_create(p->device, p->list, true, &p->model));
    if (p->resumed_path)
        TV_RETURN_IF_FAILED(tv_checkpoint_read_model(p->resumed_path, p->source, p->model));
    else if (p->source)
        TV_RETURN_IF_FAILED(tv_model_load(p->model, p->source));
    else
        TV_RETURN_IF_FAILED(tv_model_initialise(p->model, p->settings.train.seed));
    TV_RETURN_IF_FAILED(tv_trainer_create(p->model, &p->trainer_options, &p->trainer));
    TV_RETURN_IF_FAILED(tv_trainer_set_state(p->trainer, &p->state.update));
    TV_RETURN_IF_FAILED(tv_make_dirs(p->options->run));
    TV_RETURN_IF_FAILED(tv_metrics_open(p->options->run, p->state.step, &p->metrics));
    TV_RETURN_IF_FAILED(tv_remove_temporaries(p->options->run));
    /* In this order: a config.json without run.json is somebody else's. */
    TV_RETURN_IF_FAILED(write_run_description(p));
    TV_RETURN_IF_FAILED(write_resolved_config(p));
    if (p->resumed_path)
        TV_RETURN_IF_FAILED(save(p));
    p->progress.total_steps = p->total_steps;
    p->first_step = p->state.step;
    char size[32];
    tv_info("%s: %" PRIu64 " parameters, %s of device memory on %s",
            p->resumed_path ? "resuming" : "pretraining", p->list->elements,
            tv_format_bytes(tv_device_bytes(p->device), size, sizeof size), tv_device_caps(p->device)->name);
    return TV_OK;
}

/* ---- steps ---- */

static tv_status next_batch(void *context, tv_micro_batch *batch) {
    tv_loader *loader = context;
    tv_loader_next(loader, &(tv_batch){batch->tokens, batch->targets, batch->doc_start});
    return TV_OK;
}

static struct tv_step_constants constants_of(const pretraining *p, uint64_t step) {
    const tv_train_settings *train = &p->settings.train;
    return tv_step_constants_make(tv_schedule_lr(train, step, p->total_steps), train->weight_decay,
                                  train->beta1, train->beta2, train->eps, train->grad_clip);
}

static bool is_due(uint64_t every, uint64_t step, uint64_t total) {
    return step == total || (every > 0 && step % every == 0);
}

static tv_status evaluate(pretraining *p, double *val_loss) {
    uint64_t batch_tokens = p->settings.train.batch_size * p->settings.data.seq_len;
    uint64_t batches = tv_loader_pass_batches(p->val);
    if (p->settings.train.eval_tokens)
        batches = tv_min_u64(batches, tv_div_up(p->settings.train.eval_tokens, batch_tokens));
    double loss_sum;
    uint64_t targets;
    TV_RETURN_IF_FAILED(tv_loader_seek(p->val, 0));
    TV_RETURN_IF_FAILED(
        tv_trainer_evaluate(p->trainer, batches, next_batch, p->val, NULL, NULL, &loss_sum, &targets));
    *val_loss = targets ? loss_sum / (double)targets : 0;
    return TV_OK;
}

/* What each source has given so far; nothing may be in flight, so that the loader stands at this step. */
static void report_mix(const pretraining *p, tv_metrics_line *line) {
    if (!p->mix)
        return;
    line->extra = p->mix;
    line->extra_count = tv_loader_stream_count(p->train);
    for (uint64_t i = 0; i < line->extra_count; i++)
        p->mix[i].value = (double)tv_loader_stream_tokens(p->train, i);
}

/* Accounts for a finished step; evaluates where it is due (nothing is in flight then) and writes its line. */
static tv_status finish_step(pretraining *p, const tv_step_result *result) {
    p->last = *result;
    p->state.step++;
    p->state.batches += p->settings.train.grad_accum;
    p->state.tokens += result->terms;
    p->state.update = result->state;
    p->session_tokens += result->terms;
    p->seconds += result->seconds;
    tv_metrics_line line = {
        .stage = "pretrain",
        .step = p->state.step,
        .loss = result->loss,
        .grad_norm = result->grad_norm,
        .lr = result->lr,
        .tokens = p->state.tokens,
        .tokens_per_second = result->seconds > 0 ? (double)result->terms / result->seconds : 0,
    };
    if (p->val && is_due(p->settings.train.eval_every, p->state.step, p->total_steps)) {
        TV_RETURN_IF_FAILED(evaluate(p, &line.val_loss));
        line.has_val_loss = true;
        if (line.val_loss < p->state.best_val_loss) {
            p->state.best_val_loss = line.val_loss;
            p->state.best_step = p->state.step;
        }
    }
    if (is_due(p->settings.train.eval_every, p->state.step, p->total_steps))
        report_mix(p, &line);
    if (!result->state.finite)
        tv_warn("step %" PRIu64 ": the gradient was not finite, so the update was skipped (%u so far)",
                p->state.step, result->state.skipped);
    if (!p->diverged && result->state.skipped_in_row >= TV_SKIPS_IN_ROW)
        p->diverged = p->state.step;
    TV_RETURN_IF_FAILED(tv_metrics_write(p->metrics, &line));
    tv_progress_step(&p->progress, &line,
                     p->peak > 0 ? line.tokens_per_second * p->flops_per_token / p->peak : -1);
    return TV_OK;
}

static tv_status drain(pretraining *p) {
    for (;;) {
        tv_step_result result;
        bool has_result;
        TV_RETURN_IF_FAILED(tv_trainer_drain(p->trainer, &result, &has_result));
        if (!has_result)
            return TV_OK;
        TV_RETURN_IF_FAILED(finish_step(p, &result));
    }
}

/* One step number `step` (from 0) is submitted; where something is due behind it, the pipeline is drained
 * first. */
static tv_status one_step(pretraining *p, uint64_t step) {
    const tv_train_settings *train = &p->settings.train;
    bool capture = p->options->capture_step == step + 1;
    struct tv_step_constants constants = constants_of(p, step);
    tv_step_result result;
    bool has_result;
    if (capture) {
        TV_RETURN_IF_FAILED(drain(p));
        TV_RETURN_IF_FAILED(tv_capture_begin(p->device, "a pretraining step"));
    }
    TV_RETURN_IF_FAILED(tv_trainer_step(p->trainer, &constants, next_batch, p->train, &result, &has_result));
    if (has_result)
        TV_RETURN_IF_FAILED(finish_step(p, &result));
    if (capture)
        TV_RETURN_IF_FAILED(tv_capture_end(p->device));
    bool checkpoint = is_due(train->checkpoint_every, step + 1, p->total_steps);
    bool evaluation = (p->val || p->mix) && is_due(train->eval_every, step + 1, p->total_steps);
    if (!checkpoint && !evaluation)
        return TV_OK;
    TV_RETURN_IF_FAILED(drain(p));
    /* The best model is on disk as soon as it is known. */
    if (checkpoint || p->state.best_step == p->state.step)
        TV_RETURN_IF_FAILED(save(p));
    return TV_OK;
}

static tv_status run(pretraining *p) {
    uint64_t end = p->total_steps;
    if (p->options->stop_after)
        end = tv_min_u64(end, p->first_step + p->options->stop_after);
    tv_catch_interrupts();
    for (uint64_t step = p->first_step; step < end && !tv_interrupted() && !p->diverged; step++)
        TV_RETURN_IF_FAILED(one_step(p, step));
    TV_RETURN_IF_FAILED(drain(p));
    if (p->state.step > p->first_step)
        TV_RETURN_IF_FAILED(save(p));
    if (p->diverged)
        return tv_fail(
            TV_E_NUMERIC,
            "the gradient was not finite in the %d steps up to step %" PRIu64
            ", and their updates were skipped; %s/checkpoints/step-%" PRIu64
            " holds the last finite parameters. Start again from an earlier checkpoint (--init) with "
            "a lower train.lr, and check the data",
            TV_SKIPS_IN_ROW, p->diverged, p->options->run, p->state.step);
    if (!tv_interrupted() || p->state.step >= p->total_steps)
        return TV_OK;
    if (p->state.step == 0)
        return tv_fail(
            TV_E_INTERRUPTED,
            "interrupted before the first step, so nothing is saved; start again with the same command");
    return tv_fail(TV_E_INTERRUPTED,
                   "interrupted after step %" PRIu64 " of %" PRIu64
                   ", which is saved; continue with: trivium pretrain --out %s --resume",
                   p->state.step, p->total_steps, p->options->run);
}

static void release(pretraining *p) {
    tv_metrics_close(&p->metrics);
    tv_trainer_destroy(&p->trainer);
    tv_model_destroy(&p->model);
    tv_device_close(&p->device);
    free_mix(p);
    tv_loader_destroy(&p->train);
    tv_loader_destroy(&p->val);
    tv_tokenizer_destroy(&p->tokenizer);
    tv_parameter_list_destroy(&p->own_list);
    tv_model_directory_close(&p->source);
    tv_run_settings_free(&p->settings);
    free(p->resumed_path);
}

static void describe_result(const pretraining *p, tv_pretrain_result *result) {
    *result = (tv_pretrain_result){
        .step = p->state.step,
        .tokens = p->state.tokens,
        .loss = p->last.loss,
        .best_val_loss = isfinite(p->state.best_val_loss) ? p->state.best_val_loss : NAN,
        .tokens_per_second = p->seconds > 0 ? (double)p->session_tokens / p->seconds : 0,
        .device_bytes = p->device ? tv_device_peak_bytes(p->device) : 0,
        .planned_bytes = p->bytes.total,
        .finished = p->state.step >= p->total_steps,
    };
}

tv_status tv_pretrain(const tv_pretrain_options *options, tv_pretrain_result *result) {
    pretraining p = {.options = options, .state = {.best_val_loss = INFINITY}};
    tv_status status;
    TV_TRY(prepare(&p));
    if (options->dry_run) {
        TV_TRY(tv_memory_report(p.list, p.device, &p.trainer_options, &p.bytes));
        goto fail;
    }
    TV_TRY(start(&p));
    TV_TRY(run(&p));
fail:
    describe_result(&p, result);
    release(&p);
    return status;
}
