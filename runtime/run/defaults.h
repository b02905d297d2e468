/* What the defaults "auto" of settings.def become, once model and data are known.
 *
 * Promise: nothing that a file or a --set named is changed; the rules are these functions and nothing else,
 * so that a default can be explained. Each is called once, in this order, before anything is planned.
 */
#ifndef TV_RUN_DEFAULTS_H
#define TV_RUN_DEFAULTS_H

#include "base/dtype.h"
#include "run/settings.h"

/* train.grad_groups: the ranks that a run begins with (what it began with, where it is resumed), and
 * train.grad_accum: one micro-batch for each of them. TV_E_CONFIG where groups do not divide the
 * micro-batches or ranks do not divide the groups. */
tv_status tv_defaults_of_ranks(tv_run_settings *settings, uint32_t ranks, bool resumed);
/* train.grad_exchange as a type. */
tv_dtype tv_grad_exchange_type(const tv_run_settings *settings);

/* train.lr and train.min_lr from the number of parameters, higher for an adapter (train.trainable is "lora");
 * data.seq_len: all `positions` of the model (of the reward model, for reward), but at most
 * TV_DEFAULT_LENGTH. Warns of a train.lr that suits another size. */
enum { TV_DEFAULT_LENGTH = 1024 };
void tv_defaults_of_model(tv_run_settings *settings, uint64_t parameters, uint64_t positions);

/* data.seq_len of packed examples: the longest one's (`longest`), rounded up, where longer rows would make
 * fewer than TV_DEFAULT_STEPS steps of all `tokens`; never more than it is. */
void tv_defaults_of_length(tv_run_settings *settings, uint64_t longest, uint64_t tokens);

/* train.batch_size from the `items` (rows, groups or pairs) of an epoch: the largest power of two up to 16
 * with which a run of train.epochs has at least TV_DEFAULT_STEPS steps. */
enum { TV_DEFAULT_STEPS = 100 };
void tv_defaults_of_data(tv_run_settings *settings, uint64_t items);

/* ppo.max_new_tokens, ppo.prompts and ppo.iterations from the `prompts` that there are, the `longest` of them
 * and the model's `positions`: answers as long as `trivium sample` draws them, where they fit behind every
 * prompt; rollouts of 64, or of the largest power of two that repeats no prompt, but of 16 at least; so many
 * that each prompt is answered TV_DEFAULT_ANSWERS times, within 20 and 100. */
enum { TV_DEFAULT_ANSWERS = 5, TV_DEFAULT_ANSWER_TOKENS = 128 };
void tv_defaults_of_prompts(tv_run_settings *settings, uint64_t prompts, uint64_t longest,
                            uint64_t positions);

/* train.warmup_steps and train.eval_every from the number of steps. Warns where a schedule cannot work: a
 * warm-up that the run does not leave, or hardly any steps. */
void tv_defaults_of_schedule(tv_run_settings *settings, uint64_t total_steps);

#endif
