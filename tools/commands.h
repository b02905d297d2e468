/* The subcommands of trivium, one tools/cmd_*.c each, and the table lookup that finds them.
 *
 * Promise: a command gets argv from its own name on, prints results on standard output, messages through
 * base/log.h, and returns a status with its sentence; only main.c turns that into an exit code.
 */
#ifndef TV_TOOLS_COMMANDS_H
#define TV_TOOLS_COMMANDS_H

#include <stdbool.h>

#include <cjson/cJSON.h>

#include "base/status.h"

typedef struct tv_command {
    const char *name;
    const char *summary; /* one line */
    tv_status (*run)(int argc, char **argv);
} tv_command;

/* Runs the entry of `table` (ended by a NULL name) that argv[1] names; without one, or with --help, prints
 * the list. `path` is what was typed so far ("trivium", "trivium tokenizer"). TV_E_USAGE with the nearest
 * name for an unknown one. */
tv_status tv_command_dispatch(const char *path, const char *summary, const tv_command *table, int argc,
                              char **argv);

/* One per row of the table in main.c: declared here, defined in tools/cmd_<name>.c. */
tv_status cmd_pull(int argc, char **argv);
tv_status cmd_devices(int argc, char **argv);
tv_status cmd_tokenizer(int argc, char **argv);
tv_status cmd_data(int argc, char **argv);
tv_status cmd_pretrain(int argc, char **argv);
tv_status cmd_sft(int argc, char **argv);
tv_status cmd_sample(int argc, char **argv);
tv_status cmd_rank(int argc, char **argv);
tv_status cmd_prefs(int argc, char **argv);
tv_status cmd_reward(int argc, char **argv);
tv_status cmd_ppo(int argc, char **argv);
tv_status cmd_grpo(int argc, char **argv);
tv_status cmd_align(int argc, char **argv);
tv_status cmd_dpo(int argc, char **argv);
tv_status cmd_generate(int argc, char **argv);
tv_status cmd_chat(int argc, char **argv);
tv_status cmd_eval(int argc, char **argv);
tv_status cmd_score(int argc, char **argv);
tv_status cmd_export(int argc, char **argv);
tv_status cmd_bench(int argc, char **argv);
tv_status cmd_report(int argc, char **argv);
tv_status cmd_settings(int argc, char **argv);

/* The result of --json: one line on standard output. */
tv_status tv_print_json(const cJSON *result);
/* The same for a result that was `built` as far as memory reached, a failure where it was not; takes `result`
 * over, which may be NULL. */
tv_status tv_print_result(cJSON *result, bool built);

#endif
