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

/* ---- every loss of pairs ---- */

static double softly(double x, double smoothing, double *slope) {
    *slope = -(1 - smoothing) * sigmoid(-x) + smoothing * sigmoid(x);
    return -(1 - smoothing) * log_sigmoid(x) - smoothing * log_sigmoid(-x);
}

/* With the first answer preferred; slopes by its sum and by the other's. */
static double preferred(const oracle_preference *p, double c, double r, double ref_c, double ref_r,
                        double n_c, double n_r, double slopes[2]) {
    double loss = 0, slope, other, d = (c - ref_c) - (r - ref_r), aim, mean_c = c / n_c, mean_r = r / n_r;
    slopes[0] = slopes[1] = 0;
    switch (p->kind) {
    case ORACLE_SIGMOID:
        loss = softly(p->beta * d, p->smoothing, &slope);
        slopes[0] = p->beta * slope;
        slopes[1] = -p->beta * slope;
        break;
    case ORACLE_ROBUST:
        loss = softly(p->beta * d, 0, &slope) * (1 - p->smoothing) -
               softly(-p->beta * d, 0, &other) * p->smoothing;
        slopes[0] = p->beta * (slope * (1 - p->smoothing) + other * p->smoothing) / (1 - 2 * p->smoothing);
        slopes[1] = -slopes[0];
        loss /= 1 - 2 * p->smoothing;
        break;
    case ORACLE_HINGE:
        loss = fmax(0, 1 - p->beta * d);
        slopes[0] = loss > 0 ? -p->beta : 0;
        slopes[1] = -slopes[0];
        break;
    case ORACLE_IPO:
        aim = (c - ref_c) / n_c - (r - ref_r) / n_r - 1 / (2 * p->beta);
        loss = aim * aim;
        slopes[0] = 2 * aim / n_c;
        slopes[1] = -2 * aim / n_r;
        break;
    case ORACLE_SIMPO:
        loss = softly(p->beta * (mean_c - mean_r) - (p->target == 0.5 ? 0 : p->gamma), p->smoothing, &slope);
        slopes[0] = p->beta * slope / n_c;
        slopes[1] = -p->beta * slope / n_r;
        break;
    case ORACLE_CPO:
        loss = softly(p->beta * (c - r), p->smoothing, &slope);
        slopes[0] = p->beta * slope;
        slopes[1] = -p->beta * slope;
        break;
    case ORACLE_ORPO:
        loss = p->beta * softly(mean_c - log(-expm1(mean_c)) - mean_r + log(-expm1(mean_r)), 0, &slope);
        slopes[0] = -p->beta * slope / (expm1(mean_c) * n_c);
        slopes[1] = p->beta * slope / (expm1(mean_r) * n_r);
        break;
    case ORACLE_KTO:
        break;
    }
    slopes[0] -= p->nll / n_c;
    return loss - p->nll * mean_c;
}

static double kto(const oracle_preference *p, double slopes[2]) {
    double side = p->target > 0.5 ? 1 : -1;
    double v = sigmoid(side * p->beta * (p->chosen - p->chosen_reference - p->point));
    slopes[0] = -p->weight * side * p->beta * v * (1 - v);
    slopes[1] = 0;
    return p->weight * (1 - v);
}

double oracle_preference_loss_of(const oracle_preference *p, double slopes[2]) {
    double ahead[2], behind[2];
    if (p->kind == ORACLE_KTO)
        return kto(p, slopes);
    double loss =
        p->target * preferred(p, p->chosen, p->rejected, p->chosen_reference, p->rejected_reference,
                              p->chosen_count, p->rejected_count, ahead) +
        (1 - p->target) * preferred(p, p->rejected, p->chosen, p->rejected_reference, p->chosen_reference,
                                    p->rejected_count, p->chosen_count, behind);
    slopes[0] = p->weight * (p->target * ahead[0] + (1 - p->target) * behind[1]);
    slopes[1] = p->weight * (p->target * ahead[1] + (1 - p->target) * behind[0]);
    return p->weight * loss;
}
