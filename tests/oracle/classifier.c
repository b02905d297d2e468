/* Double-precision reference of the classifier: see classifier.h. */
#include "oracle/classifier.h"

#include <math.h>

void oracle_cross_entropy(uint64_t rows, uint64_t vocab, double scale, const float *logits,
                          const uint32_t *targets, double *losses, double *d_logits) {
    for (uint64_t r = 0; r < rows; r++) {
        const float *row = logits + r * vocab;
        double maximum = -INFINITY, sum = 0;
        for (uint64_t v = 0; v < vocab; v++)
            maximum = fmax(maximum, (double)row[v]);
        for (uint64_t v = 0; v < vocab; v++)
            sum += exp((double)row[v] - maximum);
        int counts = targets[r] != UINT32_MAX;
        losses[r] = counts ? log(sum) - ((double)row[targets[r]] - maximum) : 0;
        for (uint64_t v = 0; v < vocab; v++)
            d_logits[r * vocab + v] =
                counts ? (exp((double)row[v] - maximum) / sum - (v == targets[r] ? 1 : 0)) * scale : 0;
    }
}

void oracle_hits(uint64_t rows, uint64_t vocab, const float *logits, const uint32_t *targets, double *hits) {
    for (uint64_t r = 0; r < rows; r++) {
        hits[r] = targets[r] != UINT32_MAX;
        for (uint64_t v = 0; v < vocab && hits[r] != 0; v++)
            hits[r] = logits[r * vocab + v] <= logits[r * vocab + targets[r]];
    }
}
