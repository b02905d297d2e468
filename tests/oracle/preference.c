/* Double-precision reference of preference losses: see preference.h. */
#include "oracle/preference.h"

#include <math.h>

static double log_sigmoid(double x) {
    return x >= 0 ? -log1p(exp(-x)) : x - log1p(exp(x));
}

static double sigmoid(double x) {
    return exp(log_sigmoid(x));
}

double oracle_bradley_terry(uint64_t count, const double *values, const uint32_t *ranks, double margin,
                            double center, int soft_ties, double *gradient) {
    double loss = 0, pairs = 0;
    for (uint64_t i = 0; i < count; i++)
        gradient[i] = 0;
    for (uint64_t c = 0; c < count; c++)
        for (uint64_t r = 0; r < count; r++) {
            int tie = ranks[c] == ranks[r];
            if (c == r || ranks[c] > ranks[r] || (tie && (!soft_ties || c > r)))
                continue;
            double d = values[c] - values[r], both = values[c] + values[r];
            if (tie) {
                loss -= (log_sigmoid(d) + log_sigmoid(-d)) / 2;
                gradient[c] += sigmoid(d) - 0.5;
                gradient[r] -= sigmoid(d) - 0.5;
            } else {
                loss -= log_sigmoid(d - margin);
                gradient[c] -= sigmoid(margin - d);
                gradient[r] += sigmoid(margin - d);
            }
            loss += center * both * both;
            gradient[c] += 2 * center * both;
            gradient[r] += 2 * center * both;
            pairs += 1;
        }
    for (uint64_t i = 0; i < count && pairs > 0; i++)
        gradient[i] /= pairs;
    return pairs > 0 ? loss / pairs : 0;
}

double oracle_plackett_luce(uint64_t count, const double *values, const uint32_t *ranks, double *gradient) {
    double loss = 0;
    uint32_t last = 0;
    for (uint64_t i = 0; i < count; i++) {
        gradient[i] = 0;
        last = ranks[i] > last ? ranks[i] : last;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (ranks[i] == last)
            continue;
        double largest = values[i], sum = 0;
        for (uint64_t j = 0; j < count; j++)
            if (ranks[j] > ranks[i])
                largest = fmax(largest, values[j]);
        for (uint64_t j = 0; j < count; j++)
            if (j == i || ranks[j] > ranks[i])
                sum += exp(values[j] - largest);
        loss -= values[i] - largest - log(sum);
        gradient[i] -= 1;
        for (uint64_t j = 0; j < count; j++)
            if (j == i || ranks[j] > ranks[i])
                gradient[j] += exp(values[j] - largest) / sum;
    }
    return loss;
}

uint64_t oracle_ordered(uint64_t count, const double *values, const uint32_t *ranks, double *accuracy,
                        double *margin) {
    uint64_t pairs = 0;
    *accuracy = *margin = 0;
    for (uint64_t c = 0; c < count; c++)
        for (uint64_t r = 0; r < count; r++)
            if (ranks[c] < ranks[r]) {
                pairs++;
                *margin += values[c] - values[r];
                *accuracy += values[c] > values[r] ? 1 : values[c] < values[r] ? 0 : 0.5;
            }
    if (pairs > 0) {
        *margin /= (double)pairs;
        *accuracy /= (double)pairs;
    }
    return pairs;
}

double oracle_dpo(double chosen, double rejected, double beta, double target, double *slope) {
    double x = beta * (chosen - rejected);
    *slope = beta * (-target * sigmoid(-x) + (1 - target) * sigmoid(x));
    return -target * log_sigmoid(x) - (1 - target) * log_sigmoid(-x);
}
