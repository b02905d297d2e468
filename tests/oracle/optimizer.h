/* Double-precision references of the update. */
#ifndef TV_ORACLE_OPTIMIZER_H
#define TV_ORACLE_OPTIMIZER_H

#include <stdint.h>

double oracle_norm(uint64_t count, const float *x);

typedef struct oracle_adamw_settings {
    double lr, weight_decay, beta1, beta2, eps;
} oracle_adamw_settings;

/* One step, t = 1 the first, in the order of torch.optim.AdamW; `decay` as in tv_adamw. */
void oracle_adamw(const oracle_adamw_settings *settings, uint64_t t, int decay, uint64_t count,
                  const double *gradient, double *parameter, double *m, double *v);

#endif
