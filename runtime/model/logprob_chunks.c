/* Chunks of log-probabilities: see logprob_chunks.h. */
#include "model/logprob_chunks.h"

#include "kernels/logprobs.h"
#include "model/heads.h"

tv_status tv_logprob_chunk_record(tv_recorder *recorder, const tv_logprob_chunks *c, tv_part chunk,
                                  tv_tensor *logits) {
    uint64_t first = chunk.first, rows = chunk.count;
    TV_RETURN_IF_FAILED(tv_language_logits(recorder, c->model, c->activations, first, rows, logits));
    return tv_token_logprobs_record(
        recorder, &(tv_token_logprobs){.rows = rows,
                                       .vocab = tv_model_list(c->model)->config.vocab_size,
                                       .inverse_temperature = c->inverse_temperature,
                                       .logits = *logits,
                                       .targets = tv_tensor_rows(c->targets, 1, first, rows),
                                       .logprobs = tv_tensor_rows(c->logprobs, 1, first, rows),
                                       .lse = tv_tensor_rows(c->lse, 2, first, rows),
                                       .entropies = tv_tensor_rows(c->entropies, 1, first, rows)});
}

tv_status tv_logprob_chunk_backward(tv_recorder *recorder, const tv_logprob_chunks *c, tv_part chunk,
                                    tv_tensor logits) {
    uint64_t first = chunk.first, rows = chunk.count;
    if (!tv_tensor_present(logits))
        TV_RETURN_IF_FAILED(tv_language_logits(recorder, c->model, c->activations, first, rows, &logits));
    TV_RETURN_IF_FAILED(tv_token_gradient_record(
        recorder, &(tv_token_gradient){.rows = rows,
                                       .vocab = tv_model_list(c->model)->config.vocab_size,
                                       .inverse_temperature = c->inverse_temperature,
                                       .logits = logits,
                                       .targets = tv_tensor_rows(c->targets, 1, first, rows),
                                       .lse = tv_tensor_rows(c->lse, 2, first, rows),
                                       .d_logprobs = tv_tensor_rows(c->d_logprobs, 1, first, rows)}));
    return tv_language_logits_backward(recorder, c->model, c->activations, first, rows);
}
