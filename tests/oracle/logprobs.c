/* Double-precision reference of log-probabilities: see logprobs.h. */
#include "oracle/logprobs.h"

#include <math.h>

static double log_sum_exp(const float *row, uint64_t vocab, double tau) {
    double largest = -INFINITY, sum = 0;
    for (uint64_t v = 0; v < vocab; v++)
        largest = fmax(largest, (double)row[v] / tau);
    for (uint64_t v = 0; v < vocab; v++)
        sum += exp((double)row[v] / tau - largest);
    return largest + log(sum);
}

void oracle_token_logprobs(uint64_t rows, uint64_t vocab, double tau, const float *logits,
                           const uint32_t *targets, double *logprobs, double *entropies) {
    for (uint64_t r = 0; r < rows; r++) {
        const float *row = logits + r * vocab;
        logprobs[r] = entropies[r] = 0;
        if (targets[r] == UINT32_MAX)
            continue;
        double lse = log_sum_exp(row, vocab, tau);
        logprobs[r] = (double)row[targets[r]] / tau - lse;
        for (uint64_t v = 0; v < vocab; v++) {
            double log_p = (double)row[v] / tau - lse, p = exp(log_p);
            entropies[r] -= p > 0 ? p * log_p : 0;
        }
    }
}

void oracle_token_gradient(uint64_t rows, uint64_t vocab, double tau, const float *logits,
                           const uint32_t *targets, const float *d_logprobs, double *d_logits) {
    for (uint64_t r = 0; r < rows; r++) {
        const float *row = logits + r * vocab;
        int counts = targets[r] != UINT32_MAX;
        double lse = counts ? log_sum_exp(row, vocab, tau) : 0;
        for (uint64_t v = 0; v < vocab; v++) {
            double p = counts ? exp((double)row[v] / tau - lse) : 0;
            d_logits[r * vocab + v] =
                counts ? (double)d_logprobs[r] / tau * ((v == targets[r] ? 1 : 0) - p) : 0;
        }
    }
}
