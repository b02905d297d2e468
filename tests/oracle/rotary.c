/* Double-precision reference of the rotary positions, as a product of complex numbers: see rotary.h. */
#include "oracle/rotary.h"

#include <complex.h>
#include <math.h>

void oracle_rotary(uint64_t rows, uint64_t heads, uint64_t head_size, uint64_t row_stride, double theta,
                   double direction, const uint32_t *positions, double *qkv) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t h = 0; h < heads; h++)
            for (uint64_t i = 0; i < head_size / 2; i++) {
                double *low = &qkv[r * row_stride + h * head_size + i], *high = low + head_size / 2;
                double exponent = -(double)(2 * i) / (double)head_size;
                double angle = direction * positions[r] * pow(theta, exponent);
                double complex turned = (*low + *high * I) * cexp(angle * I);
                *low = creal(turned);
                *high = cimag(turned);
            }
}
