/* Muon over a model: which matrices it has, and in which batches they are updated.
 *
 * Promise: q, k and v, gate and up are matrices of their own although they are stored as rows of one
 * parameter. Matrices of one shape go side by side as far as TV_MUON_BATCH_BYTES of updates or one binding
 * hold, in the order of the list; no bit depends on how they are batched. The workspace is that of the
 * largest batch.
 */
#ifndef TV_TRAIN_MUON_H
#define TV_TRAIN_MUON_H

#include "kernels/muon.h"
#include "model/model.h"

/* Enough elements for one product to fill a large device. */
#define TV_MUON_BATCH_BYTES (UINT64_C(32) << 20)

/* Floats of each part of the workspace; all 0 where the list's owner trains nothing by Muon. */
tv_status tv_muon_plan(const tv_parameter_list *list, const tv_caps *caps, uint64_t floats[TV_MUON_TENSORS]);

/* Updates every matrix that is Muon's and this owner's; nothing is recorded where there is none. `step` and
 * `state` as in tv_muon. */
tv_status tv_muon_record_model(tv_recorder *recorder, const tv_model *model,
                               const tv_tensor workspace[TV_MUON_TENSORS], tv_tensor step, tv_tensor state);

#endif
