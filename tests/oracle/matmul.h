/* Double-precision reference of the matrix products. */
#ifndef TV_ORACLE_MATMUL_H
#define TV_ORACLE_MATMUL_H

#include <stdbool.h>
#include <stdint.h>

/* One product: c (m, n) = scale op(a) op(b) + bias + before; a scale of 0 counts as 1. `bias` (n) and
 * `before` (m, n, rows ldc apart as in c) may be NULL. */
typedef struct oracle_matmul {
    uint64_t m, n, k;
    bool transpose_a, transpose_b;
    uint64_t lda, ldb, ldc;
    double scale;
    const float *a, *b, *bias, *before;
    double *c;
} oracle_matmul;

void oracle_matmul_run(const oracle_matmul *product);

#endif
