/* LoRA: y = x W^T + scale (x A^T) B^T beside a frozen matrix W (Hu et al. 2021; rsLoRA: Kalajdzievski 2023).
 *
 * A (r, in) and B (out, r) are parameters of the model's own list (parameters.h), behind the matrix that they
 * add to. A matrix whose rows are several published ones (q, k, v; gate, up) has an A and a B for each of
 * these, which adds to its columns of y. x A^T is not kept for the backward pass but computed again there:
 * 2 N in r FLOPs, against N r floats for each target of each layer.
 */
#ifndef TV_MODEL_ADAPTERS_H
#define TV_MODEL_ADAPTERS_H

#include "model/activations.h"

/* A product of forward.c or backward.c, beside which the adapters of its matrix are recorded; nothing is
 * where it has none. */
typedef struct tv_adapted {
    const tv_model *model;
    const tv_activations *activations;
    tv_parameter_role weight;
    uint32_t layer;
    uint64_t in, out; /* of the whole matrix */
} tv_adapted;

/* y (N, out) += scale (x A^T) B^T; x (N, in). */
tv_status tv_adapters_forward(tv_recorder *recorder, const tv_adapted *product, tv_tensor x, tv_tensor y);

/* With t = x A^T and d_t = scale d_y B: d_A += d_t^T x, d_B += scale d_y^T t, d_x += d_t A. Gradients that
 * the model does not have and an absent d_x are left out. */
tv_status tv_adapters_backward(tv_recorder *recorder, const tv_adapted *product, tv_tensor x, tv_tensor d_y,
                               tv_tensor d_x);

#endif
