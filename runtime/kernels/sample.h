/* Drawing the next token on the device: temperature, top-k, top-p, greedy, by Philox.
 *
 * A draw is addressed by (seed, TV_STREAM_SAMPLE, step = sequence, index = position), so the same seed gives
 * the same text whatever the batch size. Temperature divides the logits, then top-k keeps the k largest (ties
 * with the k-th included), then top-p keeps the smallest set of the most probable whose sum reaches p (ties
 * included), then the rest is renormalised; temperature 0 takes the largest, the lowest id on ties.
 */
#ifndef TV_KERNELS_SAMPLE_H
#define TV_KERNELS_SAMPLE_H

#include "kernels/launch.h"

typedef struct tv_sample {
    uint64_t rows, vocab;
    tv_tensor logits;    /* (rows, V) */
    tv_tensor settings;  /* struct tv_sample_settings (push_constants.h) */
    tv_tensor sequences; /* (rows) uint32: the row's sequence number, for the draw's address */
    tv_tensor positions; /* (rows) uint32: the drawn token's position, likewise */
    tv_tensor tokens;    /* (rows) uint32 out */
    tv_tensor logprobs;  /* (rows) fp32 out: log softmax(logits / temperature)[token] over the whole
                            vocabulary, temperature 1 when greedy; absent: none */
} tv_sample;
tv_status tv_sample_record(tv_recorder *recorder, const tv_sample *sample);

#endif
