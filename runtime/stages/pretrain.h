/* Stage 1: pretraining, next-token prediction over token shards.
 *
 * Promise: same seed, device and data give the same bits; the rest of a run's life is run.h's.
 */
#ifndef TV_STAGES_PRETRAIN_H
#define TV_STAGES_PRETRAIN_H

#include "run/run.h"

/* Puts what to do behind the sentence of tv_loader_create's failure, and returns it. */
tv_status tv_pretrain_loader_advice(tv_status status, bool shuffle);

/* As tv_run_stage. Without options->init the configuration's model is drawn by seed. */
tv_status tv_pretrain(const tv_run_options *options, tv_run_result *result);

#endif
