/* Double-precision references of the non-linearities. */
#ifndef TV_ORACLE_ACTIVATION_H
#define TV_ORACLE_ACTIVATION_H

#include <stdint.h>

void oracle_gelu_forward(uint64_t count, const float *x, double *y);

#endif
