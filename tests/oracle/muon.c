/* Double-precision reference of Muon: see muon.h. */
#include "oracle/muon.h"

#include <math.h>
#include <stdlib.h>

/* out (m, n) = x (m, k) y (k, n) */
static void product(uint64_t m, uint64_t n, uint64_t k, const double *x, const double *y, double *out) {
    for (uint64_t i = 0; i < m; i++)
        for (uint64_t j = 0; j < n; j++) {
            double sum = 0;
            for (uint64_t l = 0; l < k; l++)
                sum += x[i * k + l] * y[l * n + j];
            out[i * n + j] = sum;
        }
}

/* The polynomial as it is written, a X + b (X X^T) X + c (X X^T)^2 X, whichever side is the longer: tall and
 * wide matrices are one formula here, so that a mistake in how a device picks the side shows. */
void oracle_newton_schulz(uint64_t rows, uint64_t columns, double *x) {
    const uint64_t count = rows * columns;
    double *transposed = calloc(count, sizeof *x), *gram = calloc(rows * rows, sizeof *x);
    double *once = calloc(count, sizeof *x), *twice = calloc(count, sizeof *x), norm = 0;
    for (uint64_t i = 0; i < count; i++)
        norm += x[i] * x[i];
    norm = fmax(sqrt(norm), 1e-7);
    for (uint64_t i = 0; i < count; i++)
        x[i] /= norm;
    for (int step = 0; step < 5; step++) {
        for (uint64_t i = 0; i < rows; i++)
            for (uint64_t j = 0; j < columns; j++)
                transposed[j * rows + i] = x[i * columns + j];
        product(rows, rows, columns, x, transposed, gram);
        product(rows, columns, rows, gram, x, once);
        product(rows, columns, rows, gram, once, twice);
        for (uint64_t i = 0; i < count; i++)
            x[i] = 3.4445 * x[i] - 4.7750 * once[i] + 2.0315 * twice[i];
    }
    free(transposed);
    free(gram);
    free(once);
    free(twice);
}

void oracle_muon(const oracle_muon_settings *s, int decay, uint64_t rows, uint64_t columns,
                 const double *gradient, double *parameter, double *moment) {
    const uint64_t count = rows * columns;
    double *x = calloc(count, sizeof *x);
    for (uint64_t i = 0; i < count; i++) {
        moment[i] = s->momentum * moment[i] + (1 - s->momentum) * gradient[i];
        x[i] = (1 - s->momentum) * gradient[i] + s->momentum * moment[i];
    }
    oracle_newton_schulz(rows, columns, x);
    const double size = s->rms * sqrt((double)(rows > columns ? rows : columns));
    for (uint64_t i = 0; i < count; i++) {
        if (decay)
            parameter[i] *= 1 - s->lr * s->weight_decay;
        parameter[i] -= s->lr * size * x[i];
    }
    free(x);
}
