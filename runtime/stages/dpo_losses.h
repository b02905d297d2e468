/* The losses of `trivium dpo`, one table: what each is made of, what it needs, what is usual for it.
 *
 * Sources: sigmoid Rafailov et al. 2023; ipo Azar et al. 2023, over means per token; hinge Zhao et al. 2023
 * (SLiC), as Liu et al. 2023 write it; robust Chowdhury et al. 2024; simpo Meng et al. 2024; orpo Hong et al.
 * 2024; cpo Xu et al. 2024; kto Ethayarajh et al. 2024 (kto_examples.h).
 */
#ifndef TV_STAGES_DPO_LOSSES_H
#define TV_STAGES_DPO_LOSSES_H

#include <stdbool.h>

#include "kernels/preference.h"
#include "run/settings.h"

/* Fills the settings that nobody named, and the loss. TV_E_CONFIG names a setting that the loss does not
 * take, or one that it lacks. */
tv_status tv_dpo_loss_choose(tv_run_settings *settings, tv_dpo_loss *loss);
/* Whether it reads log-probabilities of a reference. */
bool tv_dpo_loss_has_reference(const tv_run_settings *settings);

#endif
