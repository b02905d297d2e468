/* Double-precision references of the non-linearities; shapes as in kernels/activation.h. */
#ifndef TV_ORACLE_ACTIVATION_H
#define TV_ORACLE_ACTIVATION_H

#include <stdint.h>

double oracle_gelu(double x);
void oracle_gelu_forward(uint64_t count, const float *x, double *y);
void oracle_gelu_backward(uint64_t count, const float *x, const float *d_y, double *d_x);
void oracle_swiglu_forward(uint64_t rows, uint64_t features, const float *gate_up, double *y);
void oracle_swiglu_backward(uint64_t rows, uint64_t features, const float *gate_up, const float *d_y,
                            double *d_gate_up);
/* GeGLU: the same with gelu in place of silu. */
void oracle_geglu_forward(uint64_t rows, uint64_t features, const float *gate_up, double *y);
void oracle_geglu_backward(uint64_t rows, uint64_t features, const float *gate_up, const float *d_y,
                           double *d_gate_up);

#endif
