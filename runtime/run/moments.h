/* The optimizer's moments in a checkpoint, and what rounding took away from each group of gradients:
 * training_state/optimizer.safetensors.
 *
 * Promise: the file is that of one device, whoever keeps the moments: a run goes on from it with any number
 * of ranks.
 */
#ifndef TV_RUN_MOMENTS_H
#define TV_RUN_MOMENTS_H

#include "model/model.h"

/* What other owners keep is asked of them (tv_model_state). Errors are left out, and so are 0 for whoever
 * reads, where the last update was `skipped`: they are of its gradients. */
tv_status tv_moments_write(const char *directory, tv_model *model, bool skipped);
/* Those of this owner's stretches and groups. Errors of a file without them are 0; values that are not
 * finite, and squares below 0, are TV_E_DATA. */
tv_status tv_moments_read(const char *directory, tv_model *model);

#endif
