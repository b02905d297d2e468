/* The policy as a loss head where answers to one prompt are compared with each other (GRPO and its kin).
 *
 * As policy_head.h, with the losses of kernels/group.h. Where a sequence has one ratio (GSPO) the rows are
 * gone through twice in chunks, as in dpo_head.h. Without a gradient it is how log-probabilities are
 * computed.
 */
#ifndef TV_MODEL_GROUP_HEAD_H
#define TV_MODEL_GROUP_HEAD_H

#include "kernels/group.h"
#include "model/loss_head.h"

typedef struct tv_group_settings {
    uint32_t mode;   /* TV_GROUP_CLIP, TV_GROUP_CISPO */
    bool sequence;   /* one ratio a sequence */
    double clip_low; /* eps */
    double clip_high;
    double beta;        /* of KL in the loss; 0: ref_logprob is not read */
    double temperature; /* tau, above 0 */
} tv_group_settings;

enum { TV_GROUP_TARGETS, TV_GROUP_ROWS };       /* inputs: (B, T); (B, T) struct tv_group_row */
enum { TV_GROUP_LOGPROBS, TV_GROUP_ENTROPIES }; /* outputs, (B, T), 0 where ignored */

/* A tv_head_maker over tv_group_settings. Statistics: enum TV_GROUP_* of sizes.h; loss_scale is 1 / the terms
 * of the step, whatever the table's weights make them. A forward pass reads the targets only. */
tv_loss_head tv_group_head(const void *settings, uint64_t batch, uint64_t tokens);

#endif
