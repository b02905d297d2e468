/* How far a reward model agrees with what people judged. */
#ifndef TV_TOOLS_REWARD_AGREEMENT_H
#define TV_TOOLS_REWARD_AGREEMENT_H

#include <stdio.h>

#include "human/rankings.h"
#include "reward/score_texts.h"

/* Over the judgments that are neither skipped nor repeated. NaN where there is no pair. */
typedef struct tv_reward_agreement {
    uint64_t judgments, pairs, strict_pairs;
    double
        accuracy; /* share of the strict pairs whose better answer has the higher score; equal scores half */
    double agreement;  /* of all pairs, by the measure of two annotators: a tie in one of them counts half */
    uint64_t too_long; /* answers that the model has no positions for; their pairs do not count */
} tv_reward_agreement;

tv_status tv_reward_agreement_measure(const tv_rankings *rankings, const tv_score_texts_options *options,
                                      tv_reward_agreement *agreement);

/* The line for people; `human` is the annotators' agreement, NaN where it is not known. */
void tv_reward_agreement_print(const tv_reward_agreement *agreement, double human, FILE *out);
/* The same for programs; the caller frees. NULL when memory is out. */
cJSON *tv_reward_agreement_json(const tv_reward_agreement *agreement);

#endif
