/* The activation plan: every intermediate tensor of a forward and backward pass, with its lifetime, placed
 * before anything is recorded.
 *
 * Operations are numbered as they run: the embedding is 0, block l is l + 1, the head L + 1, backward of
 * block l is 2 L + 1 - l, of the embedding 2 L + 2. Tensors that never live at the same time share bytes.
 * With recomputation a block keeps only its input, and all blocks share the rest; so does a forward pass
 * without a backward one.
 *
 * The residual stream, its gradient, statistics and logits are fp32 always. What norms, products and
 * attention hand each other may be halves, where a tier's products take them: tv_tensor.dtype says so for
 * each.
 */
#ifndef TV_MODEL_ACTIVATIONS_H
#define TV_MODEL_ACTIVATIONS_H

#include "model/activation_arena.h"
#include "model/model.h"
#include "vk/transfer.h"

/* What the backward pass needs of one block. N = B * T rows. */
typedef struct tv_block_activations {
    tv_tensor sum1;         /* (N, C) the residual stream as the block finds it */
    tv_tensor mean1, rstd1; /* (N) */
    tv_tensor norm1;        /* (N, C) */
    tv_tensor qkv;          /* (N, (H + 2 Hkv) D), normed where qk_norm, rotated */
    tv_tensor qk_raw;       /* (N, (H + Hkv) D) and (N, H + Hkv), qk_norm only: q and k before their norm, */
    tv_tensor qk_rstd;      /* and its statistics */
    tv_tensor lse;          /* (B, H, T) */
    tv_tensor attended;     /* (N, H D) */
    tv_tensor attn_out;     /* (N, C) and (N), post_norms only: before its norm; absent: made in sum2 */
    tv_tensor rstd_attn_out;
    tv_tensor sum2;         /* (N, C) the stream after attention */
    tv_tensor mean2, rstd2; /* (N) */
    tv_tensor norm2;        /* (N, C) */
    tv_tensor mlp_in;       /* (N, F), or (N, 2F) where gated: before the non-linearity. Absent: GELU without
                               a backward pass, where the product gives mlp_act at once */
    tv_tensor mlp_act;      /* (N, F) after it */
    tv_tensor mlp_out;      /* (N, C) and (N), post_norms only: likewise, of the MLP */
    tv_tensor rstd_mlp_out;
} tv_block_activations;

typedef struct tv_activations_options {
    uint64_t batch, tokens; /* B, T */
    uint64_t cached_tokens; /* of the caches that decoding attends to; 0: no decoding */
    bool backward;          /* also keep what backward needs, and its own tensors */
    tv_dtype dtype;         /* of what lies between a norm and the residual stream; TV_F32, or the type that
                               the device's matrix units take, where the model's sizes are multiples of 4 */
    bool recompute;         /* keep only each block's input; backward runs the block again */
    uint64_t logits_rows;   /* rows whose logits are asked for at once, at most; 0: all */
    /* The most rows of a chunk of logits, where a run keeps them; 0: as the device and the plan allow. The
     * gradient of the head's matrix is a sum over the chunks in their order, so its last bits follow them. */
    uint64_t head_rows;
    /* Whose memory they borrow, held by them; NULL: they have their own. A plan without a device reserves its
     * place there. */
    tv_activation_arena *shared;
} tv_activations_options;

typedef struct tv_activations {
    tv_activations_options options;
    uint64_t rows;                /* B * T */
    tv_dtype narrow;              /* of what stands between norms and products: TV_F32, or options.dtype */
    tv_dtype heads;               /* of what attention reads and writes: TV_F32, or as `narrow` */
    tv_block_activations *blocks; /* L */
    tv_tensor sum_final;          /* (N, C) the stream behind the last block */
    tv_tensor mean_final, rstd_final;
    tv_tensor final;       /* (N, C) what the heads read */
    uint64_t head_rows;    /* rows of one chunk of logits */
    tv_tensor logits;      /* (head_rows, V); absent with a score head */
    tv_tensor d_stream;    /* (N, C) gradient of the residual stream */
    tv_tensor d_narrow;    /* (N, max(C, H D)) gradient of d_final, norm outputs, attention's output */
    tv_tensor d_wide;      /* (N, max(F or 2F, (H + 2 Hkv) D)) gradient of mlp_act, mlp_in, qkv */
    tv_tensor delta;       /* (B, H, T) */
    tv_tensor scratch;     /* partial sums of reductions, slices of products */
    tv_tensor column_sums; /* partial sums of a layer's gradients of vectors (kernels/column_sums.h) */
    tv_tensor adapter_t, d_adapter_t; /* (places, N, r) x A^T of one matrix's targets; its gradient */
    uint64_t bytes;                   /* of device memory; where it is shared, those that they need there */
    tv_device_arena *arena;           /* NULL: shared */
} tv_activations;

/* Plans, and allocates when `device` is not NULL. `caps` are the device's. T over max_positions is
 * TV_E_CONFIG; TV_E_FIT when one tensor is over every buffer, or B T over 2^31. */
tv_status tv_activations_create(tv_device *device, const tv_caps *caps, const tv_parameter_list *list,
                                const tv_activations_options *options, tv_activations **activations);
void tv_activations_destroy(tv_activations **activations);

/* A place for gradients as one of another type, which it has the bytes for. */
static inline tv_tensor tv_activations_as(tv_tensor tensor, tv_dtype dtype) {
    tensor.dtype = dtype;
    return tensor;
}

/* Around everything that is submitted of them, by `user` (lasts until the return): TV_E_USAGE where they are
 * shared and another user has them. A borrow that failed needs no return. */
tv_status tv_activations_borrow(const tv_activations *activations, const char *user);
void tv_activations_return(const tv_activations *activations);
/* Whether they hold what their last borrower left: nobody else has used the memory since. */
bool tv_activations_kept(const tv_activations *activations);

/* The same tensors for (batch, tokens) of at most as many rows; lives no longer than `whole`, and is not
 * destroyed. */
tv_activations tv_activations_of_fewer(const tv_activations *whole, uint64_t batch, uint64_t tokens);

#endif
