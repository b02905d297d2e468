/* Push constants of every kernel: one header for C and GLSL, so that the two cannot disagree.
 *
 * Only 32-bit scalars, so the layouts are equal by construction; TV_PUSH_SIZE asserts the size that the build
 * also checks in the compiled shader. At most 128 bytes, the least that every device has.
 */
#ifndef TV_PUSH_CONSTANTS_H
#define TV_PUSH_CONSTANTS_H

#include "sizes.h"

#ifdef TV_GLSL
#define TV_PUSH_SIZE(type, size)
#else
#include <stdint.h>
typedef uint32_t uint;
#define TV_PUSH_SIZE(type, size)                                                                             \
    _Static_assert(sizeof(type) == (size) && (size) <= 128, #type " has another size in GLSL")
typedef struct tv_count_push tv_count_push;
typedef struct tv_embedding_push tv_embedding_push;
typedef struct tv_embedding_scatter_push tv_embedding_scatter_push;
typedef struct tv_cross_entropy_push tv_cross_entropy_push;
typedef struct tv_swiglu_push tv_swiglu_push;
typedef struct tv_norm_push tv_norm_push;
typedef struct tv_norm_partials_push tv_norm_partials_push;
typedef struct tv_head_norm_push tv_head_norm_push;
typedef struct tv_matmul_push tv_matmul_push;
typedef struct tv_matmul_slices_push tv_matmul_slices_push;
typedef struct tv_reduce_push tv_reduce_push;
typedef struct tv_muon_momentum_push tv_muon_momentum_push;
typedef struct tv_muon_scale_push tv_muon_scale_push;
typedef struct tv_muon_polynomial_push tv_muon_polynomial_push;
typedef struct tv_muon_apply_push tv_muon_apply_push;
typedef struct tv_segments_push tv_segments_push;
typedef struct tv_sample_push tv_sample_push;
typedef struct tv_sum_rows_push tv_sum_rows_push;
typedef struct tv_column_sums_push tv_column_sums_push;
typedef struct tv_rotary_push tv_rotary_push;
typedef struct tv_attention_push tv_attention_push;
typedef struct tv_attention_decode_push tv_attention_decode_push;
typedef struct tv_step_constants tv_step_constants;
typedef struct tv_update_state tv_update_state;
typedef struct tv_update_segment tv_update_segment;
typedef struct tv_sample_settings tv_sample_settings;
typedef struct tv_decode_advance_push tv_decode_advance_push;
typedef struct tv_cache_copy_push tv_cache_copy_push;
typedef struct tv_token_logprobs_push tv_token_logprobs_push;
typedef struct tv_ppo_push tv_ppo_push;
typedef struct tv_gae_push tv_gae_push;
typedef struct tv_preference_push tv_preference_push;
typedef struct tv_dpo_push tv_dpo_push;
typedef struct tv_group_push tv_group_push;
typedef struct tv_group_sequence_push tv_group_sequence_push;
typedef struct tv_gae_extent tv_gae_extent;
typedef struct tv_dpo_pair tv_dpo_pair;
typedef struct tv_group_row tv_group_row;
#endif

/* ---- structures in buffers that host and device share ---- */

/* What changes from step to step; the host writes it, the recorded work reads it. */
struct tv_step_constants {
    float lr;
    float weight_decay;
    float beta1, beta2;
    float log_beta1, log_beta2; /* natural logarithms, so that 1 - beta^t keeps its digits */
    float eps;
    float grad_clip;        /* 0: none */
    float loss_scale;       /* 1 / valid targets of the whole accumulated batch; 0 when there is none. Behind
                               loss_scale.comp times the state's */
    float momentum;         /* Muon's decay of its moment */
    float muon_rms;         /* mean size of Muon's update, before lr */
    uint loss_scale_growth; /* updates in a row after which the state's loss scale doubles; 0: it is fixed */
};
TV_PUSH_SIZE(struct tv_step_constants, 48);

/* What the update leaves behind; the device writes it, the host reads it when the step is done. */
struct tv_update_state {
    uint applied;        /* updates applied so far: AdamW's t */
    uint skipped;        /* updates skipped so far, because the gradient was not finite */
    uint skipped_in_row; /* of them, without one applied in between; not those that halved the loss scale */
    uint finite;         /* 1: this update is applied */
    float grad_norm;     /* before clipping */
    float clip_scale;    /* what AdamW and Muon multiply gradients with: clipped, without the loss scale */
    float loss_scale;    /* what gradients are scaled with, so that 16 bits hold the small ones; 0: 1 */
    uint good_steps;     /* updates applied since it last changed */
};
TV_PUSH_SIZE(struct tv_update_state, 32);

/* Bounds of a loss scale that moves. */
#define TV_LOSS_SCALE_LEAST   1.0
#define TV_LOSS_SCALE_LARGEST 16777216.0

/* A contiguous part of a trained tensor in a dispatch over many. Where it begins is told in elements, from
 * the beginning of each binding on. */
struct tv_update_segment {
    uint first_group; /* the workgroup that begins it */
    uint count;       /* elements */
    uint parameter, gradient, m, v;
    uint decay;        /* 1: weight decay applies */
    uint partial;      /* of the norm: where the first block's pair goes */
    uint padding;      /* of the norm: floats set to 0 behind the last pair */
    uint number;       /* of the parameter in its list */
    uint first_vector; /* where in the tensor it begins, in fours */
    uint weights;      /* narrower ones: words from the beginning of their binding on */
    uint columns;      /* of their rows */
};
TV_PUSH_SIZE(struct tv_update_segment, 52);

struct tv_sample_settings {
    uint seed_low, seed_high;
    float temperature; /* 0: greedy */
    uint top_k;        /* 0: all */
    float top_p;       /* 1: all */
};
TV_PUSH_SIZE(struct tv_sample_settings, 20);

/* Why a row of a decoder stands still. */
#define TV_DECODE_RUNNING     0
#define TV_DECODE_END_OF_TEXT 1
#define TV_DECODE_LENGTH      2

/* Drawn tokens of a row that the device keeps for the host: as many steps pass at most between two looks. */
#define TV_DECODE_RECENT 64

/* Estimators of the KL divergence from samples, of d = lp_old - lp_ref. */
#define TV_KL_1 1 /* d */
#define TV_KL_2 2 /* d^2 / 2 */
#define TV_KL_3 3 /* e^-d - 1 + d */

/* One sequence of a rollout: the rows that predict its response and what the reward model gave. */
struct tv_gae_extent {
    uint first, count; /* rows of its own T; a count of 0: no response */
    float score;       /* added to the reward of the last response token */
    uint unused;
};
TV_PUSH_SIZE(struct tv_gae_extent, 16);

/* How a group of ranked responses becomes a loss: see kernels/preference.h. */
#define TV_PREFERENCE_PAIRS    0
#define TV_PREFERENCE_KWISE    1
#define TV_PREFERENCE_LISTWISE 2
/* Members of a group, at most: as many answers as people can rank. */
#define TV_PREFERENCE_MEMBERS 16

/* How a response's log-probabilities become its score, and what the difference x of two scores costs. */
#define TV_DPO_SCORE_SUM      0
#define TV_DPO_SCORE_MEAN     1
#define TV_DPO_SCORE_LOG_ODDS 2
#define TV_DPO_COST_LOGISTIC  0 /* -log sigmoid(x) */
#define TV_DPO_COST_HINGE     1 /* max(0, 1 - x) */
#define TV_DPO_COST_SQUARE    2 /* (x - 1/2)^2 */
#define TV_DPO_COST_VALUE     3 /* sigmoid(-x) */

/* One pair of DPO: the rows that predict each response. Both counts 0: no pair. */
struct tv_dpo_pair {
    uint chosen_first, chosen_count;
    uint rejected_first, rejected_count;
    float chosen_reference, rejected_reference; /* log-probabilities of the responses under the reference */
    float target;                               /* 1: chosen is better; 1/2: a tie */
    float weight;                               /* of this pair's loss */
};
TV_PUSH_SIZE(struct tv_dpo_pair, 32);

/* One token of an answer among others to the same prompt. */
struct tv_group_row {
    float old_logprob, advantage;
    float weight; /* of its term in the loss */
    float ref_logprob;
};
TV_PUSH_SIZE(struct tv_group_row, 16);

/* How a ratio is bounded: PPO's clip, or its size alone (CISPO). */
#define TV_GROUP_CLIP  0
#define TV_GROUP_CISPO 1

/* ---- push constants ---- */

/* Elementwise kernels: `count` elements. */
struct tv_count_push {
    uint count;
};
TV_PUSH_SIZE(struct tv_count_push, 4);

/* The bookkeeping of `rows` rows with prompts of max_tokens at most. */
struct tv_decode_advance_push {
    uint rows, max_tokens;
    uint first;        /* row of `drawn` that is row 0 */
    uint entropies_at; /* element of `drawn` that holds its row 0's entropy; 0: there are none */
};
TV_PUSH_SIZE(struct tv_decode_advance_push, 16);

struct tv_cache_copy_push {
    uint heads, tokens, head_size;
    uint stride;   /* elements from one head of a slot to the next */
    uint from, to; /* elements before the first one, in what is bound */
};
TV_PUSH_SIZE(struct tv_cache_copy_push, 24);

/* C (m, n) = op(A) (m, k) op(B) (k, n). Strides and firsts in elements; firsts are from the start of a
 * binding. */
struct tv_matmul_push {
    uint m, n, k;
    uint lda, ldb, ldc;
    uint stride_a, stride_b, stride_c;
    uint first_a, first_b, first_c, first_bias;
    uint batch;
    uint accumulate; /* 1: C += */
    uint has_bias;
    float scale;                      /* of the product, 1 where there is a bias */
    float norm_eps, norm_gain_offset; /* where its rows are normed, as in tv_norm_push */
};
TV_PUSH_SIZE(struct tv_matmul_push, 76);

/* What slices of k gave apart, (slices, m, n), one after another into C. */
struct tv_matmul_slices_push {
    uint m, n;
    uint ldc;
    uint first_c, first_bias;
    uint slices;
    uint accumulate, has_bias; /* as in tv_matmul_push */
    float scale;
};
TV_PUSH_SIZE(struct tv_matmul_slices_push, 36);

/* SwiGLU over (rows, 2 features): a workgroup takes `tile` features of one row, of `tiles` tiles. */
struct tv_swiglu_push {
    uint rows, features;
    uint tile, tiles;
};
TV_PUSH_SIZE(struct tv_swiglu_push, 16);

/* Norms, forward and backward: (rows, channels). */
struct tv_norm_push {
    uint rows, channels;
    uint has_residual, has_bias; /* 0 or 1 */
    float eps;
    float gain_offset; /* added to each gain */
};
TV_PUSH_SIZE(struct tv_norm_push, 24);

/* Norms of the query and key heads of (rows, row_stride); their gradients by chunks of rows. */
struct tv_head_norm_push {
    uint rows, heads, kv_heads, head_size;
    uint row_stride; /* elements of a row of qkv */
    float eps;
    float gain_offset;
    uint rows_per_chunk, chunks; /* all chunks, of which `rows` are a part */
    uint first_chunk;
    uint has_q, has_k; /* 0 or 1: which gains' partial sums are asked for */
};
TV_PUSH_SIZE(struct tv_head_norm_push, 48);

/* Gradients of a norm's gain and bias: `chunks` partial sums of rows_per_chunk rows each. */
struct tv_norm_partials_push {
    uint rows, channels;
    uint rows_per_chunk, chunks; /* all chunks, of which `rows` are a part */
    uint first_chunk;
    uint has_gain, has_bias; /* 0 or 1: which sums are asked for */
    uint has_columns;        /* only with d_sum, as what follows */
    uint has_residual;
    float gain_offset; /* added to each gain */
};
TV_PUSH_SIZE(struct tv_norm_partials_push, 40);

/* A workgroup of the sums takes this many elements, whatever the device, so that the partition never depends
 * on limits. */
#define TV_REDUCE_BLOCK 4096

struct tv_reduce_push {
    uint count;      /* elements of this part */
    uint first;      /* where the first block's sum goes in the output's binding */
    uint accumulate; /* 1: the sums are added to the output */
};
TV_PUSH_SIZE(struct tv_reduce_push, 12);

struct tv_sum_rows_push {
    uint rows, columns; /* of this part */
    uint rows_per_block;
    uint first;      /* where the first block's sums go in the output's binding */
    uint accumulate; /* 1: the sums are added to the output */
};
TV_PUSH_SIZE(struct tv_sum_rows_push, 20);

/* Of each gradient where its partial sums and itself begin in their bindings, and its columns. */
struct tv_column_sums_push {
    uint partials[TV_COLUMN_SUMS], gradients[TV_COLUMN_SUMS], columns[TV_COLUMN_SUMS];
    uint count, chunks;
};
TV_PUSH_SIZE(struct tv_column_sums_push, 128);

/* A dispatch over segments of many tensors. */
struct tv_segments_push {
    uint count;           /* elements of all of them */
    uint first, segments; /* in the table */
};
TV_PUSH_SIZE(struct tv_segments_push, 12);

/* Muon: several matrices of a batch, or a part of one. `count` elements of each, from a whole block on, begin
 * at its places in the bindings; updates of several lie as far apart as whole tensors do, and so do their
 * blocks' sums. */
struct tv_muon_momentum_push {
    uint gradients[TV_MUON_MATRICES], moments[TV_MUON_MATRICES];
    uint matrices, count;
    uint first_partial;
};
TV_PUSH_SIZE(struct tv_muon_momentum_push, 124);

struct tv_muon_scale_push {
    uint matrices;
    uint count;                  /* elements of each matrix that are bound */
    uint stride;                 /* elements between matrices */
    uint blocks, partial_stride; /* sums of each matrix, and between those of two */
};
TV_PUSH_SIZE(struct tv_muon_scale_push, 20);

struct tv_muon_polynomial_push {
    uint matrices;
    uint rows, side, first_row; /* of each matrix (side, side) that are bound, the first of them */
    uint stride;
    float a, b;
};
TV_PUSH_SIZE(struct tv_muon_polynomial_push, 28);

struct tv_muon_apply_push {
    uint parameters[TV_MUON_MATRICES];
    uint matrices, count;
    uint decays; /* a bit for each: weight decay applies */
    float scale;
};
TV_PUSH_SIZE(struct tv_muon_apply_push, 72);

/* Embedding lookup; `first` and `count` are the chunk of a table that is bound, of `vocab` or `max_positions`
 * rows. */
struct tv_embedding_push {
    uint rows, channels;
    uint tokens_per_row, first_position; /* row r stands at (first_position + r) % tokens_per_row */
    uint vocab, token_first, token_count;
    uint max_positions, position_first, position_count;
    uint has_positions, has_position_table; /* 0 or 1 */
    float scale;                            /* of the token's row */
};
TV_PUSH_SIZE(struct tv_embedding_push, 52);

/* Gradient of a table: `table_count` rows from table_first on are bound. */
struct tv_embedding_scatter_push {
    uint rows, channels;
    uint tokens_per_row, first_position;
    uint table_first, table_count;
    float scale;
};
TV_PUSH_SIZE(struct tv_embedding_scatter_push, 28);

/* Cross-entropy over (rows, vocab); firsts are from the start of a binding. */
struct tv_cross_entropy_push {
    uint rows, vocab;
    uint has_gradient; /* 1: logits become their gradient */
    uint first_logit;
    uint first_row; /* of targets, losses and hits */
    uint has_hits;  /* 1: hits is bound */
};
TV_PUSH_SIZE(struct tv_cross_entropy_push, 24);

/* Log-probabilities and their gradient over (rows, vocab); firsts are from the start of a binding. */
struct tv_token_logprobs_push {
    uint rows, vocab;
    uint first_logit;
    uint first_row; /* of what has one element a row */
    uint first_lse; /* of lse, in pairs */
    float inverse_temperature;
    uint has_entropy; /* 1: entropies is bound */
};
TV_PUSH_SIZE(struct tv_token_logprobs_push, 28);

/* PPO's losses over `rows` tokens. */
struct tv_ppo_push {
    uint rows;
    float clip;
    float coefficient; /* of the value loss */
};
TV_PUSH_SIZE(struct tv_ppo_push, 12);

/* GAE and whitening over (sequences, tokens). */
struct tv_gae_push {
    uint sequences, tokens;
    uint estimator; /* TV_KL_1, _2, _3 */
    float gamma, lambda;
};
TV_PUSH_SIZE(struct tv_gae_push, 20);

/* Groups of ranked responses over `rows` values. */
struct tv_preference_push {
    uint groups, group_size;
    uint rows;
    uint mode; /* TV_PREFERENCE_PAIRS, _KWISE, _LISTWISE */
    float center;
    uint has_gradient; /* 1: d_values is bound */
};
TV_PUSH_SIZE(struct tv_preference_push, 24);

/* DPO's pairs over `rows` log-probabilities. */
struct tv_dpo_push {
    uint pairs, rows;
    uint score, cost;   /* TV_DPO_SCORE_*, TV_DPO_COST_* */
    float beta, margin; /* of x */
    float agree,
        differ;        /* weights of the cost of x and of -x for a target of 1; exchanged for a target of 0 */
    float nll;         /* weight of the chosen response's negative log-likelihood per token */
    uint has_gradient; /* 1: d_logprobs is bound */
};
TV_PUSH_SIZE(struct tv_dpo_push, 40);

/* Losses of groups over `rows` tokens. */
struct tv_group_push {
    uint rows;
    uint mode;     /* TV_GROUP_CLIP, _CISPO */
    uint sequence; /* 1: sequence_ratios is bound */
    float clip_low, clip_high, beta;
};
TV_PUSH_SIZE(struct tv_group_push, 24);

struct tv_group_sequence_push {
    uint sequences, tokens;
};
TV_PUSH_SIZE(struct tv_group_sequence_push, 8);

struct tv_sample_push {
    uint rows, vocab; /* of this part */
    uint first;       /* the part's first row in what is not cut: sequences, positions, tokens, logprobs */
    uint has_logprobs;
};
TV_PUSH_SIZE(struct tv_sample_push, 16);

struct tv_rotary_push {
    uint rows;
    uint first_row;     /* row of the whole tensor that row 0 of the binding is, for positions r % tokens */
    uint tokens;        /* T */
    uint heads;         /* rotated heads of a row */
    uint half_size;     /* D / 2 */
    uint row_stride;    /* elements */
    uint has_positions; /* 1: positions come from their buffer */
    float direction;    /* +1 rotates, -1 rotates back */
};
TV_PUSH_SIZE(struct tv_rotary_push, 32);

struct tv_attention_push {
    uint batch, tokens, heads, kv_heads, head_size;
    uint has_documents; /* 1: doc_start is bound */
    uint has_lse;       /* 1: the forward pass stores lse */
    float scale;        /* of the scores */
    uint window;        /* keys that a query sees, the last one its own; at most all */
};
TV_PUSH_SIZE(struct tv_attention_push, 36);

struct tv_attention_decode_push {
    uint rows, heads, kv_heads, head_size, max_tokens;
    float scale;    /* of the scores */
    uint window;    /* as in tv_attention_push */
    uint first_row; /* of the part, in positions and slots, which are bound whole: parts of few rows would not
                       be aligned */
    uint has_slots; /* 1: rows of the caches are named by slots; what is not bound is left out */
    uint first_slot, slots; /* of what is bound of the caches */
    /* Of a prefix that rows share, and of a slot; without prefixes 0 and max_tokens. */
    uint prefix_tokens, own_tokens;
    uint own_first; /* rows of D before the first slot */
};
TV_PUSH_SIZE(struct tv_attention_decode_push, 56);

#endif
