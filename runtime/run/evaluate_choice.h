/* Questions of several endings, put to a language model: how likely each ending is, and how often the right
 * one wins.
 *
 * Promise: an ending's log-probability is the sum over its tokens, each behind all before it. Of a question's
 * endings the likeliest is the answer, the first of equals, as in lm-evaluation-harness: `acc` by the sum,
 * `acc_norm` by the sum over the ending's length, in bytes.
 */
#ifndef TV_RUN_EVALUATE_CHOICE_H
#define TV_RUN_EVALUATE_CHOICE_H

#include "text/multiple_choice.h"
#include "train/trainer.h"

/* The trainer that scores: of forward passes, `batch` endings of `longest` tokens side by side, or more
 * shorter ones. */
tv_trainer_options tv_choice_trainer(uint64_t longest, uint64_t batch);

/* logprobs (ending_count), in nats, of the order of `questions`. TV_E_NUMERIC, with the question, where one
 * is not finite. */
tv_status tv_choice_score(tv_trainer *trainer, const tv_multiple_choice *questions, double *logprobs);

/* The share of questions whose answer is the right one, by the sum and by the sum over the length. */
void tv_choice_accuracy(const tv_multiple_choice *questions, const double *logprobs, double *accuracy,
                        double *accuracy_norm);

#endif
