/* Double-precision references of the draw: see sample.h. */
#include "oracle/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int descending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

void oracle_sample_probabilities(uint64_t vocab, const float *logits, double temperature, uint64_t top_k,
                                 double top_p, double *probabilities) {
    float *sorted = malloc(vocab * sizeof *sorted);
    if (!sorted)
        abort();
    memcpy(sorted, logits, vocab * sizeof *sorted);
    qsort(sorted, vocab, sizeof *sorted, descending);
    double top = (double)sorted[0];
    uint64_t kept = vocab;
    if (top_k > 0 && top_k < vocab)
        for (kept = top_k; kept < vocab && sorted[kept] == sorted[top_k - 1];)
            kept++;
    double whole = 0;
    for (uint64_t i = 0; i < kept; i++)
        whole += exp(((double)sorted[i] - top) / temperature);
    if (top_p < 1) {
        double sum = 0;
        uint64_t end = 0;
        for (uint64_t i = 0; i < kept; i++) {
            sum += exp(((double)sorted[i] - top) / temperature) / whole;
            if (i + 1 < kept && sorted[i + 1] == sorted[i])
                continue;
            if (end == 0 && sum >= top_p)
                end = i + 1;
        }
        kept = end ? end : kept;
    }
    float least = sorted[kept - 1];
    whole = 0;
    for (uint64_t i = 0; i < vocab; i++) {
        probabilities[i] = logits[i] >= least ? exp(((double)logits[i] - top) / temperature) : 0;
        whole += probabilities[i];
    }
    for (uint64_t i = 0; i < vocab; i++)
        probabilities[i] /= whole;
    free(sorted);
}

double oracle_sample_logprob(uint64_t vocab, const float *logits, double temperature, uint64_t token) {
    double top = -INFINITY, sum = 0;
    for (uint64_t i = 0; i < vocab; i++)
        top = fmax(top, (double)logits[i] / temperature);
    for (uint64_t i = 0; i < vocab; i++)
        sum += exp((double)logits[i] / temperature - top);
    return (double)logits[token] / temperature - top - log(sum);
}
