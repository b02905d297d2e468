/* Settings, model, data: what can be wrong is found here, before anything is written. See tv_run_open in
 * run.h. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "base/os.h"
#include "formats/model_tokenizer.h"
#include "run/defaults.h"
#include "run/directory.h"
#include "run/memory_report.h"
#include "run/model_settings.h"
#include "run/parameter_choice.h"
#include "run/ranks_run.h"
#include "run/run.h"
#include "vk/device.h"

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

/* Those of the run, also what model and data chose when it began, and over them what a file names now. */
static tv_status read_resumed_settings(tv_run *run) {
    const tv_run_options *o = run->options;
    cJSON *root = NULL, *file = NULL;
    tv_status status;
    char *own = tv_format("%s/config.json", o->run);
    const char *where = o->config ? o->config : own;
    if (!own)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (!tv_path_exists(own)) {
        status = tv_fail(TV_E_USAGE,
                         "--resume: expected a run in %s, found no config.json there; start without --resume",
                         o->run);
        goto done;
    }
    TV_TRY(tv_json_read_file(own, &root));
    if (o->config)
        TV_TRY(tv_json_read_file(o->config, &file));
    if (file && !tv_json_overlay(root, file)) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the settings");
        goto done;
    }
    if (file && !cJSON_IsObject(file)) { /* what it is instead is said where settings are read */
        cJSON_Delete(root);
        root = file;
        file = NULL;
    }
    status = tv_run_settings_from_tree(root, where, o->sets, o->set_count, run->stage->kind, &run->settings);
    root = NULL;
done:
    cJSON_Delete(root);
    cJSON_Delete(file);
    free(own);
    return status;
}

static tv_status read_settings(tv_run *run) {
    TV_RETURN_IF_FAILED(run->options->resume ? read_resumed_settings(run)
                                             : tv_run_settings_read(run->options->config, run->options->sets,
                                                                    run->options->set_count, run->stage->kind,
                                                                    &run->settings));
    if (run->settings.data.train_count == 0)
        return tv_fail(TV_E_CONFIG, "%s", run->stage->no_data);
    return tv_defaults_of_ranks(&run->settings, tv_ranks_count(run->options->ranks), run->options->resume);
}

/* run.json names what the run began from, for stages that need it again, and when. */
static tv_status read_beginning(tv_run *run) {
    cJSON *root = NULL;
    const char *init, *tier;
    double begun;
    char *path = tv_format("%s/run.json", run->options->run);
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status;
    TV_TRY(tv_json_read_file(path, &root));
    TV_TRY(tv_json_string(root, "model", path, "", &init));
    TV_TRY(tv_json_string(root, "tier", path, "", &tier));
    TV_TRY(tv_json_number(root, "begun", path, 0, &begun));
    snprintf(run->tier, sizeof run->tier, "%s", tier);
    run->begun = begun >= 0 && begun < 1e12 ? (int64_t)begun : 0;
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
    if (o->adapter && (o->resume || !o->init))
        return tv_fail(TV_E_USAGE, "--adapter lies over --model, at the beginning of a run; %s",
                       o->resume ? "a run that is resumed goes on with its own adapter"
                                 : "--model is not given");
    if (o->resume) {
        TV_RETURN_IF_FAILED(tv_checkpoint_find_last(o->run, &run->source_path));
        TV_RETURN_IF_FAILED(check_checkpoint(run));
        TV_RETURN_IF_FAILED(tv_checkpoint_read_state(run->source_path, &run->state));
        TV_RETURN_IF_FAILED(tv_made_with_read(run->source_path, &run->before));
        TV_RETURN_IF_FAILED(read_beginning(run));
        run->resumed = true;
        run->within = tv_checkpoint_is_within(run->source_path);
    } else if (o->init) {
        run->init = tv_format("%s", o->adapter ? o->adapter : o->init);
        if (!run->init)
            return tv_fail(TV_E_MEMORY, "out of host memory for a path");
        return tv_model_given_open(o->init, o->adapter, &run->source_path, &run->source);
    } else if (run->stage->needs_model) {
        return tv_fail(TV_E_USAGE, "expected --model DIR, the model to start from, found none");
    }
    return run->source_path ? tv_model_directory_open(run->source_path, &run->source) : TV_OK;
}

/* data.tokenizer, else the one beside the model that is continued. */
static tv_status find_tokenizer(tv_run *run) {
    const char *named = run->settings.data.tokenizer;
    if (named && !run->resumed)
        return tv_model_tokenizer_load(named, &run->tokenizer);
    if (!run->source_path)
        return TV_OK;
    const char *place = run->source ? tv_model_tokenizer_path(run->source) : run->source_path;
    if (tv_model_has_tokenizer(place))
        return tv_model_tokenizer_load(place, &run->tokenizer);
    if (run->stage->needs_text)
        return tv_fail(TV_E_DATA,
                       "%s has no tokenizer, and %s reads text; put the tokenizer there, or name its "
                       "directory with --set data.tokenizer=DIR",
                       run->source_path, run->stage->name);
    return TV_OK;
}

/* A type that nobody names stays what it was: checkpoints are floats, whatever the run computes with. */
static tv_status keep_type(tv_run *run) {
    const cJSON *before = tv_json_get(run->before.settings, "model");
    for (uint64_t i = 0; run->resumed && run->settings.weights == TV_WEIGHTS_AUTO && i < tv_setting_count;
         i++)
        if (strcmp(tv_settings[i].section, "model") == 0)
            TV_RETURN_IF_FAILED(tv_config_read(before, "the checkpoint's settings: model",
                                               &tv_settings[i].field, 1, &run->settings));
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
    TV_RETURN_IF_FAILED(tv_model_config_expect_head(&run->list->config, run->stage->head,
                                                    run->source_path ? run->source_path : "\"model\""));
    if (run->list->config.dropout > 0)
        tv_warn("%s: its dropout of %g is not applied; training here has none",
                run->source_path ? run->source_path : "\"model\"", run->list->config.dropout);
    tv_parameter_list *chosen;
    TV_RETURN_IF_FAILED(keep_type(run));
    TV_RETURN_IF_FAILED(
        tv_parameter_list_choose(&run->settings, run->list, run->source_path,
                                 run->source ? tv_model_directory_parameters(run->source) : NULL, &chosen));
    tv_parameter_list_destroy(&run->own_list);
    chosen->owners = (tv_owners){tv_ranks_own(run->options->ranks), tv_ranks_count(run->options->ranks)};
    run->list = run->own_list = chosen;
    const tv_model_config *config = &run->list->config;
    if (run->tokenizer)
        TV_RETURN_IF_FAILED(tv_tokenizer_expect_vocab(run->tokenizer, config->vocab_size,
                                                      run->source_path ? run->source_path : "\"model\""));
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
    /* What is named beside --resume is compared with what the run began from, but for the base of an adapter.
     */
    bool compared = run->resumed && !tv_inputs_find(&run->before.inputs, "base");
    if (run->options->init)
        TV_RETURN_IF_FAILED(
            tv_inputs_add_model(&run->now.inputs, "model", compared ? run->options->init : run->init));
    if (run->list->adapter.base)
        TV_RETURN_IF_FAILED(tv_inputs_add_model(&run->now.inputs, "base", run->list->adapter.base));
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
    run->trainer_options.ranks = run->options->ranks;
    run->trainer_options.groups = run->settings.train.grad_groups;
    run->trainer_options.group_type = tv_grad_exchange_type(&run->settings);
    run->trainer_options.recompute = run->settings.train.recompute == TV_RECOMPUTE_BLOCK;
    run->trainer_options.train = true;
    run->trainer_options.head_rows = run->state.head_rows;
    run->trainer_options.loss_scale = (float)run->settings.train.loss_scale;
    TV_RETURN_IF_FAILED(tv_memory_measure(run->list, run->device, &run->trainer_options, &run->bytes));
    return run->stage->measure ? run->stage->measure(run->self, run) : TV_OK;
}

/* A run goes on at the tier that it was at, where the device has that and nobody asks for another. */
static tv_status open_device(tv_run *run) {
    char number[16];
    tv_device_options wanted;
    const tv_run_options *options = run->options;
    TV_RETURN_IF_FAILED(tv_rank_device(options->ranks, &options->device, number, sizeof number, &wanted));
    const bool own = run->resumed && run->tier[0] && !wanted.tier;
    if (own)
        wanted.tier = run->tier;
    tv_status status = tv_device_open(&wanted, &run->device);
    if (own && status == TV_E_USAGE) {
        wanted.tier = NULL;
        status = tv_device_open(&wanted, &run->device);
    }
    if (status != TV_OK || !run->resumed || !run->tier[0])
        return status;
    const char *now = tv_tier_name(tv_device_caps(run->device)->tier);
    if (strcmp(now, run->tier) != 0 && tv_ranks_leads(options->ranks))
        tv_warn("the run was at the tier %s and goes on at %s: from here on its numbers are rounded "
                "differently",
                run->tier, now);
    return TV_OK;
}

/* Of this rank alone. */
static tv_status open_run(tv_run *run) {
    const tv_run_options *options = run->options;
    const bool leads = tv_ranks_leads(options->ranks);
    if (tv_device_self_tests_skipped() && !options->dry_run)
        return tv_fail(TV_E_USAGE, "TRIVIUM_SELF_TEST=skip is for looking at drivers whose device computes "
                                   "nothing, with `trivium bench`; unset it to train");
    if (leads)
        TV_RETURN_IF_FAILED(tv_run_check_directory(run));
    if (leads)
        TV_RETURN_IF_FAILED(tv_run_take_begun_directory(run));
    TV_RETURN_IF_FAILED(check_stage(run));
    TV_RETURN_IF_FAILED(read_settings(run));
    TV_RETURN_IF_FAILED(open_source(run));
    TV_RETURN_IF_FAILED(find_tokenizer(run));
    if (!run->resumed)
        run->begun = tv_date_seconds();
    else if (run->tokenizer && run->begun)
        tv_tokenizer_set_date(run->tokenizer, run->begun);
    TV_RETURN_IF_FAILED(find_model(run));
    TV_RETURN_IF_FAILED(find_inputs(run));
    if (run->resumed)
        TV_RETURN_IF_FAILED(compare_inputs(run));
    TV_RETURN_IF_FAILED(run->stage->open_data(run->self, run));
    if (!run->resumed) /* a run goes on with what it began with, and was warned then */
        tv_defaults_of_schedule(&run->settings, run->total_steps);
    TV_RETURN_IF_FAILED(open_device(run));
    TV_RETURN_IF_FAILED(plan_memory(run));
    /* Once more: the data may have chosen what was left to it. */
    cJSON_Delete(run->now.settings);
    run->now.settings = NULL;
    TV_RETURN_IF_FAILED(tv_run_settings_whole(&run->settings, &run->now.settings));
    if (options->dry_run)
        return TV_OK;
    return tv_memory_check(run->list, run->device, &run->trainer_options, &run->bytes);
}

tv_status tv_run_open(tv_run *run, const tv_stage *stage, void *self, const tv_run_options *options) {
    run->stage = stage;
    run->self = self;
    run->options = options;
    run->state.best_val_loss = INFINITY;
    TV_RETURN_IF_FAILED(tv_ranks_agree(options->ranks, open_run(run)));
    TV_RETURN_IF_FAILED(tv_ranks_say_devices(options->ranks, run->device));
    return tv_ranks_compare_runs(run);
}
