/* The losses of PPO per token (Schulman et al. 2017), with their gradients and what a step reports of them.
 *
 * Rows whose target is ignored (prompt, padding) get gradient 0 and zeros in every statistic, whatever else
 * lies there. Gradients are those of the mean over tokens: times loss_scale. Statistics are per row, before
 * loss_scale, to be added up with tv_sum_rows.
 */
#ifndef TV_KERNELS_PPO_H
#define TV_KERNELS_PPO_H

#include "base/tokens.h"
#include "kernels/launch.h"
#include "sizes.h" /* columns of the statistics */

typedef struct tv_ppo_policy {
    uint64_t rows;
    float clip;
    tv_tensor targets;      /* (rows) uint32: which rows count */
    tv_tensor logprobs;     /* (rows) of the policy as it is */
    tv_tensor old_logprobs; /* (rows) of the policy that drew the tokens */
    tv_tensor advantages;   /* (rows) */
    tv_tensor entropies;    /* (rows) */
    tv_tensor step;         /* struct tv_step_constants: loss_scale */
    tv_tensor d_logprobs;   /* (rows) out */
    tv_tensor stats;        /* (rows, TV_PPO_POLICY_STATS) out */
} tv_ppo_policy;
/* log rho is taken within +-40 for rho: beyond that a ratio means nothing, and its square would overflow. */
tv_status tv_ppo_policy_record(tv_recorder *recorder, const tv_ppo_policy *policy);

typedef struct tv_ppo_value {
    uint64_t rows;
    float clip;           /* eps; 0: not clipped */
    float coefficient;    /* c_v, of the gradient */
    tv_tensor targets;    /* (rows) uint32: which rows count */
    tv_tensor values;     /* (rows) V' */
    tv_tensor old_values; /* (rows) V */
    tv_tensor returns;    /* (rows) R */
    tv_tensor step;       /* struct tv_step_constants: loss_scale */
    tv_tensor d_values;   /* (rows) out */
    tv_tensor stats;      /* (rows, TV_PPO_VALUE_STATS) out */
} tv_ppo_value;
tv_status tv_ppo_value_record(tv_recorder *recorder, const tv_ppo_value *value);

#endif
