/* A model on a device: its parameters and, for training, their gradients and AdamW's moments.
 *
 * Promise: the bytes that tv_model_measure states are the bytes that tv_model_create allocates. Gradients lie
 * in the order in which the backward pass finishes them. Tensors are addressed by role and layer; an absent
 * role gives an absent tensor.
 */
#ifndef TV_MODEL_MODEL_H
#define TV_MODEL_MODEL_H

#include "kernels/launch.h"
#include "model/parameters.h"

typedef struct tv_model tv_model;

/* Bytes of device memory by purpose. */
typedef struct tv_model_bytes {
    uint64_t parameters, gradients, moments, tables;
} tv_model_bytes;

/* What a model takes on a device of these caps. `train`: with gradients and moments. TV_E_FIT when a tensor
 * is larger than any buffer. */
tv_status tv_model_measure(const tv_parameter_list *list, const tv_caps *caps, bool train,
                           tv_model_bytes *bytes);

/* Parameters start as zeros. `list` is kept by reference and must outlive the model. */
tv_status tv_model_create(tv_device *device, const tv_parameter_list *list, bool train, tv_model **model);
void tv_model_destroy(tv_model **model);

/* Fills every parameter: from a source, asked once for each in order, or drawn by GPT-2's initialisation.
 * Moments start as zeros. */
tv_status tv_model_fill(tv_model *model, tv_parameter_source source, void *context);
tv_status tv_model_initialise(tv_model *model, uint64_t seed);
/* A tv_parameter_source over a tv_model: reads its parameters back from the device. */
tv_status tv_model_source(void *model, uint32_t index, float *out);

tv_device *tv_model_device(const tv_model *model);
const tv_parameter_list *tv_model_list(const tv_model *model);

/* By position in the list; TV_NO_PARAMETER gives an absent tensor. The second form looks the position up. */
tv_tensor tv_model_parameter_at(const tv_model *model, uint32_t index);
tv_tensor tv_model_gradient_at(const tv_model *model, uint32_t index);
tv_tensor tv_model_parameter(const tv_model *model, tv_parameter_role role, uint32_t layer);
tv_tensor tv_model_gradient(const tv_model *model, tv_parameter_role role, uint32_t layer);
/* AdamW's first (0) or second (1) moment. */
tv_tensor tv_model_moment_at(const tv_model *model, uint32_t moment, uint32_t index);
/* Cosines and sines of rotary positions (max_positions, D/2, 2); absent with learned positions. */
tv_tensor tv_model_rotary_table(const tv_model *model);

#endif
