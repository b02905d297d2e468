/* Double-precision reference of attention: see attention.h. The backward pass goes through the softmax's
 * Jacobian row by row and knows neither lse nor delta. */
#include "oracle/attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Offsets of the q, k and v heads of position t. */
typedef struct places {
    uint64_t q, k, v;
} places;

static places find(const oracle_attention *s, uint64_t b, uint64_t t, uint64_t h) {
    uint64_t row = (b * s->tokens + t) * (s->heads + 2 * s->kv_heads) * s->head_size;
    uint64_t kv_head = h / (s->heads / s->kv_heads);
    return (places){row + h * s->head_size, row + (s->heads + kv_head) * s->head_size,
                    row + (s->heads + s->kv_heads + kv_head) * s->head_size};
}

static double dot(const double *a, const double *b, uint64_t count) {
    double sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

static double scale_of(const oracle_attention *s) {
    return s->scale > 0 ? s->scale : 1 / sqrt((double)s->head_size);
}

/* prob[j] of the row t, zeros outside [doc_start, t]; returns its log-sum-exp. */
static double probabilities(const oracle_attention *s, const double *qkv, uint64_t b, uint64_t t, uint64_t h,
                            double *prob) {
    uint64_t first = s->doc_start ? s->doc_start[b * s->tokens + t] : 0;
    while (s->window && t - first >= s->window)
        first++;
    const double *q = &qkv[find(s, b, t, h).q];
    double largest = -INFINITY, sum = 0;
    memset(prob, 0, s->tokens * sizeof *prob);
    for (uint64_t j = first; j <= t; j++) {
        prob[j] = dot(q, &qkv[find(s, b, j, h).k], s->head_size) * scale_of(s);
        largest = fmax(largest, prob[j]);
    }
    for (uint64_t j = first; j <= t; j++)
        sum += prob[j] = exp(prob[j] - largest);
    for (uint64_t j = first; j <= t; j++)
        prob[j] /= sum;
    return largest + log(sum);
}

void oracle_attention_forward(const oracle_attention *s, const double *qkv, double *output, double *lse) {
    double *prob = malloc(s->tokens * sizeof *prob);
    for (uint64_t b = 0; b < s->batch; b++)
        for (uint64_t h = 0; h < s->heads; h++)
            for (uint64_t t = 0; t < s->tokens; t++) {
                double row_lse = probabilities(s, qkv, b, t, h, prob);
                double *out = &output[((b * s->tokens + t) * s->heads + h) * s->head_size];
                for (uint64_t d = 0; d < s->head_size; d++) {
                    out[d] = 0;
                    for (uint64_t j = 0; j <= t; j++)
                        out[d] += prob[j] * qkv[find(s, b, j, h).v + d];
                }
                if (lse)
                    lse[(b * s->heads + h) * s->tokens + t] = row_lse;
            }
    free(prob);
}

void oracle_attention_backward(const oracle_attention *s, const double *qkv, const double *d_output,
                               double *d_qkv) {
    double *prob = malloc(s->tokens * sizeof *prob), *d_prob = malloc(s->tokens * sizeof *d_prob);
    memset(d_qkv, 0, s->batch * s->tokens * (s->heads + 2 * s->kv_heads) * s->head_size * sizeof *d_qkv);
    for (uint64_t b = 0; b < s->batch; b++)
        for (uint64_t h = 0; h < s->heads; h++)
            for (uint64_t t = 0; t < s->tokens; t++) {
                const double *d_out = &d_output[((b * s->tokens + t) * s->heads + h) * s->head_size];
                probabilities(s, qkv, b, t, h, prob);
                double mean = 0;
                for (uint64_t j = 0; j <= t; j++) {
                    d_prob[j] = dot(d_out, &qkv[find(s, b, j, h).v], s->head_size);
                    mean += prob[j] * d_prob[j];
                }
                for (uint64_t j = 0; j <= t; j++) {
                    double d_score = prob[j] * (d_prob[j] - mean) * scale_of(s);
                    places row = find(s, b, t, h), key = find(s, b, j, h);
                    for (uint64_t d = 0; d < s->head_size; d++) {
                        d_qkv[key.v + d] += prob[j] * d_out[d];
                        d_qkv[row.q + d] += d_score * qkv[key.k + d];
                        d_qkv[key.k + d] += d_score * qkv[row.q + d];
                    }
                }
            }
    free(prob);
    free(d_prob);
}
