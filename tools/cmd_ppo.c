/* trivium ppo: stage 3, reinforcement learning. */
#include "stages/ppo/ppo.h"
#include "tools/commands.h"
#include "tools/reward_command.h"
#include "tools/training_command.h"

static tv_status run(void *context, const tv_run_options *options, tv_run_result *result) {
    tv_ppo_options *ppo = context;
    ppo->run = *options;
    return tv_ppo_train(ppo, result);
}

tv_status cmd_ppo(int argc, char **argv) {
    tv_ppo_options ppo = {.allow_command = tv_allow_reward_command};
    const tv_option more[] = {
        tv_opt_existing(tv_opt_text("reward", "DIR", &ppo.reward, "a reward model: a directory or a run")),
        tv_opt_text(
            "reward-cmd", "CMD", &ppo.reward_command,
            "a program that scores instead: it reads one JSON line {\"id\", \"prompt\", \"response\"} and "
            "prints one number, or {\"id\", \"score\"}, again and again; to be given again with --resume, or "
            "you are asked"),
        tv_opt_text(
            "check", "CHECK", &ppo.check,
            "a check that is built in instead: number or exact, the final answer (in \\boxed{}, behind ####, "
            "or all of it) against the \"answer\" of the prompt's line, or length:LEAST:MOST in bytes; 1 or "
            "0"),
        tv_opt_existing(tv_opt_text("ref", "DIR", &ppo.reference,
                                    "the reference that the KL is measured from; --model when not given")),
    };
    const tv_training_command command = {
        .name = "ppo",
        .stage = TV_STAGE_PPO,
        .summary =
            "Trains a model to answer prompts with a higher reward (stage 3), limited by the KL from "
            "the reference. A step is one iteration: draw answers, score them, update. Ctrl-C finishes "
            "the iteration, saves and says how to resume.",
        .notes = "example:\n  trivium ppo --model runs/sft --reward runs/reward --prompts prompts.jsonl "
                 "--out runs/ppo \\\n    --set ppo.iterations=50 --set train.lr=1e-5",
        .model_help = "the policy to start from: a fine-tuned model's directory, or a run",
        .data_option = "prompts",
        .data_help = "prompts as JSON lines {\"prompt\": TEXT or [MESSAGE...]}, in place of data.train",
        .val_help = "held-out prompts, in place of data.val: their score and KL choose the best checkpoint",
        .more = more,
        .more_count = TV_COUNT(more),
        .run = run,
        .context = &ppo,
    };
    return tv_training_command_run(&command, argc, argv);
}
