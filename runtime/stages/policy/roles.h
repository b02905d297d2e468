/* The roles beside the policy: the frozen reference and the value model, each with its trainer.
 *
 * Promise: both compute with the batch shape of the policy's own passes, so that an untouched policy and its
 * reference agree to the last bit. Where the policy is an adapter, whoever has the same base shares its
 * weights. The value model is a score head on the body of the reward model or of the policy, its head 0 at
 * first; it is part of each checkpoint, in value/.
 */
#ifndef TV_STAGES_POLICY_ROLES_H
#define TV_STAGES_POLICY_ROLES_H

#include "formats/directory.h"
#include "run/checkpoint.h"
#include "run/settings.h"
#include "train/trainer.h"

typedef struct tv_policy_role {
    tv_model_directory *directory;
    tv_parameter_list *own_list;
    const tv_parameter_list *list;
    bool shared; /* the base's weights are the policy's */
    bool value;
    tv_trainer_options options;
    tv_model *model;
    tv_trainer *trainer;
} tv_policy_role;

/* The reference, from a model directory or a run, stored as the policy is; TV_E_CONFIG unless its vocabulary
 * is the policy's. */
tv_status tv_policy_reference_open(const char *given, const tv_parameter_list *policy, tv_policy_role *role);
/* A value model with the body of `directory`, a language or a reward model; or, with `checkpoint`, the one
 * that was saved there. The settings say what of it is trained. */
tv_status tv_policy_value_open(const tv_run_settings *settings, const tv_parameter_list *policy,
                               const char *directory, const char *checkpoint, tv_policy_role *role);

/* What the role takes of the device besides what it shares; options.batch and its like are set before. */
tv_status tv_policy_role_measure(const tv_policy_role *role, const tv_parameter_list *policy,
                                 const tv_caps *caps, uint64_t *bytes);
/* Loads it; `checkpoint` (or NULL) is where a value model's moments are. */
tv_status tv_policy_role_start(tv_policy_role *role, const tv_model *policy, const char *checkpoint);
void tv_policy_role_close(tv_policy_role *role);

#endif
