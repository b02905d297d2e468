/* Double-precision reference of the matrix products: see matmul.h. */
#include "oracle/matmul.h"

#include <stddef.h>

void oracle_matmul_run(const oracle_matmul *p) {
    for (uint64_t i = 0; i < p->m; i++) {
        for (uint64_t j = 0; j < p->n; j++) {
            double sum = 0;
            for (uint64_t s = 0; s < p->k; s++) {
                double left = p->transpose_a ? p->a[s * p->lda + i] : p->a[i * p->lda + s];
                double right = p->transpose_b ? p->b[j * p->ldb + s] : p->b[s * p->ldb + j];
                sum += left * right;
            }
            if (p->scale != 0)
                sum *= p->scale;
            if (p->bias)
                sum += p->bias[j];
            if (p->before)
                sum += p->before[i * p->ldc + j];
            p->c[i * p->ldc + j] = sum;
        }
    }
}
