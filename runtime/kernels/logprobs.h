/* Log-probabilities of tokens under softmax(logits / tau), and the way back: the gradient in place of the
 * logits.
 *
 * Both take one chunk of rows, between the matrix products that make the logits and consume their gradient
 * (model/policy_head.c). A row's results depend on its own logits only, bit for bit: an untouched policy has
 * ratios of exactly 1.
 */
#ifndef TV_KERNELS_LOGPROBS_H
#define TV_KERNELS_LOGPROBS_H

#include "base/tokens.h"
#include "kernels/launch.h"

/* The one way to 1 / tau, so that whoever computes log-probabilities at a temperature means the same bits. */
static inline float tv_inverse_temperature(double temperature) {
    return (float)(1 / temperature);
}

typedef struct tv_token_logprobs {
    uint64_t rows, vocab;
    float inverse_temperature; /* 1 / tau */
    tv_tensor logits;          /* (rows, V), left as they are */
    tv_tensor targets;  /* (rows) uint32, below V or TV_IGNORED_TARGET; another one makes its row NaN */
    tv_tensor logprobs; /* (rows) fp32 out: log softmax(logits / tau)[target], 0 where ignored */
    tv_tensor lse; /* (rows, 2) fp32 out: m = max(logits / tau) and log sum e^(logits / tau - m), apart so
                      that large logits keep their digits; 0 where ignored */
    tv_tensor entropies; /* (rows) fp32 out: of softmax(logits / tau), 0 where ignored; may be absent */
} tv_token_logprobs;
tv_status tv_token_logprobs_record(tv_recorder *recorder, const tv_token_logprobs *logprobs);

typedef struct tv_token_gradient {
    uint64_t rows, vocab;
    float inverse_temperature;
    tv_tensor logits;     /* (rows, V), overwritten with d_logprobs / tau * (onehot - softmax(logits / tau));
                             exact     zeros where ignored */
    tv_tensor targets;    /* (rows) uint32 */
    tv_tensor lse;        /* (rows, 2) as tv_token_logprobs wrote it */
    tv_tensor d_logprobs; /* (rows) fp32: gradient of the loss with respect to the log-probability; not read
                             where ignored */
} tv_token_gradient;
tv_status tv_token_gradient_record(tv_recorder *recorder, const tv_token_gradient *gradient);

#endif
