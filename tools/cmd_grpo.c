/* trivium grpo: stage 3, reinforcement learning by comparing answers. */
#include "stages/grpo/grpo.h"
#include "tools/commands.h"
#include "tools/reward_command.h"
#include "tools/training_command.h"

static tv_status run(void *context, const tv_run_options *options, tv_run_result *result) {
    return tv_rewards_asked_run(context, options, tv_grpo_train, result);
}

tv_status cmd_grpo(int argc, char **argv) {
    tv_rewards_asked asked = {0};
    const tv_option more[] = {
        TV_REWARD_OPTIONS(asked),
        tv_opt_existing(tv_opt_text("ref", "DIR", &asked.reference,
                                    "with grpo.kl_coef above 0, the reference that the KL is measured from; "
                                    "--model when not given")),
    };
    const tv_training_command command = {
        .name = "grpo",
        .stage = TV_STAGE_GRPO,
        .summary =
            "Trains a model to answer prompts with a higher reward (stage 3) by comparing several answers to "
            "each prompt, without a value model: GRPO and its kin. A step is one iteration: draw answers, "
            "score them, update. Ctrl-C stops within it, saves what is done and says how to resume.",
        .notes =
            "grpo.loss is one of dapo, grpo, bnpo, dr_grpo, cispo, gspo; grpo.advantages one of group, none, "
            "batch, rloo, reinforce++ (docs/grpo.md).\n\n"
            "example:\n  trivium grpo --model runs/sft --reward-cmd 'python3 check.py' --prompts "
            "prompts.jsonl --out runs/grpo \\\n      --set grpo.answers=8 --set train.lr=1e-5",
        .model_help = "the policy to start from: a fine-tuned model's directory, or a run",
        .data_option = "prompts",
        .data_help = "prompts as JSON lines {\"prompt\": TEXT or [MESSAGE...]}, in place of data.train",
        .val_help = "held-out prompts, in place of data.val: their reward chooses the best checkpoint",
        .more = more,
        .more_count = TV_COUNT(more),
        .run = run,
        .context = &asked,
    };
    tv_status status = tv_training_command_run(&command, argc, argv);
    tv_rewards_asked_free(&asked);
    return status;
}
