/* The rewards of a run: any number of reward models, programs and checks, each with a name and a weight. An
 * answer's score is the sum of theirs times the weights.
 *
 * Promise: what is wrong with one of them shows before training, as far as it can, and its sentence names it;
 * each one's mean and deviation stand in every line of the metrics where there are several.
 */
#ifndef TV_STAGES_POLICY_REWARDS_H
#define TV_STAGES_POLICY_REWARDS_H

#include "run/metrics.h"
#include "stages/policy/reward.h"
#include "stages/policy/sources.h"

typedef struct tv_policy_rewards tv_policy_rewards;

typedef struct tv_policy_rewards_options {
    tv_ranks *ranks;                  /* that score together; NULL: this process alone */
    const tv_policy_sources *sources; /* outlive them */
    tv_tokenizer *tokenizer;          /* the policy's; outlives them */
    uint64_t max_tokens;              /* of a sequence of the policy */
    uint64_t sequences;               /* of a rollout */
    tv_weights weights;               /* how models' matrices are held; TV_WEIGHTS_AUTO: as published */
    uint64_t batch;                   /* questions in a line to a program */
    double timeout;                   /* seconds that a program has for an answer; 0: no limit */
    tv_activation_arena *shared;      /* whose activations models borrow */
} tv_policy_rewards_options;

/* Reads the files, starts nothing. */
tv_status tv_policy_rewards_open(const tv_policy_rewards_options *options, tv_policy_rewards **rewards);
void tv_policy_rewards_close(tv_policy_rewards **rewards);
uint64_t tv_policy_rewards_count(const tv_policy_rewards *rewards);
tv_policy_reward *tv_policy_rewards_at(const tv_policy_rewards *rewards, uint64_t index);
/* The first that is a model; NULL: none is. */
tv_policy_reward *tv_policy_rewards_model(const tv_policy_rewards *rewards);

/* Sums, or the most, of what reward.h says of each. */
tv_status tv_policy_rewards_measure(tv_policy_rewards *rewards, const tv_parameter_list *policy,
                                    const tv_caps *caps, uint64_t *bytes);
/* What a dry run calls those bytes, with the base that all of the models share with such a policy. */
const char *tv_policy_rewards_row(const tv_policy_rewards *rewards, const tv_parameter_list *policy);
uint64_t tv_policy_rewards_context(const tv_policy_rewards *rewards, const tv_parameter_list *policy);
tv_status tv_policy_rewards_start(tv_policy_rewards *rewards, const tv_model *policy);
tv_status tv_policy_rewards_finish(tv_policy_rewards *rewards);

/* Whether one of them is a program, which the first rank asks, on every rank. */
bool tv_policy_rewards_ask(const tv_policy_rewards *rewards);
/* A rollout is about to be drawn. */
tv_status tv_policy_rewards_expect(tv_policy_rewards *rewards, const tv_policy_rollout *rollout);
/* Answer `sequence` of it stands there: programs are asked about those in front that do, in the order of the
 * rollout, while others are drawn. Fails as tv_policy_rewards_score does, as soon as that is known; of
 * several ranks only that does, together. */
tv_status tv_policy_rewards_drawn(tv_policy_rewards *rewards, const tv_prompts *prompts,
                                  const tv_policy_rollout *rollout, uint64_t sequence);
/* What was expected is not scored. */
void tv_policy_rewards_abandon(tv_policy_rewards *rewards);

/* By all ranks, after tv_policy_rewards_expect: fills items[].score of the whole rollout, of which there may
 * be several between two tv_policy_rewards_begin. A reward that does not apply to an answer is left out of
 * its sum. `counted`: it is part of what tv_policy_rewards_describe tells. */
tv_status tv_policy_rewards_score(tv_policy_rewards *rewards, const tv_prompts *prompts,
                                  tv_policy_rollout *rollout, bool counted);

/* That a reward applies to each answer of a scored rollout: else TV_E_DATA. */
tv_status tv_policy_rewards_expect_all(const tv_prompts *prompts, const tv_policy_rollout *rollout);

/* Appends reward/NAME/mean and reward/NAME/std of all that was counted since tv_policy_rewards_begin, where
 * there are several, and reward/NAME/applies, the share of it, where that is not all of it. Their names last
 * as long as the rewards. */
void tv_policy_rewards_begin(tv_policy_rewards *rewards);
void tv_policy_rewards_describe(const tv_policy_rewards *rewards, tv_metric_number *numbers, uint64_t *count);
/* Adds what they describe to a checkpoint's state, and takes it back; where the state has other rewards,
 * nothing. */
bool tv_policy_rewards_add_sums(const tv_policy_rewards *rewards, cJSON *state);
void tv_policy_rewards_read_sums(tv_policy_rewards *rewards, const cJSON *state);
/* Numbers that it appends, at most. */
enum { TV_POLICY_REWARDS_NUMBERS = 3 * TV_MOST_REWARDS };

#endif
