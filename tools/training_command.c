/* Options and result of a training run: see training_command.h. */
#include "tools/training_command.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "tools/commands.h"
#include "tools/open_model.h"

enum { MAX_OPTIONS = 26, MAX_OWN_SETS = 4 };

/* --set in the order of the command line, then what the short forms stand for. */
typedef struct setting_list {
    tv_texts texts;
    char *own[MAX_OWN_SETS];
    uint64_t own_count;
} setting_list;

static tv_status print_result(const tv_run_result *result) {
    cJSON *object = cJSON_CreateObject();
    bool built = object && tv_json_set_number(object, "step", (double)result->step) &&
                 tv_json_set_number(object, "loss", result->loss) &&
                 tv_json_set_number(object, "best_val_loss", result->best_val_loss) &&
                 tv_json_set_number(object, "tokens", (double)result->tokens) &&
                 tv_json_set_number(object, "tokens_per_second", result->tokens_per_second) &&
                 tv_json_set_number(object, "device_bytes", (double)result->device_bytes) &&
                 tv_json_set_number(object, "planned_bytes", (double)result->planned_bytes) &&
                 tv_json_set_bool(object, "finished", result->finished);
    return tv_print_result(object, built);
}

/* Takes `text` over. */
static tv_status add_set(setting_list *list, char *text) {
    const char **items = text ? realloc(list->texts.items, (list->texts.count + 1) * sizeof *items) : NULL;
    if (!items) {
        free(text);
        return tv_fail(TV_E_MEMORY, "out of host memory for the settings");
    }
    list->own[list->own_count++] = text;
    list->texts.items = items;
    items[list->texts.count++] = text;
    return TV_OK;
}

/* `key`=["PATH", ...], with the paths as JSON texts. */
static tv_status add_paths(setting_list *list, const char *key, const char *const *paths, uint64_t count) {
    cJSON *array = cJSON_CreateArray();
    char *line = NULL;
    tv_status status = TV_OK;
    for (uint64_t i = 0; array && i < count; i++)
        if (!cJSON_AddItemToArray(array, cJSON_CreateString(paths[i])))
            status = tv_fail(TV_E_MEMORY, "out of host memory for the settings");
    if (status == TV_OK)
        status = tv_json_print_line(array, &line);
    if (status == TV_OK)
        status = add_set(list, tv_format("%s=%s", key, line));
    free(line);
    cJSON_Delete(array);
    return status;
}

static void free_settings(setting_list *list) {
    tv_texts_free(&list->texts);
    for (uint64_t i = 0; i < list->own_count; i++)
        free(list->own[i]);
}

/* A lost device ends the process, not the run. */
static tv_status advise(tv_status status, const char *run) {
    if (status != TV_E_DEVICE_LOST)
        return status;
    char *last = tv_format("%s/checkpoints/last", run);
    bool stands = last && tv_path_exists(last);
    free(last);
    return stands ? tv_fail(status, "%s; the last checkpoint stands: run the same command with --resume",
                            tv_last_error())
                  : tv_fail(status, "%s; no checkpoint was saved yet", tv_last_error());
}

static tv_status run(const tv_training_command *command, tv_run_options *options,
                     const tv_common_options *common) {
    tv_run_result result;
    const bool leads = tv_ranks_leads(options->ranks);
    options->dry_run = common->dry_run;
    options->capture_step = common->capture_given && leads ? common->capture_step : 0;
    options->device = (tv_device_options){common->device, common->tier};
    if (!leads)
        options->trace = NULL;
    TV_RETURN_IF_FAILED(advise(command->run(command->context, options, &result), options->run));
    if (common->dry_run || !leads)
        return TV_OK;
    char speed[64] = "";
    if (!result.already_finished)
        snprintf(speed, sizeof speed, ", %.0f tokens/s", result.tokens_per_second);
    tv_info("%s: step %llu, loss %.4f%s; the model is %s/checkpoints/%s",
            result.already_finished ? "nothing was left to do" : "done", (unsigned long long)result.step,
            result.loss, speed, options->run, isfinite(result.best_val_loss) ? "best" : "last");
    return common->json ? print_result(&result) : TV_OK;
}

/* The command's notes, and behind them the keys that --set takes. The caller frees it; NULL when memory is
 * out. */
static char *notes_with_settings(const tv_training_command *command) {
    enum { WIDTH = 96 };
    char *notes =
        tv_format("%s\n\nsettings, which `trivium settings %s` explains:\n ", command->notes, command->name);
    size_t column = 1;
    for (uint64_t i = 0; notes && i < tv_setting_count; i++) {
        const tv_setting *setting = &tv_settings[i];
        if (!(setting->stages >> command->stage & 1u))
            continue;
        size_t length = strlen(setting->section) + strlen(setting->field.key) + 2;
        bool wraps = column + length > WIDTH;
        char *longer =
            tv_format("%s%s %s.%s", notes, wraps ? "\n " : "", setting->section, setting->field.key);
        column = (wraps ? 1 : column) + length;
        free(notes);
        notes = longer;
    }
    return notes;
}

/* As the command line has it. */
typedef struct training_options {
    tv_run_options run;
    tv_common_options common;
    tv_texts data;
    const char *val;
    double val_fraction;
    bool val_fraction_given;
    setting_list sets;
} training_options;

/* The options of every command that trains, as far as `command` takes them, and its own. */
static uint64_t list_options(const tv_training_command *command, training_options *given,
                             tv_option options[MAX_OPTIONS]) {
    uint64_t count = 0;
    tv_run_options *run = &given->run;
    options[count++] =
        tv_opt_existing(tv_opt_text("config", "FILE", &run->config,
                                    "settings; with --resume what it leaves out stays as the run has it"));
    options[count++] =
        tv_opt_required(tv_opt_short('o', tv_opt_text("out", "RUN", &run->run, "the run's directory")));
    options[count++] = tv_opt_existing(tv_opt_text(
        command->model_help ? "model" : "init", "DIR", &run->init,
        command->model_help ? command->model_help : "start from this model instead of drawn parameters"));
    if (command->model_help)
        options[count++] = tv_opt_adapter(&run->adapter);
    if (command->data_help)
        options[count++] = tv_opt_list(command->data_option ? command->data_option : "data", "FILE",
                                       &given->data, command->data_help);
    if (command->val_help)
        options[count++] = tv_opt_existing(tv_opt_text("val", "FILE", &given->val, command->val_help));
    if (command->val_fraction_help)
        options[count++] =
            tv_opt_given(&given->val_fraction_given, tv_opt_number("val-fraction", "X", &given->val_fraction,
                                                                   0, 0.9, command->val_fraction_help));
    options[count++] =
        tv_opt_repeated("set", "KEY=VALUE", &given->sets.texts, "change a setting, such as train.lr=1e-3");
    options[count++] = tv_opt_output(
        tv_opt_text("trace", "FILE", &run->trace,
                    "write a trace of the third step, or the last of fewer, for ui.perfetto.dev"));
    options[count++] = tv_opt_flag("resume", &run->resume, "continue from the run's last checkpoint");
    options[count++] =
        tv_opt_flag("accept-changes", &run->accept_changes,
                    "with --resume: go on although data, models or their order are not those of the "
                    "checkpoint, with what is there now; without it a difference is refused by name");
    options[count++] = tv_opt_uint("stop-after", "N", &run->stop_after, 0, UINT64_C(1) << 40,
                                   "stop after N steps, the schedule unchanged; 0: at its end");
    for (uint64_t i = 0; i < command->more_count && count < MAX_OPTIONS; i++)
        options[count++] = command->more[i];
    return count;
}

/* What the short forms stand for, behind every --set. */
static tv_status gather_sets(training_options *given) {
    setting_list *sets = &given->sets;
    if (given->common.seed_given)
        TV_RETURN_IF_FAILED(
            add_set(sets, tv_format("train.seed=\"%llu\"", (unsigned long long)given->common.seed)));
    if (given->data.count)
        TV_RETURN_IF_FAILED(add_paths(sets, "data.train", given->data.items, given->data.count));
    if (given->val)
        TV_RETURN_IF_FAILED(add_paths(sets, "data.val", &given->val, 1));
    if (given->val_fraction_given)
        TV_RETURN_IF_FAILED(add_set(sets, tv_format("data.val_fraction=%.15g", given->val_fraction)));
    given->run.sets = sets->texts.items;
    given->run.set_count = sets->texts.count;
    return TV_OK;
}

tv_status tv_training_command_run(const tv_training_command *command, int argc, char **argv) {
    training_options given = {0};
    tv_option options[MAX_OPTIONS];
    const uint64_t count = list_options(command, &given, options);
    char who[64], *notes = notes_with_settings(command);
    const tv_command_line line = {
        .command = command->name,
        .summary = command->summary,
        .notes = notes,
        .options = options,
        .option_count = count,
        .common = &given.common,
        .common_mask = TV_COMMON_ALL,
    };
    bool parsed, ready = false;
    tv_status status = tv_ranks_start(&given.run.ranks);
    if (status != TV_OK) {
        free(notes);
        return tv_launcher_fail(status);
    }
    status = tv_options_parse(&line, argc, argv, &parsed);
    free(notes);
    tv_ranks_hush(given.run.ranks);
    if (status != TV_OK || parsed)
        goto done;
    if (given.run.accept_changes && !given.run.resume) {
        status = tv_fail(TV_E_USAGE, "--accept-changes is for --resume, which is not given");
        goto done;
    }
    TV_TRY(gather_sets(&given));
    ready = true;
    TV_TRY(tv_ranks_agree(given.run.ranks, TV_OK));
    status = run(command, &given.run, &given.common);
done:
    if (!ready)
        status = tv_ranks_agree(given.run.ranks, status);
    snprintf(who, sizeof who, "trivium %s", command->name);
    status = tv_ranks_end(&given.run.ranks, status, who);
    free_settings(&given.sets);
    tv_texts_free(&given.data);
    return status;
}
