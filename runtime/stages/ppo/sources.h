/* Where reward and reference of a run come from: the command line, else the checkpoint. What PPO and GRPO
 * share.
 *
 * Promise: a directory is data: a program that only a checkpoint names does not run because it says so.
 */
#ifndef TV_STAGES_PPO_SOURCES_H
#define TV_STAGES_PPO_SOURCES_H

#include "run/run.h"
#include "stages/ppo/ppo.h"

typedef struct tv_ppo_sources {
    char *reward, *reward_command, *check, *reference; /* as resolved; NULL: none */
} tv_ppo_sources;

/* `state`: what the checkpoint at `where` knows; NULL: the run begins. */
tv_status tv_ppo_sources_find(const tv_ppo_options *options, const tv_run *run, const cJSON *state,
                              const char *where, tv_ppo_sources *sources);
/* Adds them to a checkpoint's state; false when memory is out. */
bool tv_ppo_sources_add(const tv_ppo_sources *sources, cJSON *state);
/* A program is not looked into: its command is no file. */
tv_status tv_ppo_sources_add_inputs(const tv_ppo_sources *sources, tv_run *run);
/* Whether a check compares with the right answer of each prompt. */
bool tv_ppo_sources_have_answers(const tv_ppo_sources *sources);
/* Says in a dry run which program would run. */
void tv_ppo_sources_print(const tv_ppo_sources *sources, const tv_ppo_options *options);
void tv_ppo_sources_free(tv_ppo_sources *sources);

#endif
