/* Losses of preferences between responses as a loss head: DPO and its kin.
 *
 * A response's loss needs the log-probabilities of all its tokens, so the rows are gone through twice in
 * chunks: once for the log-probabilities, and again, when the pairs have their losses, for the gradient of
 * each logit. The references' sums are this head's own outputs over the reference model, so that an untouched
 * policy has rewards of exactly 0.
 */
#ifndef TV_MODEL_DPO_HEAD_H
#define TV_MODEL_DPO_HEAD_H

#include "kernels/preference.h"
#include "model/loss_head.h"

enum { TV_DPO_TARGETS, TV_DPO_PAIRS }; /* inputs: (B, T); B / 2 struct tv_dpo_pair; B where each is alone */
enum { TV_DPO_PAIR_STATS };            /* output: as many, (pairs, TV_DPO_STATS) */

/* A tv_head_maker over tv_dpo_loss; B is even, unless each is alone. Statistics: enum TV_DPO_* of
 * kernels/preference.h; loss_scale is 1 / pairs of the step. */
tv_loss_head tv_dpo_head(const void *settings, uint64_t batch, uint64_t tokens);

#endif
