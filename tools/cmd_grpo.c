/* trivium grpo: stage 3, reinforcement learning by comparing answers. */
#include "stages/grpo/grpo.h"
#include "tools/commands.h"
#include "tools/reward_command.h"
#include "tools/training_command.h"

static tv_status run(void *context, const tv_run_options *options, tv_run_result *result) {
    tv_ppo_options *grpo = context;
    grpo->run = *options;
    return tv_grpo_train(grpo, result);
}

tv_status cmd_grpo(int argc, char **argv) {
    tv_ppo_options grpo = {.allow_command = tv_allow_reward_command};
    const tv_option more[] = {
        tv_opt_existing(tv_opt_text("reward", "DIR", &grpo.reward, "a reward model: a directory or a run")),
        tv_opt_text(
            "reward-cmd", "CMD", &grpo.reward_command,
            "a program that scores instead: it reads one JSON line {\"id\", \"prompt\", \"response\"} and "
            "prints one number, or {\"id\", \"score\"}, again and again; to be given again with --resume, or "
            "you are asked"),
        tv_opt_text(
            "check", "CHECK", &grpo.check,
            "a check that is built in instead: number or exact, the final answer (in \\boxed{}, behind ####, "
            "or all of it) against the \"answer\" of the prompt's line, or length:LEAST:MOST in bytes; 1 or "
            "0"),
        tv_opt_existing(tv_opt_text("ref", "DIR", &grpo.reference,
                                    "with grpo.kl_coef above 0, the reference that the KL is measured from; "
                                    "--model when not given")),
    };
    const tv_training_command command = {
        .name = "grpo",
        .stage = TV_STAGE_GRPO,
        .summary =
            "Trains a model to answer prompts with a higher reward (stage 3) by comparing several answers to "
            "each prompt, without a value model: GRPO and its kin. A step is one iteration: draw answers, "
            "score them, update. Ctrl-C finishes the iteration, saves and says how to resume.",
        .notes =
            "grpo.loss is one of dapo, grpo, bnpo, dr_grpo, cispo, gspo; grpo.advantages one of group, none, "
            "batch,\nrloo, reinforce++ (docs/grpo.md).\n\n"
            "example:\n  trivium grpo --model runs/sft --reward-cmd 'python3 check.py' --prompts "
            "prompts.jsonl --out runs/grpo \\\n    --set grpo.answers=8 --set train.lr=1e-5",
        .model_help = "the policy to start from: a fine-tuned model's directory, or a run",
        .data_option = "prompts",
        .data_help = "prompts as JSON lines {\"prompt\": TEXT or [MESSAGE...]}, in place of data.train",
        .val_help = "held-out prompts, in place of data.val: their reward chooses the best checkpoint",
        .more = more,
        .more_count = TV_COUNT(more),
        .run = run,
        .context = &grpo,
    };
    return tv_training_command_run(&command, argc, argv);
}
