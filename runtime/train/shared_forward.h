/* Forward passes shared among ranks.
 *
 * Promise: every rank draws every batch, which costs little, and computes each Nth; what they give is handed
 * round, so that the visitor of every rank gets all batches in their order, with the bits that one rank alone
 * would give it. A block of batches at a time, so that memory does not grow with their number.
 */
#ifndef TV_TRAIN_SHARED_FORWARD_H
#define TV_TRAIN_SHARED_FORWARD_H

#include "train/trainer_layout.h"

/* tv_trainer_forward of this rank alone. */
typedef tv_status (*tv_forward_pass)(tv_trainer *trainer, uint64_t batches, tv_batch_source source,
                                     void *context, tv_outputs_visitor visit, void *visit_context);

typedef struct tv_forward_share {
    tv_ranks *ranks;
    tv_trainer *trainer;
    const tv_trainer_layout *layout; /* its */
    tv_forward_pass pass;
} tv_forward_share;

/* By all; as tv_trainer_forward. */
tv_status tv_shared_forward(const tv_forward_share *share, uint64_t batches, tv_batch_source source,
                            void *context, tv_outputs_visitor visit, void *visit_context);

#endif
