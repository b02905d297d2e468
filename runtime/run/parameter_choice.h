/* What a run does with each parameter of a model, as its settings say: train it, leave it as it is, or train
 * an adapter beside it.
 *
 * A list that a directory or a config gives trains everything; a stage lays the settings over it before the
 * model is made. With lora.rank, or where the model is an adapter already, the base stays as it is and
 * train.trainable becomes "lora"; a score head is trained with the adapter, which holds it.
 */
#ifndef TV_RUN_PARAMETER_CHOICE_H
#define TV_RUN_PARAMETER_CHOICE_H

#include "formats/directory.h"
#include "run/settings.h"

/* Whether a model in `directory` can take the weights of its base from one of the list `store`, which trains
 * an adapter over the same base. */
bool tv_parameters_share_base(const tv_parameter_list *store, const tv_model_directory *directory);
/* A list of the same model, its adapter too, of which nothing is trained, stored as the parameters of `like`
 * that are the same are (the list itself: as it is), or with `weights` other than TV_WEIGHTS_AUTO as that. */
tv_status tv_parameter_list_freeze(const tv_parameter_list *list, const tv_parameter_list *like,
                                   tv_weights weights, tv_parameter_list **frozen);

/* The type of storage of each parameter of `list` but an adapter's, as model.weights says; where that is
 * auto, as in `published` (NULL: f32), the list of the model's directory. The caller frees *types. */
tv_status tv_parameter_storage(const tv_run_settings *settings, const tv_parameter_list *list,
                               const tv_parameter_list *published, tv_dtype **types);

/* A list of the same model under train.trainable, model.weights and lora, whose settings then say what the
 * list has. `base` (NULL: none) is the model's directory, which adapters name, `published` its list.
 * TV_E_CONFIG where a setting names nothing, leaves nothing to be trained, or is not what an adapter that is
 * there has. The caller destroys *chosen. */
tv_status tv_parameter_list_choose(tv_run_settings *settings, const tv_parameter_list *list, const char *base,
                                   const tv_parameter_list *published, tv_parameter_list **chosen);

#endif
