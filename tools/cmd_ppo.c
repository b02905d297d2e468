/* trivium ppo: stage 3, reinforcement learning. */
#include "stages/ppo/ppo.h"
#include "tools/commands.h"
#include "tools/reward_command.h"
#include "tools/training_command.h"

static tv_status run(void *context, const tv_run_options *options, tv_run_result *result) {
    return tv_rewards_asked_run(context, options, tv_ppo_train, result);
}

tv_status cmd_ppo(int argc, char **argv) {
    tv_rewards_asked asked = {0};
    const tv_option more[] = {
        TV_REWARD_OPTIONS(asked),
        tv_opt_existing(tv_opt_text("ref", "DIR", &asked.reference,
                                    "the reference that the KL is measured from; --model when not given")),
    };
    const tv_training_command command = {
        .name = "ppo",
        .stage = TV_STAGE_PPO,
        .summary = "Trains a model to answer prompts with a higher reward (stage 3), limited by the KL from "
                   "the reference. A step is one iteration: draw answers, score them, update. Ctrl-C stops "
                   "within it, saves what is done and says how to resume.",
        .notes = "example:\n  trivium ppo --model runs/sft --reward runs/reward --prompts prompts.jsonl "
                 "--out runs/ppo \\\n      --set ppo.iterations=50 --set train.lr=1e-5",
        .model_help = "the policy to start from: a fine-tuned model's directory, or a run",
        .data_option = "prompts",
        .data_help = "prompts as JSON lines {\"prompt\": TEXT or [MESSAGE...]}, in place of data.train",
        .val_help = "held-out prompts, in place of data.val: their score and KL choose the best checkpoint",
        .more = more,
        .more_count = TV_COUNT(more),
        .run = run,
        .context = &asked,
    };
    tv_status status = tv_training_command_run(&command, argc, argv);
    tv_rewards_asked_free(&asked);
    return status;
}
