/* Double-precision reference of Muon. */
#ifndef TV_ORACLE_MUON_H
#define TV_ORACLE_MUON_H

#include <stdint.h>

typedef struct oracle_muon_settings {
    double lr, weight_decay, momentum, rms;
} oracle_muon_settings;

/* One step of a matrix (rows, columns): parameter and moment are updated. As Jordan et al. 2024 write it,
 * with the update scaled by rms sqrt(max(rows, columns)) (Liu et al. 2025). */
void oracle_muon(const oracle_muon_settings *settings, int decay, uint64_t rows, uint64_t columns,
                 const double *gradient, double *parameter, double *moment);

/* x (rows, columns) divided by its norm, then five steps of Newton-Schulz. */
void oracle_newton_schulz(uint64_t rows, uint64_t columns, double *x);

#endif
