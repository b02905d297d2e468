/* trivium reward: stage 3d. */
#include "stages/reward.h"
#include "tools/commands.h"
#include "tools/training_command.h"

static tv_status run(void *context, const tv_run_options *options, tv_run_result *result) {
    (void)context;
    return tv_reward(options, result);
}

tv_status cmd_reward(int argc, char **argv) {
    const tv_training_command command = {
        .name = "reward",
        .stage = TV_STAGE_REWARD,
        .summary =
            "Trains a reward model on preferences (stage 3): a model that gives a response one number, "
            "higher where people like it better. Ctrl-C finishes the step, saves and says how to "
            "resume.",
        .notes = "examples:\n  trivium reward --model runs/sft --data prefs.jsonl --val-fraction 0.1 --out "
                 "runs/reward\n  trivium reward --model runs/sft --data ranked.jsonl --set "
                 "reward.loss=listwise --out runs/reward\n\nThe model is a directory that transformers loads "
                 "as its family's form for sequence\nclassification, such as LlamaForSequenceClassification; "
                 "reward.json beside its weights\nholds the scale of its scores.",
        .model_help = "a base, fine-tuned or reward model to start from: a directory, or a run",
        .data_help = "preferences: {\"prompt\", \"chosen\", \"rejected\"} lines, the other shapes that "
                     "trivium prefs writes, or items that others judged (PandaLM, UltraFeedback, Argilla); "
                     "in place of data.train",
        .val_help = "preferences to validate with, in place of data.val",
        .val_fraction_help = "hold out this share of the prompts of --data for validation",
        .run = run,
    };
    return tv_training_command_run(&command, argc, argv);
}
