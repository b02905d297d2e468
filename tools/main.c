/* The trivium command: the table of subcommands, and the one place that turns a status into an exit code. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tools/commands.h"
#include "train/ranks.h"

static const tv_command commands[] = {
    {"devices", "the Vulkan devices, their tiers and the reasons", cmd_devices},
    {"pull", "a model from a hub, as a directory that the other commands read", cmd_pull},
    {"tokenizer", "train a tokenizer, encode and decode with it", cmd_tokenizer},
    {"data", "pack text into token shards", cmd_data},
    {"pretrain", "stage 1: train a language model on token shards", cmd_pretrain},
    {"sft", "stage 2: fine-tune a model on demonstrations", cmd_sft},
    {"sample", "stage 3a: answers of a model to prompts, for people to rank", cmd_sample},
    {"rank", "people, or a program, order the answers of a policy", cmd_rank},
    {"prefs", "judgments as preference data, and how far annotators agree", cmd_prefs},
    {"reward", "stage 3: train a reward model on preferences", cmd_reward},
    {"ppo", "stage 3: reinforcement learning from a reward", cmd_ppo},
    {"grpo", "stage 3 without a value model: compare several answers to each prompt (GRPO)", cmd_grpo},
    {"dpo", "stage 3 without a reward model: train a policy on preferences directly", cmd_dpo},
    {"align", "stage 3 round after round: sample, judge, learn, in one directory", cmd_align},
    {"generate", "text from a model", cmd_generate},
    {"chat", "talk to a model", cmd_chat},
    {"eval", "the loss of a model on text, JSON lines or a token shard", cmd_eval},
    {"score", "what a reward model says of preferences, responses or candidates", cmd_score},
    {"export", "a model as a directory for transformers or a file for llama.cpp", cmd_export},
    {"settings", "every setting of the training stages, with its default and meaning", cmd_settings},
    {"bench", "how fast kernels, training and generation are on a device", cmd_bench},
    {"report", "one HTML page with the curves, samples and settings of runs", cmd_report},
    {NULL, NULL, NULL},
};

static int exit_code(tv_status status) {
    switch (status) {
    case TV_OK:
        return 0;
    case TV_E_USAGE:
    case TV_E_CONFIG:
    case TV_E_DATA:
    case TV_E_FIT:
        return 2;
    case TV_E_NO_DEVICE:
        return 3;
    case TV_E_INTERRUPTED:
        return 130;
    case TV_E_IO:
    case TV_E_MEMORY:
    case TV_E_DEVICE:
    case TV_E_DEVICE_LOST:
    case TV_E_NUMERIC:
        return 1;
    }
    return 1;
}

/* Those that several ranks run together. */
static const char *const for_ranks[] = {"pretrain", "sft",    "reward", "dpo", "grpo",
                                        "ppo",      "sample", "score",  "eval"};

/* Several of a command that knows nothing of the others would do the same over each other. */
static tv_status check_launcher(const tv_launcher *launcher, int argc, char **argv) {
    if (!launcher->name || launcher->count == 0 || argc < 2)
        return TV_OK;
    if (argc > 2 && strcmp(argv[1], "bench") == 0 && strcmp(argv[2], "exchange") == 0)
        return TV_OK;
    for (size_t i = 0; i < sizeof for_ranks / sizeof *for_ranks; i++)
        if (strcmp(for_ranks[i], argv[1]) == 0)
            return TV_OK;
    if (strcmp(argv[1], "align") == 0)
        return tv_fail(
            TV_E_USAGE,
            "%s started %u of these, and align runs alone; it starts its steps over several devices "
            "itself: --launcher 'mpirun -n %u'",
            launcher->name, launcher->count, launcher->count);
    return tv_fail(
        TV_E_USAGE,
        "%s started %u of these, and this command runs alone; pretrain, sft, reward, dpo, ppo, grpo, "
        "sample, score and eval take several",
        launcher->name, launcher->count);
}

int main(int argc, char **argv) {
    const tv_launcher launcher = tv_launcher_of_environment();
    tv_status status = check_launcher(&launcher, argc, argv);
    if (argc >= 2 && strcmp(argv[1], "--version") == 0)
        status = printf("trivium %s\n", TRIVIUM_VERSION) < 0 ? TV_E_IO : TV_OK;
    else if (status != TV_OK)
        (void)tv_launcher_fail(status);
    else
        status = tv_command_dispatch(
            "trivium", "Trains language models on any Vulkan GPU, from plain text to a model that talks.",
            commands, argc, argv);
    /* What was printed must have arrived, now or before, until a result counts as done. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == TV_OK)
        status = tv_fail_errno(TV_E_IO, "cannot write to standard output");
    if (status != TV_OK) {
        bool known = false;
        for (const tv_command *command = commands; command->name && argc >= 2; command++)
            known = known || strcmp(command->name, argv[1]) == 0;
        char who[64];
        snprintf(who, sizeof who, "trivium%s%s", known ? " " : "", known ? argv[1] : "");
        /* Of ranks that fail together one has a sentence. */
        if (tv_last_error()[0])
            tv_log_failure(who);
    }
    return exit_code(status);
}
