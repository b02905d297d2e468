/* What C and GLSL both count with: tiles of kernels, and columns of the statistics that kernels leave behind.
 *
 * Sizes of workgroups stand in kernels.def, which gives them to the shaders as TV_LOCAL_SIZE.
 */
#ifndef TV_SIZES_H
#define TV_SIZES_H

/* ---- tiles ---- */

/* matmul.comp: rows and columns of a workgroup, in its variants of 64 and 128. */
#define TV_MATMUL_TILE       64
#define TV_MATMUL_LARGE_TILE 128
/* Of k, in matmul.comp and matmul_rows.comp: each slice's sum begins at 0. A multiple of all their steps. */
#define TV_MATMUL_SLICE 512
/* matmul_cm.comp: of k, from memory to shared memory at once. */
#define TV_MATMUL_CM_STEP 32
/* matmul_cm_rows.comp: rows and columns of a workgroup. */
#define TV_MATMUL_CM_SIDE 16
/* Lanes of the CPU variants, which hand values round a subgroup of exactly so many; 16 in the variants for
 * wide vectors, which kernels.def gives another value. */
#ifndef TV_CPU_LANES
#define TV_CPU_LANES 8
#endif
#define TV_CPU_LANES_WIDE 16
/* matmul_cpu.comp: rows of a tile where a variant's TV_ROWS says nothing else, and columns for each lane. */
#define TV_MATMUL_CPU_ROWS 16
#define TV_MATMUL_CPU_EACH 2
/* matmul_texels.comp: rows of a tile by the lanes, and columns for each lane: always four where a texel
 * is four columns, as in A^T B. */
#define TV_MATMUL_TEXEL_ROWS(lanes)       ((lanes)*2)
#define TV_MATMUL_TEXEL_EACH(lanes, four) ((lanes) == 8 || (four) == 1 ? 4 : 2)
/* matmul_rows.comp: most rows, and columns of a workgroup. */
#define TV_MATMUL_FEW_ROWS    8
#define TV_MATMUL_FEW_COLUMNS 8

/* Channels that a CPU variant of attention holds: wider heads take several workgroups. */
#define TV_ATTENTION_LANES_PART 64
/* Channels that are padded and unrolled together there. */
#define TV_ATTENTION_CHUNK 8
/* Rows of a GPU tile of attention for each of an invocation's own rows. */
#define TV_ATTENTION_TILE_ROWS 16
/* Of a workgroup of its kernels on matrices, and rows of a workgroup. */
#define TV_ATTENTION_SUBGROUPS   4
#define TV_ATTENTION_MATRIX_ROWS 64

/* column_sums.comp: gradients that one dispatch adds to; its push constants take no more. */
#define TV_COLUMN_SUMS 10

/* adamw.comp: vectors of an invocation. */
#define TV_ADAMW_VECTORS 4
/* narrow.comp: words, or pairs of blocks, of an invocation. */
#define TV_NARROW_EACH 4
/* adamw8.comp: elements of a block, which shares an exponent; of a piece of blocks, which a workgroup takes;
 * words of a piece: codes, then exponents. */
#define TV_MOMENT_BLOCK 256
#define TV_MOMENT_PIECE 4096
/* A float's, with its bias: below the least one squares leave fp32; none is above the most, since gradients
 * whose norm is above 2^63 update nothing. */
#define TV_MOMENT_LEAST_EXPONENT 65
#define TV_MOMENT_MOST_EXPONENT  192
#define TV_MOMENT_WORDS          (TV_MOMENT_PIECE / 4 + TV_MOMENT_PIECE / TV_MOMENT_BLOCK)

/* muon_momentum.comp, muon_apply.comp: matrices of a dispatch; push constants take no more. */
#define TV_MUON_MATRICES 14
/* Elements between the matrices of a batch, and between the sums of their blocks: what keeps bindings
 * aligned. */
#define TV_MUON_STRIDE(count) (((count) + 63) / 64 * 64)
/* muon_scale.comp: blocks of TV_REDUCE_BLOCK elements that a workgroup takes. */
#define TV_MUON_SCALE_BLOCKS 16

/* ---- columns of PPO's statistics; rho = exp(logprob - old_logprob) ---- */

#define TV_PPO_POLICY_LOSS      0 /* max(-A rho, -A clip(rho, 1 - clip, 1 + clip)) */
#define TV_PPO_APPROX_KL        1 /* 1/2 (log rho)^2 */
#define TV_PPO_CLIPPED          2 /* 1 where the clipped term is the larger one, else 0 */
#define TV_PPO_RATIO_MINUS_1    3 /* rho - 1 */
#define TV_PPO_RATIO_MINUS_1_SQ 4 /* (rho - 1)^2 */
#define TV_PPO_ENTROPY          5 /* of the policy's distribution */
#define TV_PPO_POLICY_STATS     6

#define TV_PPO_VALUE_LOSS    0 /* 1/2 max((V' - R)^2, (clip(V', V - eps, V + eps) - R)^2), before vf_coef */
#define TV_PPO_VALUE_CLIPPED 1 /* 1 where the clipped term is the larger one, else 0 */
#define TV_PPO_VALUE_STATS   2

/* ---- columns of the sums over a sequence ---- */

#define TV_GAE_KL               0 /* kl_t by the chosen estimator */
#define TV_GAE_ENTROPY          1 /* -lp_old */
#define TV_GAE_NON_SCORE_REWARD 2 /* -beta kl_t */
#define TV_GAE_LOG_RATIO        3 /* lp_old - lp_ref: the estimator k1, whatever was chosen */
#define TV_GAE_ADVANTAGE        4 /* before whitening */
#define TV_GAE_TOKENS           5 /* response tokens */
#define TV_GAE_RETURN           6
#define TV_GAE_UNUSED           7
#define TV_GAE_SUMS             8

/* ---- columns of the statistics of a group of preferences ---- */

#define TV_PREFERENCE_LOSS 0
#define TV_PREFERENCE_ACCURACY                                                                               \
    1 /* share of the strict pairs whose better member has the higher value; equal ones half */
#define TV_PREFERENCE_MARGIN 2 /* mean value of the better minus the worse over the strict pairs */
#define TV_PREFERENCE_STRICT                                                                                 \
    3 /* 1 where the group has a strict pair: what accuracy and margin are means over */
#define TV_PREFERENCE_VALUES 4 /* sum of the members' values */
#define TV_PREFERENCE_COUNT  5 /* members */
#define TV_PREFERENCE_LEAST  6 /* smallest value */
#define TV_PREFERENCE_MOST   7 /* largest value */
#define TV_PREFERENCE_STATS  8

/* ---- columns of the statistics of a pair of DPO ---- */

#define TV_DPO_LOSS             0 /* times the pair's weight, as the rest is not */
#define TV_DPO_CHOSEN           1 /* beta times the score of the chosen response */
#define TV_DPO_REJECTED         2 /* the same of the rejected one */
#define TV_DPO_MARGIN           3 /* chosen - rejected */
#define TV_DPO_ACCURACY         4 /* 1 where the margin is above 0, 1/2 where it is 0 */
#define TV_DPO_CHOSEN_LOGPROB   5
#define TV_DPO_REJECTED_LOGPROB 6
#define TV_DPO_NLL              7 /* of the chosen response, per token */
#define TV_DPO_STATS            8

/* ---- columns of the statistics of losses of groups; rho as the loss takes it ---- */

#define TV_GROUP_LOSS             0 /* weighed */
#define TV_GROUP_CLIPPED_LOW      1 /* 1 where the clipped term counts and rho is too small, else 0 */
#define TV_GROUP_CLIPPED_HIGH     2 /* 1 where it counts and rho is too large, else 0 */
#define TV_GROUP_RATIO_MINUS_1    3 /* rho - 1 */
#define TV_GROUP_RATIO_MINUS_1_SQ 4 /* (rho - 1)^2 */
#define TV_GROUP_KL               5 /* from the reference, by k3; 0 with beta 0 */
#define TV_GROUP_ENTROPY          6 /* of the policy's distribution */
#define TV_GROUP_TOKENS           7 /* 1 */
#define TV_GROUP_STATS            8

#endif
