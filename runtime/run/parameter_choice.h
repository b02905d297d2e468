/* What a run does with each parameter of a model, as its settings say: train it or leave it as it is.
 *
 * A list that a directory or a config gives trains everything; a stage lays the settings over it before the
 * model is made.
 */
#ifndef TV_RUN_PARAMETER_CHOICE_H
#define TV_RUN_PARAMETER_CHOICE_H

#include "model/parameters.h"
#include "run/settings.h"

/* A list of the same model under train.trainable. TV_E_CONFIG where that names nothing, or leaves nothing to
 * be trained. The caller destroys *chosen. */
tv_status tv_parameter_list_choose(const tv_run_settings *settings, const tv_parameter_list *list,
                                   tv_parameter_list **chosen);

#endif
