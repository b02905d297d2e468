/* Double-precision reference of rewards with a KL penalty, advantages as sums of discounted residuals
 * (Schulman et al. 2015), and whitening. */
#ifndef TV_ORACLE_GAE_H
#define TV_ORACLE_GAE_H

#include <stdint.h>

typedef struct oracle_gae_settings {
    int estimator; /* 1, 2, 3 */
    double beta, gamma, lambda;
} oracle_gae_settings;

/* One response of `count` tokens; the arrays are its own. sums: kl, -lp_old, -beta kl, lp_old - lp_ref. */
void oracle_gae(const oracle_gae_settings *settings, uint64_t count, double score, const float *old_logprobs,
                const float *ref_logprobs, const float *values, double *advantages, double *returns,
                double sums[4]);

/* In place over `count` numbers, with the population's variance. */
void oracle_whiten(uint64_t count, double *numbers);

#endif
