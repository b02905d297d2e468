/* A model on a device: its weights, each in its type of storage, and, for training, gradients and AdamW's
 * moments of what is trained, with fp32 masters where the weights are narrower.
 *
 * Promise: the bytes that tv_model_measure states are the bytes that tv_model_create allocates; a parameter
 * that is not trained takes the bytes of its weights alone. Gradients lie in the order in which the backward
 * pass finishes them. Tensors are addressed by role and layer; an absent role gives an absent tensor, and so
 * does the gradient of what is not trained.
 */
#ifndef TV_MODEL_MODEL_H
#define TV_MODEL_MODEL_H

#include "kernels/launch.h"
#include "model/parameters.h"

typedef struct tv_model tv_model;

/* Bytes of device memory by purpose. */
typedef struct tv_model_bytes {
    uint64_t parameters; /* in their types of storage */
    uint64_t masters, gradients, moments;
} tv_model_bytes;

/* What a model takes on a device of these caps. `train`: with gradients and moments. TV_E_FIT when a tensor
 * is larger than any buffer. */
tv_status tv_model_measure(const tv_parameter_list *list, const tv_caps *caps, bool train,
                           tv_model_bytes *bytes);
/* The same for tv_model_create_over a model of the list `base`. */
tv_status tv_model_measure_over(const tv_parameter_list *base, const tv_parameter_list *list,
                                const tv_caps *caps, bool train, tv_model_bytes *bytes);

/* Parameters start as zeros. `list` is kept by reference and must outlive the model. */
tv_status tv_model_create(tv_device *device, const tv_parameter_list *list, bool train, tv_model **model);
/* A model that shares the weights of `base` (of the same body) by reference count, so that either may be
 * destroyed first. What `list` trains, or `base` lacks, such as another head, is the new model's own; it
 * starts as a copy of what `base` holds, or as zeros. */
tv_status tv_model_create_over(const tv_model *base, const tv_parameter_list *list, bool train,
                               tv_model **model);
void tv_model_destroy(tv_model **model);

/* Fills every parameter: from a source, asked piece by piece in order, or drawn by GPT-2's initialisation.
 * Moments start as zeros. What is shared with a base is not touched. */
tv_status tv_model_fill(tv_model *model, tv_parameter_source source, void *context);
tv_status tv_model_initialise(tv_model *model, uint64_t seed);
/* A tv_parameter_source over a tv_model: reads its parameters back from the device, masters where there are
 * some, in any type that weights are stored in. */
tv_status tv_model_source(void *model, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                          void *out);

tv_device *tv_model_device(const tv_model *model);
const tv_parameter_list *tv_model_list(const tv_model *model);

/* By position in the list; TV_NO_PARAMETER gives an absent tensor. The second form looks the position up. */
tv_tensor tv_model_parameter_at(const tv_model *model, uint32_t index);
tv_tensor tv_model_gradient_at(const tv_model *model, uint32_t index);
tv_tensor tv_model_parameter(const tv_model *model, tv_parameter_role role, uint32_t layer);
tv_tensor tv_model_gradient(const tv_model *model, tv_parameter_role role, uint32_t layer);

/* What an optimizer step changes, in the order of the list. */
enum { TV_MOMENTS = 2 };
typedef struct tv_trainable {
    const tv_parameter *parameter;
    tv_tensor weights;  /* what the passes read, in parameter->storage */
    tv_tensor master;   /* fp32, which the optimizer changes; absent: weights is fp32 itself */
    tv_tensor gradient; /* fp32; with sums of groups, the sum */
    /* AdamW's first and second, fp32 or, as TV_U32, tv_moment8_words; the second is absent with Muon */
    tv_tensor moments[TV_MOMENTS];
} tv_trainable;
/* 0 without `train`. */
uint32_t tv_model_trainable_count(const tv_model *model);
tv_trainable tv_model_trainable(const tv_model *model, uint32_t number);
/* Where a step's gradients are sums of groups: makes place for the sums beside the gradients, as many bytes
 * again, once. From then on the passes write a group's gradients, tv_model_record_group adds them to the sums
 * and makes them 0, and tv_trainable.gradient is the sum. */
tv_status tv_model_keep_sums(tv_model *model);
bool tv_model_has_sums(const tv_model *model);
/* Where the gradients lie, buffer by buffer; absent behind the last. */
tv_span tv_model_gradient_block(const tv_model *model, uint32_t block);
tv_status tv_model_record_group(tv_recorder *recorder, const tv_model *model);
/* Whether something before parameter `index` of the list is trained, so that the backward pass must go on to
 * there; the count of the list asks for anything at all. */
bool tv_model_flows_below(const tv_model *model, uint32_t index);
/* Whether anything below the head is trained, to which the gradient of `final` leads. */
bool tv_model_flows_below_head(const tv_model *model);

/* ---- tables of positions, shared with a base ---- */

/* Makes them long enough for sequences of `tokens`: trainers and decoders ask for what they need, so that
 * they are as long as what is computed and not as what the model has positions for. Longer ones come beside
 * those that recorded work goes on with, and are twice as long at least. TV_E_CONFIG over max_positions. */
tv_status tv_model_need_context(const tv_model *model, uint64_t tokens);
/* Bytes of the first ones that a model makes for so many tokens; 0 with learned positions. */
uint64_t tv_model_table_bytes(const tv_model_config *config, uint64_t tokens);
/* The tokens of a sequence that they serve; with learned positions max_positions. */
uint64_t tv_model_context(const tv_model *model);
/* Cosines and sines of a layer's rotary positions (context, D/2, 2); absent with learned positions. */
tv_tensor tv_model_rotary_table(const tv_model *model, uint64_t layer);

#endif
