/* Stage 2: supervised fine-tuning on demonstrations (text/examples.h reads them).
 *
 * Promise: the loss is the mean over trained tokens of the whole accumulated batch; packed and unpacked give
 * the same loss, because attention and positions never cross from one example to the next; row r of a run is
 * a pure function of the seed and r, so that a resumed run sees what it would have seen. The rest of a run's
 * life is run.h's.
 */
#ifndef TV_STAGES_SFT_H
#define TV_STAGES_SFT_H

#include "run/run.h"

/* As tv_run_stage; options->init is the base model. */
tv_status tv_sft(const tv_run_options *options, tv_run_result *result);

#endif
