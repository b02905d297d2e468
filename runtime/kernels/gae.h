/* Rewards with the KL penalty, generalised advantage estimation (Schulman et al. 2015) and whitening, over
 * the sequences of a rollout.
 *
 * A rollout is (S, T): one sequence per row of T, and of each the rows that predict its response, in one run.
 * Everything lies at the row that predicts the token. Sums have a fixed order; a sequence's results before
 * whitening depend on itself alone.
 */
#ifndef TV_KERNELS_GAE_H
#define TV_KERNELS_GAE_H

#include "kernels/launch.h"
#include "push_constants.h"
#include "sizes.h" /* columns of the sums */

typedef struct tv_gae {
    uint64_t sequences, tokens; /* S, T */
    uint32_t estimator;         /* TV_KL_1, _2, _3 (push_constants.h) */
    float gamma, lambda;
    bool whiten;            /* A = (A - mean) / sqrt(var + 1e-8) over the response tokens of all sequences */
    tv_tensor extents;      /* (S) struct tv_gae_extent: response rows and score of each sequence */
    tv_tensor beta;         /* (1) fp32: the KL coefficient, which an adaptive controller changes */
    tv_tensor old_logprobs; /* (S, T) */
    tv_tensor ref_logprobs; /* (S, T) of the frozen reference */
    tv_tensor values;       /* (S, T); 0 outside the response afterwards */
    tv_tensor advantages;   /* (S, T) out, 0 outside the response */
    tv_tensor returns;      /* (S, T) out: A + V before whitening, 0 outside the response */
    tv_tensor sums;         /* (S, TV_GAE_SUMS) out */
    tv_tensor totals;       /* (TV_GAE_SUMS) out: sums over the sequences */
    tv_tensor scratch;      /* tv_gae_scratch(S) bytes */
} tv_gae;
tv_status tv_gae_record(tv_recorder *recorder, const tv_gae *gae);
uint64_t tv_gae_scratch(uint64_t sequences);

#endif
