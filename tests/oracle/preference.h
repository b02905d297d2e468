/* Double-precision reference of the losses that learn from preferences. */
#ifndef TV_ORACLE_PREFERENCE_H
#define TV_ORACLE_PREFERENCE_H

#include <stdint.h>

/* values, ranks: (count); a lower rank is better. gradient: (count) = the derivative of the result.
 * Bradley-Terry over all pairs, ties as soft targets 1/2 with `soft_ties`, else left out; the mean over
 * pairs. */
double oracle_bradley_terry(uint64_t count, const double *values, const uint32_t *ranks, double margin,
                            double center, int soft_ties, double *gradient);
/* Plackett-Luce with the tie rule of the stages: i against itself and all that are ranked strictly below its
 * group. */
double oracle_plackett_luce(uint64_t count, const double *values, const uint32_t *ranks, double *gradient);

/* Accuracy (equal values half) and mean margin over the strict pairs; returns their number. */
uint64_t oracle_ordered(uint64_t count, const double *values, const uint32_t *ranks, double *accuracy,
                        double *margin);

/* The losses of stages/dpo_losses.h and KTO. chosen, rejected: sums of log-probabilities over count tokens.
 * KTO has one answer, in `chosen`: `target` 1 or 0 is its label and `point` the reference point z. */
typedef enum oracle_preference_loss {
    ORACLE_SIGMOID,
    ORACLE_IPO,
    ORACLE_HINGE,
    ORACLE_ROBUST,
    ORACLE_SIMPO,
    ORACLE_ORPO,
    ORACLE_CPO,
    ORACLE_KTO
} oracle_preference_loss;
typedef struct oracle_preference {
    oracle_preference_loss kind;
    double beta, gamma, smoothing, nll, target, weight;
    double chosen, rejected, chosen_reference, rejected_reference, chosen_count, rejected_count, point;
} oracle_preference;
/* slopes: d loss / d chosen, d loss / d rejected. */
double oracle_preference_loss_of(const oracle_preference *pair, double slopes[2]);

/* DPO of one pair, of the log-ratios lp - ref of both responses; slope = d loss / d chosen. */
double oracle_dpo(double chosen, double rejected, double beta, double target, double *slope);

#endif
