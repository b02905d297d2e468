/* A model on a device: its weights, each in its type of storage, and, for training, gradients and AdamW's
 * moments of what is trained, with fp32 masters where the weights are narrower.
 *
 * Promise: the bytes that tv_model_measure states are the bytes that tv_model_create allocates; a parameter
 * that is not trained takes the bytes of its weights alone. Where a list has several owners masters, moments
 * and sums are those of this one's stretches. Gradients lie in the order in which the backward
 * pass finishes them, and so do the errors of groups that are rounded, at half the offset. Tensors are
 * addressed by role and layer; an absent role gives an absent tensor, and so does the gradient of what is not
 * trained.
 */
#ifndef TV_MODEL_MODEL_H
#define TV_MODEL_MODEL_H

#include "kernels/launch.h"
#include "model/parameters.h"
#include "model/stretches.h"

typedef struct tv_model tv_model;

/* Of gradients and sums, so that what has 16 bits for each of their elements is aligned too. */
#define TV_GRADIENT_ALIGNMENT (2 * TV_TENSOR_ALIGNMENT)

/* Bytes of device memory by purpose. */
typedef struct tv_model_bytes {
    uint64_t parameters; /* in their types of storage */
    uint64_t masters, gradients, moments;
    uint64_t sums;   /* of groups' gradients, where they are kept */
    uint64_t errors; /* of one group's rounding, where they are kept */
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

/* What an optimizer step of this process changes, in the order of the list: parameters, or where the list has
 * several owners its own stretches of them. */
enum { TV_MOMENTS = 2 };
typedef struct tv_trainable {
    const tv_parameter *parameter;
    uint64_t first, count; /* elements of the parameter, which all the tensors have */
    tv_tensor weights;     /* what the passes read, in parameter->storage */
    tv_tensor master;      /* fp32, which the optimizer changes; absent: weights is fp32 itself */
    tv_tensor gradient;    /* fp32; with sums of groups, the sum */
    /* AdamW's first and second, fp32 or, as TV_U32, tv_moment8_words; the second is absent with Muon */
    tv_tensor moments[TV_MOMENTS];
} tv_trainable;
/* 0 without `train`. */
uint32_t tv_model_trainable_count(const tv_model *model);
tv_trainable tv_model_trainable(const tv_model *model, uint32_t number);
/* What is trained, by all owners; NULL without `train`. */
const tv_stretches *tv_model_stretches(const tv_model *model);
/* Of a stretch, also of another owner: its weights, as the passes read them, and its gradient, of one group
 * where there are sums. */
tv_tensor tv_model_stretch_weights(const tv_model *model, const tv_stretch *stretch);
tv_tensor tv_model_stretch_gradient(const tv_model *model, const tv_stretch *stretch);
/* What others keep, for whoever writes it: `which` is a moment, TV_MOMENTS for masters, or from
 * TV_STATE_ERRORS on the error of each group; bytes [first, first + bytes) of it. */
enum { TV_STATE_ERRORS = TV_MOMENTS + 1 };
typedef tv_status (*tv_state_source)(void *context, uint32_t stretch, uint32_t which, uint64_t first,
                                     uint64_t bytes, void *out);
/* NULL, as at the beginning: nobody can be asked. Then tv_model_source gives masters of others as the weights
 * hold them, and tv_model_state fails. */
void tv_model_set_state_source(tv_model *model, tv_state_source source, void *context);
/* Bytes of a moment, the master or an error of `count` elements of a trained parameter; 0 where it has none.
 */
uint64_t tv_model_state_bytes(const tv_parameter *parameter, uint32_t which, uint64_t count);
/* The same of any stretch, from the device or from that source. */
tv_status tv_model_state(const tv_model *model, uint32_t stretch, uint32_t which, uint64_t first,
                         uint64_t bytes, void *out);
/* The number of a stretch among tv_model_trainable's; UINT32_MAX where it is another's. */
uint32_t tv_model_stretch_own(const tv_model *model, uint32_t stretch);
/* Where a step's gradients are sums of groups: makes place for the sums beside the gradients, of as many
 * bytes as tv_model_bytes says, once. From then on the passes write a group's gradients,
 * tv_model_record_group adds them to the sums and makes them 0, and tv_trainable.gradient is the sum. */
tv_status tv_model_keep_sums(tv_model *model);
bool tv_model_has_sums(const tv_model *model);
/* With one owner. `state` (struct tv_update_state) present: rounded, as tv_group_round does. */
tv_status tv_model_record_group(tv_recorder *recorder, const tv_model *model, tv_tensor state);

/* Where groups are rounded before they are added (kernels/group_add.h): makes place for the errors of this
 * process's groups, every one of `groups` whose number modulo the owners is its own, as zeros, once. Of one
 * group the errors lie where the rounding takes them; of several tv_model_record_errors brings those of the
 * process's nth group there, before the group ends, and keeps them, after it. */
tv_status tv_model_keep_errors(tv_model *model, uint64_t groups);
/* Of all processes; 0 where errors are not kept. */
uint64_t tv_model_error_groups(const tv_model *model);
/* Bytes, of so many groups. */
uint64_t tv_model_error_bytes(const tv_model_bytes *bytes, uint64_t own_groups);
tv_status tv_model_record_errors(tv_recorder *recorder, const tv_model *model, uint64_t nth, bool keep);
/* The errors of gradients (a span of one of the arena's blocks) where the rounding takes them. */
tv_tensor tv_model_error_of(const tv_model *model, tv_span gradients);
/* Those that are kept of a parameter in one of `groups`; absent where another process keeps them. */
tv_tensor tv_model_error_at(const tv_model *model, uint32_t index, uint64_t group);
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
