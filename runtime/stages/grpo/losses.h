/* The losses of `trivium grpo`, one table: ratio, clip, and what a token's term is weighed with.
 *
 * Sources: grpo Shao et al. 2024; dapo Yu et al. 2025; dr_grpo Liu et al. 2025; cispo MiniMax 2025; gspo
 * Zheng et al. 2025; bnpo as TRL has it. A step's loss is the sum of the weighted terms over the step's
 * number of terms.
 */
#ifndef TV_STAGES_GRPO_LOSSES_H
#define TV_STAGES_GRPO_LOSSES_H

#include "model/group_head.h"
#include "run/settings.h"

/* Fills the clips that nobody named, and the head's settings. TV_E_CONFIG where they make no sense. */
tv_status tv_group_loss_choose(tv_run_settings *settings, tv_group_settings *head);

/* One answer in a micro-batch: `tokens` of it count, `micro_tokens` of the micro-batch do. */
double tv_group_weight(const tv_grpo_settings *settings, uint64_t tokens, uint64_t micro_tokens);
/* What a micro-batch of so many answers adds to the step's terms. */
uint64_t tv_group_terms(const tv_grpo_settings *settings, uint64_t answers, uint64_t micro_tokens);

#endif
