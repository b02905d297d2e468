/* trivium reward: stage 3d. */
#include <stdlib.h>

#include "tools/commands.h"
#include "tools/training_command.h"
#include "train/stage_reward.h"

typedef struct own_options {
    double val_fraction;
    bool val_fraction_given;
} own_options;

/* --val-fraction is short for a setting. */
static tv_status run(void *context, const tv_run_options *given, tv_run_result *result) {
    const own_options *own = context;
    if (!own->val_fraction_given)
        return tv_reward(given, result);
    tv_run_options options = *given;
    char *set = tv_format("data.val_fraction=%.15g", own->val_fraction);
    const char **sets = calloc(given->set_count + 1, sizeof *sets);
    tv_status status = TV_OK;
    if (!set || !sets)
        status = tv_fail(TV_E_MEMORY, "out of host memory for the settings");
    if (status == TV_OK) {
        for (uint64_t i = 0; i < given->set_count; i++)
            sets[i] = given->sets[i];
        sets[given->set_count] = set;
        options.sets = sets;
        options.set_count = given->set_count + 1;
        status = tv_reward(&options, result);
    }
    free(sets);
    free(set);
    return status;
}

tv_status cmd_reward(int argc, char **argv) {
    own_options own = {0};
    const tv_option more[] = {
        tv_opt_given(&own.val_fraction_given,
                     tv_opt_number("val-fraction", "X", &own.val_fraction, 0, 0.9,
                                   "hold out this share of the prompts of --data for validation")),
    };
    const tv_training_command command = {
        .name = "reward",
        .summary =
            "Trains a reward model on preferences (stage 3): a model that gives a response one number, "
            "higher where people like it better. Ctrl-C finishes the step, saves and says how to "
            "resume.",
        .notes =
            "examples:\n  trivium reward --model runs/sft --data prefs.jsonl --val-fraction 0.1 --out "
            "runs/reward\n  trivium reward --model runs/sft --data ranked.jsonl --set "
            "reward.loss=listwise --out runs/reward\n\nThe model is a directory that transformers loads "
            "as GPT2ForSequenceClassification or\nLlamaForSequenceClassification; reward.json beside its "
            "weights holds the scale of its scores.",
        .model_help = "a base, fine-tuned or reward model to start from: a directory, or a run",
        .data_help = "preferences: {\"prompt\", \"chosen\", \"rejected\"} lines and the other shapes that "
                     "trivium prefs writes; in place of data.train",
        .val_help = "preferences to validate with, in place of data.val",
        .more = more,
        .more_count = TV_COUNT(more),
        .run = run,
        .context = &own,
    };
    return tv_training_command_run(&command, argc, argv);
}
