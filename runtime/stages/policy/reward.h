/* One reward of a run: a reward model, of the policy's tokenizer or of another, a program, or a check of the
 * answer that is built in.
 *
 * Promise: what is wrong with the model or the command shows before training, as far as it can; scores of a
 * model are normalised by its reward.json; a program is started once, gets {"id", "prompt_id", "prompt",
 * "response"} and every other member of the prompt's line, a line each, and answers a number a line, or
 * {"id", "score"} in any order (base/dialogue.h); or it gets a list of so many in a line and answers a list
 * of as many numbers. One that dies, takes too long or writes anything else is TV_E_DATA with the line it
 * wrote.
 */
#ifndef TV_STAGES_POLICY_REWARD_H
#define TV_STAGES_POLICY_REWARD_H

#include "reward/model.h"
#include "stages/policy/rollout.h"
#include "text/prompts.h"

typedef struct tv_policy_reward tv_policy_reward;

typedef enum tv_reward_kind {
    TV_REWARD_MODEL,   /* a reward model's directory or run */
    TV_REWARD_PROGRAM, /* a command of the shell */
    TV_REWARD_CHECK,   /* of reward/checks.h */
    TV_REWARD_KINDS
} tv_reward_kind;

/* As it was asked for. */
typedef struct tv_reward_given {
    tv_reward_kind kind;
    const char *text; /* NULL: none */
} tv_reward_given;

typedef struct tv_policy_reward_options {
    tv_ranks *ranks; /* that score together; NULL: this process alone */
    tv_reward_kind kind;
    const char *text;
    const char *name;            /* for sentences; NULL: it is the only one */
    tv_tokenizer *tokenizer;     /* the policy's; outlives it */
    uint64_t max_tokens;         /* of a sequence of the policy */
    uint64_t sequences;          /* of a rollout */
    tv_weights weights;          /* how a model's matrices are held; TV_WEIGHTS_AUTO: as published */
    uint64_t batch;              /* questions in a line to a program; 1: no list */
    double timeout;              /* seconds for an answer of a program; 0: no limit */
    tv_activation_arena *shared; /* whose activations a model borrows */
} tv_policy_reward_options;

/* Reads the files, starts nothing. */
tv_status tv_policy_reward_open(const tv_policy_reward_options *options, tv_policy_reward **reward);
/* Device memory that it takes besides what it shares with a policy of this list. Last of the roles: it scores
 * as many texts side by side as the activations that the others need have room for. */
tv_status tv_policy_reward_measure(tv_policy_reward *reward, const tv_parameter_list *policy,
                                   const tv_caps *caps, uint64_t *bytes);
/* The same as if its list, the base that it lies over (NULL: its own), the policy's longest sequence and the
 * arena were these. */
tv_status tv_policy_reward_measure_as(const tv_policy_reward *reward, const tv_parameter_list *list,
                                      const tv_parameter_list *base, const tv_caps *caps, uint64_t max_tokens,
                                      tv_activation_arena *arena, uint64_t *bytes);
/* Whether it is a model whose weights lie on the base of such a policy. */
bool tv_policy_reward_shares_base(const tv_policy_reward *reward, const tv_parameter_list *policy);
/* Tokens of the longest sequence that it reads through the policy's own tables of positions; 0: none. */
uint64_t tv_policy_reward_context(const tv_policy_reward *reward, const tv_parameter_list *policy);
/* Puts the model on the policy's device, over the same base where both are adapters of one, or starts the
 * program. */
tv_status tv_policy_reward_start(tv_policy_reward *reward, const tv_model *policy);
void tv_policy_reward_close(tv_policy_reward **reward);

/* NULL for a program or a check. */
const tv_reward_model *tv_policy_reward_model(const tv_policy_reward *reward);
/* Its ids are the policy's. */
bool tv_policy_reward_same_tokenizer(const tv_policy_reward *reward);

/* A program is asked about a rollout of `count` answers as they are drawn: begun before the first of them,
 * the next of them in the order of the rollout stands there, or no more comes. The others have nothing to do.
 */
tv_status tv_policy_reward_begin(tv_policy_reward *reward, uint64_t count);
tv_status tv_policy_reward_drawn(tv_policy_reward *reward, const tv_prompts *prompts,
                                 const tv_policy_rollout *rollout);
void tv_policy_reward_abandon(tv_policy_reward *reward);

/* By all ranks, after tv_policy_reward_begin, answers that it was not told of included. The scores of the
 * whole rollout, (sequences), NaN where a program says that it does not apply: a model's are shared among the
 * ranks, a program is one, the first rank's, whose answers all get. */
tv_status tv_policy_reward_score(tv_policy_reward *reward, const tv_prompts *prompts,
                                 const tv_policy_rollout *rollout, double *scores);

/* After the last rollout: TV_E_DATA when a program still had something to say. */
tv_status tv_policy_reward_finish(tv_policy_reward *reward);

#endif
