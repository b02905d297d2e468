/* Double-precision reference of log-probabilities under a temperature, their entropy and their gradient. */
#ifndef TV_ORACLE_LOGPROBS_H
#define TV_ORACLE_LOGPROBS_H

#include <stdint.h>

/* logits: (rows, V); targets: (rows), UINT32_MAX is ignored; logprobs, entropies: (rows), of the distribution
 * p_v proportional to exp(logits_v / tau). */
void oracle_token_logprobs(uint64_t rows, uint64_t vocab, double tau, const float *logits,
                           const uint32_t *targets, double *logprobs, double *entropies);

/* d_logits: (rows, V) = the derivative of sum_r d_logprobs[r] logprobs[r]. */
void oracle_token_gradient(uint64_t rows, uint64_t vocab, double tau, const float *logits,
                           const uint32_t *targets, const float *d_logprobs, double *d_logits);

#endif
