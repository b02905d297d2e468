/* Stage 3d: a reward model learns from preferences which response people like better.
 *
 * Promise: a micro-batch holds train.batch_size groups (pairs, or K ranked answers) with all their responses
 * side by side, one a row; every group is seen once an epoch, in an order drawn by seed. Groups held out by
 * data.val_fraction share no prompt with those that are trained on. Each checkpoint carries reward.json, the
 * scale of its own scores over responses of the training data; the rest of a run's life is run.h's.
 */
#ifndef TV_STAGES_REWARD_H
#define TV_STAGES_REWARD_H

#include "run/run.h"

/* As tv_run_stage. options->init is a base or fine-tuned model, which gets a fresh head, or a reward model,
 * which goes on with its own. */
tv_status tv_reward(const tv_run_options *options, tv_run_result *result);

#endif
