/* LayerNorm (Ba et al. 2016) and RMSNorm (Zhang and Sennrich 2019), fused with the residual addition before
 * them.
 *
 * Statistics are fp32 and two-pass: the variance is the mean of squared differences, never E[x^2] - E[x]^2.
 */
#ifndef TV_KERNELS_NORM_H
#define TV_KERNELS_NORM_H

#include "kernels/column_sums.h"

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
    tv_tensor output; /* (rows, C) out; f32, or where C is a multiple of 4 halves */
    tv_tensor mean;   /* (rows) fp32 out; absent for RMS */
    tv_tensor rstd;   /* (rows) fp32 out: 1 / sqrt(var + eps), or of the mean square */
} tv_norm_forward;
tv_status tv_norm_forward_record(tv_recorder *recorder, const tv_norm_forward *norm);

/* vec4s of a lane where a subgroup reads a row as texels and keeps it in registers (CPUs); else 0. For
 * launchers of such kernels. */
uint32_t tv_norm_texels_of_lane(const tv_recorder *recorder, const tv_norm_forward *norm, uint64_t rows);

typedef struct tv_norm_backward {
    tv_norm_kind kind;
    uint64_t rows, channels;
    bool gain_from_one;   /* as in forward */
    tv_tensor d_output;   /* (rows, C), f32 or halves as output */
    tv_tensor sum;        /* (rows, C): what forward normalised */
    tv_tensor gain;       /* (C) */
    tv_tensor mean, rstd; /* (rows) of forward */
    tv_tensor d_residual; /* (rows, C): gradient of `sum` that comes past the norm, added; absent: none */
    tv_tensor d_sum;      /* (rows, C), overwritten; may be d_residual itself; absent: not asked for */
    /* (C) fp32 each, added to by `sums`; absent: not asked for. */
    tv_tensor d_gain, d_bias;
    tv_tensor d_columns; /* of what made `sum`: a bias, whose gradient is the column sums of d_sum */
    tv_column_sums *sums;
} tv_norm_backward;
tv_status tv_norm_backward_record(tv_recorder *recorder, const tv_norm_backward *norm);

#endif
