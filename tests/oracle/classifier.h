/* Double-precision reference of softmax and cross-entropy. */
#ifndef TV_ORACLE_CLASSIFIER_H
#define TV_ORACLE_CLASSIFIER_H

#include <stdint.h>

/* logits: (rows, V); targets: (rows), UINT32_MAX is ignored; losses: (rows); d_logits: (rows, V) = d losses /
 * d logits * scale. */
void oracle_cross_entropy(uint64_t rows, uint64_t vocab, double scale, const float *logits,
                          const uint32_t *targets, double *losses, double *d_logits);

/* hits: (rows), 1 where no logit is above the target's, 0 elsewhere and where the target is ignored. */
void oracle_hits(uint64_t rows, uint64_t vocab, const float *logits, const uint32_t *targets, double *hits);

#endif
