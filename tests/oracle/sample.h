/* Double-precision references of the draw. */
#ifndef TV_ORACLE_SAMPLE_H
#define TV_ORACLE_SAMPLE_H

#include <stdint.h>

/* What each token is drawn with: softmax(logits / temperature), of it the k largest (0: all), of them the
 * smallest set that reaches p, both with ties, renormalised. */
void oracle_sample_probabilities(uint64_t vocab, const float *logits, double temperature, uint64_t top_k,
                                 double top_p, double *probabilities);

/* log softmax(logits / temperature)[token] */
double oracle_sample_logprob(uint64_t vocab, const float *logits, double temperature, uint64_t token);

#endif
