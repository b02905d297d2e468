/* Double-precision references of the non-linearities: see activation.h. */
#include "oracle/activation.h"

#include <math.h>

void oracle_gelu_forward(uint64_t count, const float *x, double *y) {
    for (uint64_t i = 0; i < count; i++) {
        double v = x[i];
        y[i] = 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    }
}
