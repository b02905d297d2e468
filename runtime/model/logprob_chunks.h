/* A chunk of the final hidden states' rows, to log-probabilities of their targets and back: what every head
 * over log-probabilities shares.
 *
 * Rows of a chunk are computed as in every other chunk: what they hold does not depend on where it is cut.
 */
#ifndef TV_MODEL_LOGPROB_CHUNKS_H
#define TV_MODEL_LOGPROB_CHUNKS_H

#include "kernels/launch.h"
#include "model/activations.h"

typedef struct tv_logprob_chunks {
    const tv_model *model;
    const tv_activations *activations;
    float inverse_temperature;
    tv_tensor targets;    /* (rows) uint32 */
    tv_tensor logprobs;   /* (rows) out */
    tv_tensor entropies;  /* (rows) out; absent: not wanted */
    tv_tensor lse;        /* (rows, 2) of logprobs, for the gradient */
    tv_tensor d_logprobs; /* (rows) */
} tv_logprob_chunks;

/* `*logits` are the chunk's, which stand until the next one's are computed. */
tv_status tv_logprob_chunk_record(tv_recorder *recorder, const tv_logprob_chunks *chunks, tv_part chunk,
                                  tv_tensor *logits);
/* From d_logprobs to `final` and the head's matrix; `logits` absent: they are computed again. */
tv_status tv_logprob_chunk_backward(tv_recorder *recorder, const tv_logprob_chunks *chunks, tv_part chunk,
                                    tv_tensor logits);

#endif
