/* The policy's loss where answers to one prompt are compared with each other (GRPO and its kin), per token,
 * with its gradient and what a step reports of it.
 *
 * Rows whose target is ignored (prompt, padding, what is masked) get gradient 0 and zeros in every statistic,
 * whatever else lies there. How the terms of answers are weighed is in the table's weights. Statistics are
 * per row, before loss_scale, to be added up with tv_sum_rows.
 */
#ifndef TV_KERNELS_GROUP_H
#define TV_KERNELS_GROUP_H

#include "base/tokens.h"
#include "kernels/launch.h"
#include "push_constants.h"
#include "sizes.h" /* columns of the statistics */

typedef struct tv_group_policy {
    uint64_t rows;
    uint32_t mode; /* TV_GROUP_CLIP, TV_GROUP_CISPO (push_constants.h) */
    float clip_low, clip_high, beta;
    tv_tensor targets;         /* (rows) uint32: which rows count */
    tv_tensor logprobs;        /* (rows) of the policy as it is */
    tv_tensor entropies;       /* (rows) */
    tv_tensor sequence_ratios; /* (rows) log rho of each row's sequence; absent: a row has its own */
    tv_tensor table;           /* (rows) struct tv_group_row */
    tv_tensor step;            /* struct tv_step_constants: loss_scale */
    tv_tensor d_logprobs;      /* (rows) out */
    tv_tensor stats;           /* (rows, TV_GROUP_STATS) out */
} tv_group_policy;
tv_status tv_group_policy_record(tv_recorder *recorder, const tv_group_policy *policy);

/* The mean of lp - lp_old over each sequence's rows that count (GSPO). */
typedef struct tv_group_sequence {
    uint64_t sequences, tokens; /* S, T */
    tv_tensor targets;          /* (S, T) uint32 */
    tv_tensor logprobs;         /* (S, T) */
    tv_tensor table;            /* (S, T) struct tv_group_row */
    tv_tensor sequence_ratios;  /* (S, T) out */
} tv_group_sequence;
tv_status tv_group_sequence_record(tv_recorder *recorder, const tv_group_sequence *sequence);

#endif
