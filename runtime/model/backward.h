/* The backward pass: forward.c read from bottom to top.
 *
 * Gradients of parameters accumulate; gradients of activations are overwritten. Reads what the forward pass
 * of the same activations left, which therefore must have run just before.
 */
#ifndef TV_MODEL_BACKWARD_H
#define TV_MODEL_BACKWARD_H

#include "model/forward.h"

/* From the gradient of `final`, which a head has written into d_narrow, to the gradients of what is trained
 * below the head. Nothing is computed that leads to no trained parameter: no gradient of a frozen one, and no
 * step below the last one. */
tv_status tv_backward(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                      const tv_model_inputs *inputs);
/* The same, with a call whenever the gradients of more parameters are what they will be: all from position
 * `index` of the list on. The last call says 0. */
typedef tv_status (*tv_gradients_finished)(void *context, tv_recorder *recorder, uint32_t index);
tv_status tv_backward_telling(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                              const tv_model_inputs *inputs, tv_gradients_finished finished, void *context);

#endif
