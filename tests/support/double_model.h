/* The loss of a language model in double precision, with plain loops over the oracles: what finite
 * differences want, whose steps would drown in the roundings of floats.
 *
 * Knows what GPT-2 and the Llama ask for (both norms, learned and rotary positions, GELU and SwiGLU, biases,
 * grouped queries, a tied head), and adapters beside any matrix: y = x W^T + b + scale (x A^T) B^T, written
 * from the papers. Fails a test by the name of a switch that it does not know.
 */
#ifndef TV_TESTS_DOUBLE_MODEL_H
#define TV_TESTS_DOUBLE_MODEL_H

#include "support/language_model.h"

/* Mean loss over the batch, all of whose targets count; `flat` is as in language_model.h. */
double tv_test_double_loss(const tv_parameter_list *list, const tv_test_batch *batch, const double *flat);

#endif
