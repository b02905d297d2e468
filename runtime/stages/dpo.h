/* Preference optimisation: the policy learns from preferences themselves, without a reward model (DPO and its
 * kin, dpo_losses.h).
 *
 * Promise: the reference is the model that the run began from; its log-probabilities of every pair are
 * computed once, before the first step, by the kernels that train, so that the first step's rewards are
 * exactly 0 and DPO's loss ln 2. Checkpoints carry them, so a resumed run needs the reference no more. A loss
 * without a reference computes none. A micro-batch holds train.batch_size pairs; every pair is seen once an
 * epoch, in an order drawn by seed. The rest of a run's life is run.h's.
 */
#ifndef TV_STAGES_DPO_H
#define TV_STAGES_DPO_H

#include "run/run.h"

/* As tv_run_stage; options->init is the policy to start from, and the reference. */
tv_status tv_dpo_train(const tv_run_options *options, tv_run_result *result);

#endif
