/* The optimizer's moments in a checkpoint: training_state/optimizer.safetensors.
 *
 * Promise: the file is that of one device, whoever keeps the moments: a run goes on from it with any number
 * of ranks.
 */
#ifndef TV_RUN_MOMENTS_H
#define TV_RUN_MOMENTS_H

#include "model/model.h"

/* What other owners keep is asked of them (tv_model_state). */
tv_status tv_moments_write(const char *directory, tv_model *model);
/* Those of this owner's stretches. */
tv_status tv_moments_read(const char *directory, tv_model *model);

#endif
