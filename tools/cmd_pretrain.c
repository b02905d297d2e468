/* trivium pretrain: stage 1. */
#include "stages/pretrain.h"
#include "tools/commands.h"
#include "tools/training_command.h"

static tv_status run(void *context, const tv_run_options *options, tv_run_result *result) {
    (void)context;
    return tv_pretrain(options, result);
}

tv_status cmd_pretrain(int argc, char **argv) {
    const tv_training_command command = {
        .name = "pretrain",
        .stage = TV_STAGE_PRETRAIN,
        .summary = "Trains a language model on token shards (stage 1). Ctrl-C finishes the step, saves and "
                   "says how to resume.",
        .notes = "example:\n  trivium pretrain --config samples/pretrain/config.json --out runs/base"
                 " \\\n      --set data.tokenizer=tokenizer --set data.train='[\"data/books_train.bin\"]'",
        .val_help = "validation shard, in place of data.val",
        .run = run,
    };
    return tv_training_command_run(&command, argc, argv);
}
