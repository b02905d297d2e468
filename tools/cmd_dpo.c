/* trivium dpo: preferences without a reward model. */
#include "stages/dpo.h"
#include "tools/commands.h"
#include "tools/training_command.h"

static tv_status run(void *context, const tv_run_options *options, tv_run_result *result) {
    (void)context;
    return tv_dpo_train(options, result);
}

tv_status cmd_dpo(int argc, char **argv) {
    const tv_training_command command = {
        .name = "dpo",
        .stage = TV_STAGE_DPO,
        .summary =
            "Trains a policy on preferences directly, without a reward model and without sampling: direct "
            "preference optimisation. The model it starts from is also the reference. Ctrl-C finishes the "
            "step, saves and says how to resume.",
        .notes =
            "each line of FILE is one of\n"
            "  {\"prompt\": TEXT or [MESSAGE...], \"chosen\": ANSWER, \"rejected\": ANSWER}\n"
            "  {\"chosen\": TEXT or [MESSAGE...], \"rejected\": TEXT or [MESSAGE...]}\n"
            "  {\"prompt\": TEXT or [MESSAGE...], \"answers\": [{\"answer\": ANSWER, \"rank\": NUMBER}, "
            "...]}\n"
            "  {\"prompt\": TEXT or [MESSAGE...], \"completion\": ANSWER, \"label\": true or false}, "
            "for kto\n"
            "or an item that others judged: PandaLM, UltraFeedback, Argilla (docs/data.md)\n\n"
            "train.batch_size counts pairs; dpo.beta says how closely the reference is kept. dpo.loss is "
            "one of sigmoid, ipo, hinge and robust, of simpo, orpo and cpo, which need no reference, or "
            "kto, which learns answers one by one (docs/dpo.md).\n\n"
            "example:\n  trivium dpo --model runs/sft --data preferences.jsonl --out runs/dpo "
            "--val-fraction 0.1",
        .model_help =
            "the policy to start from, and the reference: a model directory, or a run, whose best or last "
            "checkpoint is taken",
        .data_help = "preferences as JSON lines, plain or compressed, in place of data.train",
        .val_help = "preferences to validate on, in place of data.val",
        .val_fraction_help = "hold out this share of the prompts of --data for validation",
        .run = run,
    };
    return tv_training_command_run(&command, argc, argv);
}
