/* What rewards, on the command lines of ppo and grpo, and the question whether a program may run that scores
 * answers and that only a checkpoint names, which may be a stranger's.
 *
 * Promise: --reward-weights and --reward-names are short for settings (rewards.weights, rewards.names).
 */
#ifndef TV_TOOLS_REWARD_COMMAND_H
#define TV_TOOLS_REWARD_COMMAND_H

#include "stages/policy/options.h"
#include "tools/options.h"

typedef struct tv_rewards_asked {
    tv_texts models, programs, checks;
    const char *weights, *names; /* "1,0.5"; NULL: not given */
    const char *reference;
} tv_rewards_asked;

#define TV_REWARD_OPTIONS(asked)                                                                             \
    tv_opt_existing(                                                                                         \
        tv_opt_repeated("reward", "DIR", &(asked).models, "a reward model: a directory or a run")),          \
        tv_opt_repeated("reward-cmd", "CMD", &(asked).programs,                                              \
                        "a program that scores: it reads one JSON line {\"id\", \"prompt_id\", \"prompt\", " \
                        "the other members of the prompt's line, \"response\"} and prints one number, or "   \
                        "{\"id\", \"score\"}, again and again, or lists of them (rewards.batch), with null " \
                        "where it does not apply to a response; to be given again with --resume, or you "    \
                        "are asked"),                                                                        \
        tv_opt_repeated("check", "CHECK", &(asked).checks,                                                   \
                        "a check that is built in: number or exact, the final answer (in \\boxed{}, behind " \
                        "####, or all of it) against the \"answer\" of the prompt's line, "                  \
                        "length:LEAST:MOST in bytes, or regex:EXPRESSION, which matches somewhere; 1 or 0"), \
        tv_opt_text("reward-weights", "W,...", &(asked).weights,                                             \
                    "what each reward is multiplied with, models first, then programs, then checks; 1 when " \
                    "not given (rewards.weights)"),                                                          \
        tv_opt_text("reward-names", "NAME,...", &(asked).names,                                              \
                    "what each is called in metrics and report, in the same order (rewards.names)")

/* Trains with what was asked for. */
tv_status tv_rewards_asked_run(const tv_rewards_asked *asked, const tv_run_options *options,
                               tv_status (*train)(const tv_policy_options *options, tv_run_result *result),
                               tv_run_result *result);
void tv_rewards_asked_free(tv_rewards_asked *asked);

/* For tv_policy_options.allow_command; `context` is how the program is named on the command line, a text;
 * NULL: as for ppo and grpo. TV_E_USAGE where nobody allows it. */
tv_status tv_allow_reward_command(void *context, const char *command, const char *where);

#endif
