/* Double-precision reference of losses of groups: see group.h. */
#include "oracle/group.h"

#include <math.h>

/* The objective min(rho A, clip(rho) A): flat where rho has left the range in the direction that A rewards.
 */
static double clipped(double rho, double advantage, double low, double high, double *by_log_rho) {
    double bound = advantage > 0 ? 1 + high : 1 - low;
    int flat = (advantage > 0 && rho > bound) || (advantage < 0 && rho < bound);
    *by_log_rho = flat ? 0 : advantage * rho;
    return advantage * (flat ? bound : rho);
}

double oracle_group_loss_of(const oracle_group *b, double *gradient) {
    uint64_t T = b->tokens, all = 0;
    double loss = 0;
    for (uint64_t i = 0; i < b->sequences * T; i++)
        all += b->mask[i];
    for (uint64_t s = 0; s < b->sequences; s++) {
        double n = 0, mean = 0;
        for (uint64_t i = s * T; i < (s + 1) * T; i++) {
            gradient[i] = 0;
            n += b->mask[i];
            mean += b->mask[i] ? b->new[i] - b->old[i] : 0;
        }
        mean /= fmax(n, 1);
        double share = b->kind == ORACLE_GRPO || b->kind == ORACLE_GSPO
                           ? 1 / (fmax(n, 1) * (double)b->sequences)
                       : b->kind == ORACLE_DR_GRPO ? 1 / (b->room * (double)b->sequences)
                                                   : 1 / (double)all;
        for (uint64_t i = s * T; i < (s + 1) * T; i++) {
            double slope, A = b->advantages[i];
            if (!b->mask[i])
                continue;
            double rho = exp(b->kind == ORACLE_GSPO ? mean : b->new[i] - b->old[i]);
            if (b->kind == ORACLE_CISPO) {
                slope = fmin(rho, b->clip_high) * A;
                loss -= share * slope * b->new[i];
            } else {
                loss -= share * clipped(rho, A, b->clip_low, b->clip_high, &slope);
            }
            /* Of GSPO's mean each token is a part, and each part is in every term. */
            if (b->kind == ORACLE_GSPO)
                for (uint64_t j = s * T; j < (s + 1) * T; j++)
                    gradient[j] -= b->mask[j] ? share * slope / n : 0;
            else
                gradient[i] -= share * slope;
            if (b->beta > 0) {
                double d = b->ref[i] - b->new[i];
                loss += share * b->beta * (exp(d) - 1 - d);
                gradient[i] += share * b->beta * (1 - exp(d));
            }
        }
    }
    return loss;
}
