/* Double-precision references of the update: see optimizer.h. */
#include "oracle/optimizer.h"

#include <math.h>

double oracle_norm(uint64_t count, const float *x) {
    double sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

void oracle_adamw(const oracle_adamw_settings *s, uint64_t t, int decay, uint64_t count,
                  const double *gradient, double *parameter, double *m, double *v) {
    double correction1 = 1 - pow(s->beta1, (double)t), correction2 = 1 - pow(s->beta2, (double)t);
    for (uint64_t i = 0; i < count; i++) {
        if (decay)
            parameter[i] *= 1 - s->lr * s->weight_decay;
        m[i] = s->beta1 * m[i] + (1 - s->beta1) * gradient[i];
        v[i] = s->beta2 * v[i] + (1 - s->beta2) * gradient[i] * gradient[i];
        double denominator = sqrt(v[i]) / sqrt(correction2) + s->eps;
        parameter[i] -= s->lr / correction1 * m[i] / denominator;
    }
}
