/* Double-precision references of the sums: see reduce.h. */
#include "oracle/reduce.h"

double oracle_sum(uint64_t count, const float *x) {
    double sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += x[i];
    return sum;
}

void oracle_sum_rows(uint64_t rows, uint64_t columns, const float *x, double *output) {
    for (uint64_t c = 0; c < columns; c++)
        for (uint64_t r = 0; r < rows; r++)
            output[c] += x[r * columns + c];
}
