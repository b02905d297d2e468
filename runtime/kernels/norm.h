/* LayerNorm (Ba et al. 2016) and RMSNorm (Zhang and Sennrich 2019), fused with the residual addition before
 * them.
 *
 * Statistics are fp32 and two-pass: the variance is the mean of squared differences, never E[x^2] - E[x]^2.
 */
#ifndef TV_KERNELS_NORM_H
#define TV_KERNELS_NORM_H

#include "kernels/launch.h"

typedef enum tv_norm_kind { TV_NORM_LAYER = 0, TV_NORM_RMS = 1 } tv_norm_kind;

typedef struct tv_norm_forward {
    tv_norm_kind kind;
    uint64_t rows, channels;
    float eps;
    bool gain_from_one; /* multiplied with 1 + gain */
    tv_tensor input;    /* (rows, C) */
    tv_tensor residual; /* (rows, C), added to input; absent: none */
    tv_tensor gain;     /* (C) */
    tv_tensor bias;     /* (C); absent: none */
    tv_tensor sum; /* (rows, C) out: input + residual; absent when there is no residual. May be `residual` or
                      `input` itself */
    tv_tensor output; /* (rows, C) out */
    tv_tensor mean;   /* (rows) fp32 out; absent for RMS */
    tv_tensor rstd;   /* (rows) fp32 out: 1 / sqrt(var + eps), or of the mean square */
} tv_norm_forward;
tv_status tv_norm_forward_record(tv_recorder *recorder, const tv_norm_forward *norm);

typedef struct tv_norm_backward {
    tv_norm_kind kind;
    uint64_t rows, channels;
    bool gain_from_one;   /* as in forward */
    tv_tensor d_output;   /* (rows, C) */
    tv_tensor sum;        /* (rows, C): what forward normalised */
    tv_tensor gain;       /* (C) */
    tv_tensor mean, rstd; /* (rows) of forward */
    tv_tensor d_residual; /* (rows, C): gradient of `sum` that comes past the norm, added; absent: none */
    tv_tensor d_sum;      /* (rows, C), overwritten; may be d_residual itself; absent: not asked for */
    tv_tensor d_gain;     /* (C) fp32, accumulated; absent: not asked for */
    tv_tensor d_bias;     /* (C) fp32, accumulated; absent: none, or not asked for */
    tv_tensor scratch;    /* tv_norm_backward_scratch bytes */
} tv_norm_backward;
tv_status tv_norm_backward_record(tv_recorder *recorder, const tv_norm_backward *norm);
/* Bytes of scratch for the partial sums of d_gain and d_bias. */
uint64_t tv_norm_backward_scratch(uint64_t rows, uint64_t channels);

#endif
