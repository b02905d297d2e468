/* What `trivium align` was asked for: who judges, how is learned from it, how often, with which settings. It
 * stands in the directory as align.json, so that the same command, or --resume, goes on with the same.
 *
 * Promise: whatever can be wrong in it is said before anything is drawn, settings of every step included; a
 * directory goes on with what it began with: another model, judge or setting is refused by name, and so are
 * other prompts or models under the same names. More rounds, and where people are reached, may change.
 */
#ifndef TV_TOOLS_ALIGN_PLAN_H
#define TV_TOOLS_ALIGN_PLAN_H

#include "run/settings.h"
#include "tools/options.h"

/* In the order of "dpo|ppo|grpo" of --learn. */
typedef enum tv_align_learner { TV_ALIGN_DPO, TV_ALIGN_PPO, TV_ALIGN_GRPO } tv_align_learner;

typedef struct tv_align_plan {
    const char *model, *out;
    tv_texts prompts;
    /* Exactly one of them. */
    const char *reward; /* a reward model's directory or run */
    const char *judge;  /* a program, of `trivium rank --judge` */
    bool people;        /* on a page, of `trivium rank --web` */
    int learner;        /* tv_align_learner */
    uint64_t rounds;
    uint64_t candidates, max_tokens, rows;
    double temperature;
    uint64_t top_k;
    double top_p;
    double val_fraction; /* of the preferences' prompts */
    uint64_t seed;       /* of the first round; each further one has the next */
    tv_texts sets;       /* "dpo.train.lr=1e-5", "train.batch_size=8" */
    cJSON *kept;         /* what texts that came from align.json point into */
} tv_align_plan;

/* The steps of a round that train, in their order: one or two. */
uint64_t tv_align_training_steps(const tv_align_plan *plan, tv_stage_kind steps[2]);
/* Whether people or a program rank, so that preferences are made of their judgments. */
bool tv_align_has_rankings(const tv_align_plan *plan);

/* The settings that `stage` is given of plan->sets: those that name it ("dpo.train.lr", "dpo.beta") without
 * what only names it, and those that name none. Free both with tv_align_sets_free. */
tv_status tv_align_sets_of(const tv_align_plan *plan, tv_stage_kind stage, char ***sets, uint64_t *count);
void tv_align_sets_free(char ***sets, uint64_t count);

/* TV_E_USAGE and TV_E_CONFIG for what does not go together and for settings that no step would take. */
tv_status tv_align_plan_check(const tv_align_plan *plan);

/* Whether a directory was begun: its align.json is there. */
bool tv_align_is_begun(const char *out);
/* Fills everything but `out` from align.json. */
tv_status tv_align_plan_read(const char *out, tv_align_plan *plan);
/* The same from a text in memory, which `where` names. */
tv_status tv_align_plan_parse(const char *text, uint64_t size, const char *where, tv_align_plan *plan);
/* A new directory gets its align.json; of one that was begun what is there is compared, and the number of
 * rounds noted. */
tv_status tv_align_plan_settle(const tv_align_plan *plan);
void tv_align_plan_free(tv_align_plan *plan);

#endif
