/* Double-precision references of the sums. */
#ifndef TV_ORACLE_REDUCE_H
#define TV_ORACLE_REDUCE_H

#include <stdint.h>

double oracle_sum(uint64_t count, const float *x);
/* output (columns) += column sums of x (rows, columns) */
void oracle_sum_rows(uint64_t rows, uint64_t columns, const float *x, double *output);

#endif
