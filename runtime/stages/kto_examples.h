/* Examples for KTO: answers that people call good or not, each by itself, and the reference point that they
 * are measured from.
 *
 * Ethayarajh et al. 2024, as TRL's KTOTrainer has it: with r the log-ratio of policy and reference of an
 * answer, an example costs w (1 - s(beta (r - z))) where it is desirable and w (1 - s(beta (z - r)))
 * elsewhere, s the logistic function; z = max(0, mean r of mismatched answers), without a gradient.
 * Mismatched are each example's prompt and the answer of the nearest example before it that has another
 * prompt (around the list's end), cut at T. z is of a whole optimizer step, made before its first micro-batch
 * (TRL: of each micro-batch), so that accumulating equals one large batch.
 *
 * Promise: a group of one answer has its own label; of a group of ranked answers the best are desirable, the
 * last are not, and those between are left out. Items are tv_dpo_item: the answer is `chosen`, the mismatched
 * one `rejected`, and so lie their references. An example takes one row.
 */
#ifndef TV_STAGES_KTO_EXAMPLES_H
#define TV_STAGES_KTO_EXAMPLES_H

#include "stages/dpo_pairs.h"

/* The examples of a list, which outlives them; target 1 is desirable, 0 is not. Free also after a failure,
 * with tv_dpo_pairs_free. */
tv_status tv_kto_examples_create(const tv_preference_list *list, uint64_t tokens, tv_dpo_pairs *examples);

/* What a training step measures its examples by. */
typedef struct tv_kto_step {
    double point;              /* z */
    double weights[2];         /* of undesirable and of desirable examples */
    uint64_t desirable, count; /* examples that the point was made for */
} tv_kto_step;

/* Fills the next `batch` examples; terms are the examples that are there. A desirable answer is its pair's
 * chosen side and the point the other one, and the other way round, so that the kernel's sums over pairs keep
 * them apart. */
void tv_kto_examples_fill(tv_dpo_pairs *examples, const tv_kto_step *step, uint64_t batch,
                          tv_micro_batch *micro);

/* Sets the references of every example from the model in the trainer as it is. */
tv_status tv_kto_examples_score(tv_dpo_pairs *examples, uint64_t batch, tv_trainer *trainer);

/* Sets point, desirable and count for examples [first, first + count) of all passes, from the model in the
 * trainer as it is; no step may be in flight. */
tv_status tv_kto_step_begin(const tv_dpo_pairs *examples, uint64_t first, uint64_t count, uint64_t batch,
                            tv_trainer *trainer, tv_kto_step *step);

/* Sums of the head's statistics over a step as sums over its desirable and its undesirable examples, in
 * place: TV_DPO_CHOSEN and TV_DPO_REJECTED lose what the point put there. */
void tv_kto_step_separate(const tv_kto_step *step, double beta, double *sums);

#endif
