/* trivium pretrain: stage 1. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/log.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "train/stage_pretrain.h"

static tv_status print_result(const tv_pretrain_result *result) {
    cJSON *object = cJSON_CreateObject();
    bool built = object && tv_json_set_number(object, "step", (double)result->step) &&
                 tv_json_set_number(object, "loss", result->loss) &&
                 tv_json_set_number(object, "best_val_loss", result->best_val_loss) &&
                 tv_json_set_number(object, "tokens", (double)result->tokens) &&
                 tv_json_set_number(object, "tokens_per_second", result->tokens_per_second) &&
                 tv_json_set_number(object, "device_bytes", (double)result->device_bytes) &&
                 tv_json_set_number(object, "planned_bytes", (double)result->planned_bytes) &&
                 tv_json_set_bool(object, "finished", result->finished);
    tv_status status =
        built ? tv_print_json(object) : tv_fail(TV_E_MEMORY, "out of host memory for the result");
    cJSON_Delete(object);
    return status;
}

/* --seed and --val are short for settings, so that there is one place where a setting comes from. */
static tv_status add_set(tv_texts *sets, char **own, char *text) {
    *own = text;
    const char **items = text ? realloc(sets->items, (sets->count + 1) * sizeof *items) : NULL;
    if (!items)
        return tv_fail(TV_E_MEMORY, "out of host memory for the settings");
    sets->items = items;
    items[sets->count++] = text;
    return TV_OK;
}

tv_status cmd_pretrain(int argc, char **argv) {
    tv_common_options common = {0};
    tv_pretrain_options pretrain = {0};
    const char *val = NULL;
    tv_texts sets = {0};
    char *seed_set = NULL, *val_set = NULL;
    const tv_option options[] = {
        tv_opt_existing(tv_opt_text("config", "FILE", &pretrain.config,
                                    "settings; with --resume the run's own are the default")),
        tv_opt_required(tv_opt_short('o', tv_opt_text("out", "RUN", &pretrain.run, "the run's directory"))),
        tv_opt_existing(
            tv_opt_text("init", "DIR", &pretrain.init, "start from this model instead of drawn parameters")),
        tv_opt_repeated("set", "KEY=VALUE", &sets, "change a setting, such as train.lr=1e-3"),
        tv_opt_existing(tv_opt_text("val", "FILE", &val, "validation shard, in place of data.val")),
        tv_opt_flag("resume", &pretrain.resume, "continue from the run's last checkpoint"),
        tv_opt_uint("stop-after", "N", &pretrain.stop_after, 0, UINT64_C(1) << 40,
                    "stop after N steps, the schedule unchanged; 0: at its end"),
    };
    const tv_command_line line = {
        .command = "pretrain",
        .summary = "Trains a language model on token shards (stage 1). Ctrl-C finishes the step, saves and "
                   "says how to resume.",
        .options = options,
        .option_count = TV_COUNT(options),
        .common = &common,
        .common_mask = TV_COMMON_ALL,
    };
    bool done;
    tv_pretrain_result result;
    tv_status status;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    if (common.seed_given)
        TV_TRY(add_set(&sets, &seed_set, tv_format("train.seed=\"%llu\"", (unsigned long long)common.seed)));
    if (val)
        TV_TRY(add_set(&sets, &val_set, tv_format("data.val=[\"%s\"]", val)));
    pretrain.sets = sets.items;
    pretrain.set_count = sets.count;
    pretrain.dry_run = common.dry_run;
    pretrain.capture_step = common.capture_given ? common.capture_step : 0;
    pretrain.device = (tv_device_options){common.device, common.tier};
    TV_TRY(tv_pretrain(&pretrain, &result));
    if (!common.dry_run) {
        tv_info("done: step %llu, loss %.4f, %.0f tokens/s; the model is %s/checkpoints/%s",
                (unsigned long long)result.step, result.loss, result.tokens_per_second, pretrain.run,
                isfinite(result.best_val_loss) ? "best" : "last");
        if (common.json)
            TV_TRY(print_result(&result));
    }
fail:
    tv_texts_free(&sets);
    free(seed_set);
    free(val_set);
    return status;
}
