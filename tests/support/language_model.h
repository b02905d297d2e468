/* A language model on a device with one batch, for tests of losses and gradients without a trainer.
 *
 * Parameters and gradients travel as one flat array of list->elements floats, in the order of the list.
 * Inputs lie between guard bands (device.h), which every loss and gradient checks.
 */
#ifndef TV_TESTS_LANGUAGE_MODEL_H
#define TV_TESTS_LANGUAGE_MODEL_H

#include "support/device.h"

#include "model/activations.h"

typedef struct tv_test_batch {
    uint64_t batch, tokens;               /* B, T */
    const uint32_t *token, *target;       /* (B, T) */
    const uint32_t *position, *doc_start; /* (B, T); NULL: absent */
} tv_test_batch;

typedef struct tv_test_language_model {
    tv_device *device;
    const tv_parameter_list *list;
    tv_model *model;
    tv_activations *activations;
    tv_test_tensor tokens, targets, positions, doc_start, constants, losses;
    uint64_t valid; /* targets that count */
    uint32_t *target;
    tv_recording *forward, *train;
} tv_test_language_model;

/* `list` outlives it. Parameters are zeros. Gradients are of the mean over valid targets. */
tv_test_language_model tv_test_language_model_create(tv_device *device, const tv_parameter_list *list,
                                                     const tv_test_batch *batch, bool recompute);
void tv_test_language_model_free(tv_test_language_model *lm);

/* Parameters at which no term of the model is small: embeddings of deviation 0.4, matrices of
 * 1/sqrt(columns), gains 1 + 0.3 N(0,1), biases 0.3 N(0,1). */
void tv_test_draw_parameters(const tv_parameter_list *list, uint64_t seed, float *flat);
void tv_test_set_parameters(const tv_test_language_model *lm, const float *flat);
void tv_test_get_parameters(const tv_test_language_model *lm, float *flat);

/* Mean loss over valid targets, summed on the host in double; the row losses (B, T) into `rows` unless
 * NULL. */
double tv_test_loss(const tv_test_language_model *lm, float *rows);
/* Forward, loss and backward: gradients from zero into `flat`. */
void tv_test_gradients(const tv_test_language_model *lm, float *flat);
/* What the gradients stand at; 0 where a parameter has none. */
void tv_test_get_gradients(const tv_test_language_model *lm, float *flat);

/* Logits of every row of a batch of (B, T) tokens: (B T, V), which the caller frees. */
float *tv_test_all_logits(const tv_model *model, const uint32_t *tokens, uint64_t batch, uint64_t length);

/* Where parameter `index` starts in a flat array. */
uint64_t tv_test_flat_offset(const tv_parameter_list *list, uint32_t index);
/* |a - b| / |b| over `count` elements. */
double tv_test_relative_distance(const float *a, const float *b, uint64_t count);

#endif
