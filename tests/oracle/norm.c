/* Double-precision references of the norms: see norm.h. */
#include "oracle/norm.h"

#include <math.h>

static void statistics(bool rms, uint64_t channels, double eps, const double *x, double *mean, double *rstd) {
    double sum = 0, squares = 0;
    for (uint64_t c = 0; c < channels; c++)
        sum += x[c];
    *mean = rms ? 0 : sum / (double)channels;
    for (uint64_t c = 0; c < channels; c++)
        squares += (x[c] - *mean) * (x[c] - *mean);
    *rstd = 1 / sqrt(squares / (double)channels + eps);
}

void oracle_norm_forward(bool rms, uint64_t rows, uint64_t channels, double eps, const float *input,
                         const float *residual, const float *gain, const float *bias, double *x, double *y,
                         double *mean, double *rstd) {
    for (uint64_t r = 0; r < rows; r++) {
        double *row = x + r * channels;
        for (uint64_t c = 0; c < channels; c++)
            row[c] = (double)input[r * channels + c] + (residual ? (double)residual[r * channels + c] : 0);
        statistics(rms, channels, eps, row, &mean[r], &rstd[r]);
        for (uint64_t c = 0; c < channels; c++)
            y[r * channels + c] =
                (row[c] - mean[r]) * rstd[r] * (double)gain[c] + (bias ? (double)bias[c] : 0);
    }
}

/* By the full Jacobian of a row: d n_j / d x_i = rstd (delta_ij - 1/C - n_i n_j / C); without 1/C for RMS.
 * Its sum over j is taken in closed form. */
void oracle_norm_backward(bool rms, uint64_t rows, uint64_t channels, double eps, const double *x,
                          const float *gain, const float *d_y, double *d_x, double *d_gain, double *d_bias) {
    double count = (double)channels;
    for (uint64_t r = 0; r < rows; r++) {
        const double *row = x + r * channels;
        const float *d = d_y + r * channels;
        double mean, rstd, sum = 0, weighted = 0;
        statistics(rms, channels, eps, row, &mean, &rstd);
        for (uint64_t j = 0; j < channels; j++) {
            double n = (row[j] - mean) * rstd;
            sum += (double)d[j] * (double)gain[j];
            weighted += (double)d[j] * (double)gain[j] * n;
            d_gain[j] += (double)d[j] * n;
            d_bias[j] += (double)d[j];
        }
        for (uint64_t i = 0; i < channels; i++) {
            double n = (row[i] - mean) * rstd;
            d_x[r * channels + i] =
                rstd * ((double)d[i] * (double)gain[i] - (rms ? 0 : sum / count) - n * weighted / count);
        }
    }
}
