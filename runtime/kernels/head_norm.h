/* RMSNorm of each query and key head by itself (Henry et al. 2020; Qwen3, Gemma 3): before the rotary turn,
 * in place. Activations are all f32, or where D is even all f16 or bf16. */
#ifndef TV_KERNELS_HEAD_NORM_H
#define TV_KERNELS_HEAD_NORM_H

#include "kernels/column_sums.h"

typedef struct tv_head_norm {
    uint64_t rows, heads, kv_heads, head_size; /* H, Hkv, D */
    float eps;
    bool gain_from_one;       /* heads are multiplied with 1 + gain */
    tv_tensor qkv;            /* (rows, (H + 2 Hkv) D): q and k heads are overwritten */
    tv_tensor q_gain, k_gain; /* (D) */
    tv_tensor raw;            /* (rows, (H + Hkv) D) out: the heads before */
    tv_tensor rstd;           /* (rows, H + Hkv) fp32 out */
} tv_head_norm;
tv_status tv_head_norm_forward(tv_recorder *recorder, const tv_head_norm *norm);

typedef struct tv_head_norm_backward {
    tv_head_norm forward; /* its qkv is not looked at */
    tv_tensor d_qkv;      /* (rows, (H + 2 Hkv) D): gradients of the normed heads before, of raw after */
    bool gains_alone;     /* d_qkv stays: nothing below is asked for */
    tv_tensor d_q_gain, d_k_gain; /* (D) fp32, added to by `sums`; absent: not asked for */
    tv_column_sums *sums;         /* which adds them */
} tv_head_norm_backward;
tv_status tv_head_norm_backward_record(tv_recorder *recorder, const tv_head_norm_backward *backward);

#endif
