/* Losses that learn from what people prefer: of scalar values (reward models) and of log-probabilities (DPO).
 *
 * Gradients are those of the mean over groups: times loss_scale. Statistics are per group, before loss_scale,
 * to be added up with tv_sum_rows; an absent group adds nothing. A group's results depend on itself alone.
 * What has one number per row (N) is bound whole.
 */
#ifndef TV_KERNELS_PREFERENCE_H
#define TV_KERNELS_PREFERENCE_H

#include "base/tokens.h"
#include "kernels/launch.h"
#include "push_constants.h"
#include "sizes.h" /* columns of the statistics */

/* TV_PREFERENCE_PAIRS      the mean over the group's pairs of -log sigmoid(r_c - r_r - margin) + center (r_c
 * + r_r)^2; two members of equal rank are a pair with the soft target 1/2 and no margin TV_PREFERENCE_KWISE
 * the mean of the same over the strict pairs only (Ouyang et al. 2022) TV_PREFERENCE_LISTWISE Plackett-Luce:
 * the sum over the members i above the last rank of logsumexp(r_i and all ranked strictly below it) - r_i;
 * margin and center do not enter */
typedef struct tv_preference_loss {
    uint64_t groups, group_size; /* G, K: 2 to TV_PREFERENCE_MEMBERS */
    uint64_t rows;               /* N */
    uint32_t mode;               /* TV_PREFERENCE_PAIRS, _KWISE, _LISTWISE (push_constants.h) */
    float center;
    tv_tensor
        members; /* (G, K) uint32: the row of each member's value, no row twice; TV_IGNORED_TARGET: none */
    tv_tensor ranks;    /* (G, K) uint32: lower is better, equal is a tie */
    tv_tensor margins;  /* (G) fp32 */
    tv_tensor values;   /* (N) */
    tv_tensor step;     /* struct tv_step_constants: loss_scale */
    tv_tensor d_values; /* (N) out: 0 where no member is; absent: no gradient */
    tv_tensor stats;    /* (G, TV_PREFERENCE_STATS) out */
} tv_preference_loss;
tv_status tv_preference_loss_record(tv_recorder *recorder, const tv_preference_loss *loss);

/* What a pair of responses costs (shaders/preference/dpo.comp): their scores, the function of the difference,
 * and the weights of that function of x and of -x. -log sigmoid(beta ((lp_c - ref_c) - (lp_r - ref_r))) of
 * Rafailov et al. 2023 is {TV_DPO_SCORE_SUM, TV_DPO_COST_LOGISTIC, .beta = beta, .agree = 1}. */
typedef struct tv_dpo_loss {
    bool alone;           /* of a pair one response is there, and takes the place of two in a batch (KTO) */
    uint32_t score, cost; /* TV_DPO_SCORE_*, TV_DPO_COST_* (push_constants.h) */
    float beta, margin;   /* x = beta (score_c - score_r) - margin; a tie has no margin */
    float agree, differ;  /* weights of the cost of x and of -x */
    float nll;            /* weight of the chosen response's negative log-likelihood per token */
} tv_dpo_loss;

/* A pair's target t between 0 and 1 mixes the loss with that of the pair turned round: 1 for a preference,
 * 1/2 for a tie. */
typedef struct tv_dpo {
    uint64_t pairs, rows; /* P, N */
    tv_dpo_loss loss;
    tv_tensor table;      /* (P) struct tv_dpo_pair: rows of the responses, reference sums, target, weight */
    tv_tensor logprobs;   /* (N) */
    tv_tensor step;       /* struct tv_step_constants: loss_scale */
    tv_tensor d_logprobs; /* (N) out: 0 outside the responses; absent: no gradient */
    tv_tensor stats;      /* (P, TV_DPO_STATS) out */
} tv_dpo;
tv_status tv_dpo_record(tv_recorder *recorder, const tv_dpo *dpo);

#endif
