/* Where rewards and reference of a run come from: the command line, else the checkpoint.
 *
 * Promise: a directory is data: a program that only a checkpoint names does not run because it says so. Names
 * and weights are settings (rewards.names, rewards.weights); names that nobody gave follow from the sources,
 * and both stand in the run's config.json.
 */
#ifndef TV_STAGES_POLICY_SOURCES_H
#define TV_STAGES_POLICY_SOURCES_H

#include "stages/policy/options.h"

enum { TV_MOST_REWARDS = 16 };

typedef struct tv_reward_source {
    tv_reward_kind kind;
    char *text;       /* a directory, a command or a check */
    const char *name; /* of the settings; no other has it */
    double weight;
} tv_reward_source;

typedef struct tv_policy_sources {
    tv_reward_source rewards[TV_MOST_REWARDS];
    uint64_t count;  /* at least 1 */
    char *reference; /* NULL: none */
} tv_policy_sources;

/* `state`: what the checkpoint at `where` knows; NULL: the run begins. Sets the settings' names and weights.
 */
tv_status tv_policy_sources_find(const tv_policy_options *options, tv_run *run, const cJSON *state,
                                 const char *where, tv_policy_sources *sources);
/* Adds them to a checkpoint's state; false when memory is out. */
bool tv_policy_sources_add(const tv_policy_sources *sources, cJSON *state);
/* A program is not looked into: its command is no file. */
tv_status tv_policy_sources_add_inputs(const tv_policy_sources *sources, tv_run *run);
/* Whether a check compares with the right answer of each prompt. */
bool tv_policy_sources_have_answers(const tv_policy_sources *sources);
/* Whether a program is given every field of a prompt's line. */
bool tv_policy_sources_have_fields(const tv_policy_sources *sources);
/* Says in a dry run what rewards, and which program would run. */
void tv_policy_sources_print(const tv_policy_sources *sources, const tv_policy_options *options);
void tv_policy_sources_free(tv_policy_sources *sources);

#endif
