/* What model.c and model_contents.c share. */
#ifndef TV_MODEL_MODEL_OWN_H
#define TV_MODEL_MODEL_OWN_H

#include "model/model.h"

/* fp32, of a trained parameter whose weights are narrower; else absent. */
tv_tensor tv_model_master_at(const tv_model *model, uint32_t index);
bool tv_model_is_shared(const tv_model *model, uint32_t index);
/* Where a model over one of the list `base` finds what its own parameter begins as; TV_NO_PARAMETER: nowhere.
 */
uint32_t tv_model_index_in_base(const tv_parameter_list *base, const tv_parameter_list *list, uint32_t index);
/* tv_model_create_over, whose own parameters are zeros. */
tv_status tv_model_create_shared(const tv_model *base, const tv_parameter_list *list, bool train,
                                 tv_model **model);

#endif
