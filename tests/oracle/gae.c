/* Double-precision reference of advantage estimation: see gae.h. */
#include "oracle/gae.h"

#include <math.h>

static double divergence(int estimator, double d) {
    return estimator == 1 ? d : estimator == 2 ? d * d / 2 : expm1(-d) + d;
}

void oracle_gae(const oracle_gae_settings *s, uint64_t count, double score, const float *old_logprobs,
                const float *ref_logprobs, const float *values, double *advantages, double *returns,
                double sums[4]) {
    for (int i = 0; i < 4; i++)
        sums[i] = 0;
    for (uint64_t t = 0; t < count; t++) {
        /* The definition: A_t = sum_l (gamma lambda)^l delta_(t + l). */
        double weight = 1, advantage = 0;
        for (uint64_t u = t; u < count; u++, weight *= s->gamma * s->lambda) {
            double d = (double)old_logprobs[u] - (double)ref_logprobs[u];
            double reward = -s->beta * divergence(s->estimator, d) + (u + 1 == count ? score : 0);
            double next = u + 1 < count ? (double)values[u + 1] : 0;
            advantage += weight * (reward + s->gamma * next - (double)values[u]);
        }
        double d = (double)old_logprobs[t] - (double)ref_logprobs[t];
        advantages[t] = advantage;
        returns[t] = advantage + (double)values[t];
        sums[0] += divergence(s->estimator, d);
        sums[1] -= (double)old_logprobs[t];
        sums[2] -= s->beta * divergence(s->estimator, d);
        sums[3] += d;
    }
}

void oracle_whiten(uint64_t count, double *numbers) {
    double mean = 0, variance = 0;
    for (uint64_t i = 0; i < count; i++)
        mean += numbers[i] / (double)count;
    for (uint64_t i = 0; i < count; i++)
        variance += (numbers[i] - mean) * (numbers[i] - mean) / (double)count;
    for (uint64_t i = 0; i < count; i++)
        numbers[i] = (numbers[i] - mean) / sqrt(variance + 1e-8);
}
