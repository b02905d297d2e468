/* Prompts of a rollout, and answers drawn to them.
 *
 * Promise: what is drawn is addressed by the seed and the number of the answer over the whole run, so that it
 * depends on nothing else; prompts come in an order of their own each time through them.
 */
#ifndef TV_STAGES_POLICY_DRAWING_H
#define TV_STAGES_POLICY_DRAWING_H

#include "run/run.h"
#include "stages/policy/rewards.h"
#include "stages/policy/rollout.h"
#include "stages/policy/sources.h"
#include "stages/rollout.h"
#include "text/prompts.h"

/* Prompts that leave room for `most` new tokens, a quarter of the context where the stage's max_new_tokens is
 * not given; with what the rewards need of each line. */
tv_status tv_policy_prompts_read(const tv_run *run, uint64_t most, const tv_policy_sources *rewards,
                                 const tv_data_source *sources, uint64_t count, tv_prompts **prompts);
/* Tokens; `prompts` may be NULL. */
uint64_t tv_policy_prompts_longest(const tv_prompts *prompts);
/* The template whose turns end an answer; NULL where no prompt is a list of messages. */
const tv_chat_template *tv_policy_prompts_chat(const tv_prompts *prompts);
/* Which of `count` prompts is number `number` of the run: every one once a pass, in an order drawn by seed.
 */
uint64_t tv_policy_prompt_at(const tv_run *run, uint64_t count, uint64_t number);

typedef struct tv_policy_drawing {
    tv_ranks *ranks; /* that share the prompts; NULL: this process alone */
    tv_rollout *drawer;
    const tv_decoder_settings *settings;
    uint64_t max_new_tokens;
    tv_policy_rewards *rewards; /* told of each answer as it ends; scored or abandoned after tv_policy_draw */
} tv_policy_drawing;
/* Of tv_rollout_options, so that answers come with what the policy's head says of their tokens at this
 * temperature; 0 where a step has not a training pass's bits, which then takes one. */
float tv_policy_drawing_scale(const tv_model *policy, double temperature);
/* Texts that a rank has to draw side by side of `prompts` with `answers` each. */
uint64_t tv_policy_drawing_rows(const tv_ranks *ranks, uint64_t prompts, uint64_t answers);
/* By all ranks. Answers the prompts that the rollout's sequences name, those of one prompt side by side;
 * `first` is the address of the first one's draws; what came with the draws is in the rollout. Each rank
 * draws for every Nth prompt, and all get all answers. Where a program scores, the first rank has those of
 * the others as they end, and tells of all. */
tv_status tv_policy_draw(const tv_policy_drawing *drawing, const tv_prompts *prompts, uint64_t first,
                         tv_policy_rollout *rollout);

#endif
