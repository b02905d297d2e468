/* Double-precision references of LayerNorm and RMSNorm, from the papers' definitions. */
#ifndef TV_ORACLE_NORM_H
#define TV_ORACLE_NORM_H

#include <stdbool.h>
#include <stdint.h>

/* x = input + residual (NULL: none); y = normalised x * gain + bias (NULL: none). x, y: (rows, C); mean,
 * rstd: (rows). */
void oracle_norm_forward(bool rms, uint64_t rows, uint64_t channels, double eps, const float *input,
                         const float *residual, const float *gain, const float *bias, double *x, double *y,
                         double *mean, double *rstd);

/* d_x (rows, C) overwritten; d_gain, d_bias (C) accumulated. Statistics are computed from x anew. */
void oracle_norm_backward(bool rms, uint64_t rows, uint64_t channels, double eps, const double *x,
                          const float *gain, const float *d_y, double *d_x, double *d_gain, double *d_bias);

#endif
