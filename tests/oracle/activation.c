/* Double-precision references of the non-linearities: see activation.h. */
#include "oracle/activation.h"

#include <math.h>

double oracle_gelu(double x) {
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

void oracle_gelu_forward(uint64_t count, const float *x, double *y) {
    for (uint64_t i = 0; i < count; i++)
        y[i] = oracle_gelu((double)x[i]);
}

void oracle_gelu_backward(uint64_t count, const float *x, const float *d_y, double *d_x) {
    for (uint64_t i = 0; i < count; i++) {
        double v = x[i], u = sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
        double d_u = sqrt(2 / M_PI) * (1 + 3 * 0.044715 * v * v);
        d_x[i] = (double)d_y[i] * (0.5 * (1 + tanh(u)) + 0.5 * v * d_u / (cosh(u) * cosh(u)));
    }
}

void oracle_swiglu_forward(uint64_t rows, uint64_t features, const float *gate_up, double *y) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t f = 0; f < features; f++) {
            double gate = gate_up[2 * r * features + f], up = gate_up[(2 * r + 1) * features + f];
            y[r * features + f] = gate / (1 + exp(-gate)) * up;
        }
}

void oracle_swiglu_backward(uint64_t rows, uint64_t features, const float *gate_up, const float *d_y,
                            double *d_gate_up) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t f = 0; f < features; f++) {
            uint64_t g = 2 * r * features + f, u = g + features;
            double gate = gate_up[g], up = gate_up[u], d = d_y[r * features + f];
            double sigmoid = 1 / (1 + exp(-gate));
            d_gate_up[g] = d * up * (sigmoid + gate * sigmoid * (1 - sigmoid));
            d_gate_up[u] = d * gate * sigmoid;
        }
}

void oracle_geglu_forward(uint64_t rows, uint64_t features, const float *gate_up, double *y) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t f = 0; f < features; f++)
            y[r * features + f] = oracle_gelu((double)gate_up[2 * r * features + f]) *
                                  (double)gate_up[(2 * r + 1) * features + f];
}

void oracle_geglu_backward(uint64_t rows, uint64_t features, const float *gate_up, const float *d_y,
                           double *d_gate_up) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t f = 0; f < features; f++) {
            uint64_t g = 2 * r * features + f, u = g + features;
            const float one = 1;
            oracle_gelu_backward(1, &gate_up[g], &one, &d_gate_up[g]);
            d_gate_up[g] *= (double)d_y[r * features + f] * (double)gate_up[u];
            d_gate_up[u] = (double)d_y[r * features + f] * oracle_gelu((double)gate_up[g]);
        }
}
