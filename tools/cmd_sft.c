/* trivium sft: stage 2. */
#include "stages/sft.h"
#include "tools/commands.h"
#include "tools/training_command.h"

static tv_status run(void *context, const tv_run_options *options, tv_run_result *result) {
    (void)context;
    return tv_sft(options, result);
}

tv_status cmd_sft(int argc, char **argv) {
    const tv_training_command command = {
        .name = "sft",
        .stage = TV_STAGE_SFT,
        .summary = "Fine-tunes a language model on demonstrations (stage 2). The loss is on the completions "
                   "only, their end tokens included. Ctrl-C finishes the step, saves and says how to resume.",
        .notes = "each line of FILE is one of\n"
                 "  {\"prompt\": TEXT, \"completion\": TEXT}\n"
                 "  {\"prompt\": [MESSAGE...], \"completion\": [MESSAGE...]}\n"
                 "  {\"messages\": [{\"role\": \"system|user|assistant\", \"content\": TEXT}, ...]}\n"
                 "  {\"instruction\": TEXT, \"input\": TEXT, \"output\": TEXT}\n"
                 "  {\"conversations\": [{\"from\": \"system|human|gpt\", \"value\": TEXT}, ...]}\n\n"
                 "example:\n  trivium sft --model runs/base --data answers.jsonl --out runs/sft "
                 "--set train.epochs=2",
        .model_help = "the base model: a model directory, or a run, whose best or last checkpoint is taken",
        .data_help = "demonstrations as JSON lines, plain or compressed, in place of data.train",
        .val_help = "demonstrations to validate on, in place of data.val",
        .val_fraction_help = "hold out this share of the prompts of --data for validation",
        .run = run,
    };
    return tv_training_command_run(&command, argc, argv);
}
