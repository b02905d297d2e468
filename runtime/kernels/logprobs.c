/* Launchers of log-probabilities and their gradient: see logprobs.h. */
#include "kernels/logprobs.h"

#include "push_constants.h"

/* About four vec4s for each invocation where rows are short. */
static uint32_t workgroup(const tv_recorder *recorder, uint64_t vocab) {
    return tv_row_workgroup(recorder, vocab <= 1024 ? 64 : 256);
}

tv_status tv_token_logprobs_record(tv_recorder *recorder, const tv_token_logprobs *l) {
    uint64_t vocab = l->vocab, most;
    if (vocab == 0)
        return TV_OK;
    TV_RETURN_IF_FAILED(
        tv_split_logits(recorder, "log-probabilities", l->rows, vocab, l->logits.dtype, &most));
    tv_part part = {0};
    while (tv_next_part(&part, l->rows, most)) {
        tv_token_logprobs_push push = {.rows = (uint32_t)part.count,
                                       .vocab = (uint32_t)vocab,
                                       .inverse_temperature = l->inverse_temperature,
                                       .has_entropy = tv_tensor_present(l->entropies)};
        tv_tensor logits =
            tv_tensor_window(l->logits, part.first * vocab, part.count * vocab, &push.first_logit);
        tv_tensor targets = tv_tensor_window(l->targets, part.first, part.count, &push.first_row);
        tv_tensor logprobs = tv_tensor_window(l->logprobs, part.first, part.count, &push.first_row);
        tv_tensor lse = tv_tensor_window(l->lse, 2 * part.first, 2 * part.count, &push.first_lse);
        tv_tensor entropies = push.has_entropy
                                  ? tv_tensor_window(l->entropies, part.first, part.count, &push.first_row)
                                  : TV_ABSENT;
        push.first_lse /= 2;
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = vocab % 4 == 0 ? TV_PROGRAM_token_logprobs_vec4
                                                             : TV_PROGRAM_token_logprobs_base,
                                   .push = &push,
                                   .groups = part.count,
                                   .bindings = {logits, targets, logprobs, lse, entropies},
                                   .specialization = {workgroup(recorder, vocab)},
                                   .specialization_count = 1,
                                   .shape = {part.count, vocab}}));
    }
    return TV_OK;
}

tv_status tv_token_gradient_record(tv_recorder *recorder, const tv_token_gradient *g) {
    uint64_t vocab = g->vocab, most;
    if (vocab == 0)
        return TV_OK;
    TV_RETURN_IF_FAILED(
        tv_split_logits(recorder, "gradients of log-probabilities", g->rows, vocab, g->logits.dtype, &most));
    tv_part part = {0};
    while (tv_next_part(&part, g->rows, most)) {
        tv_token_logprobs_push push = {.rows = (uint32_t)part.count,
                                       .vocab = (uint32_t)vocab,
                                       .inverse_temperature = g->inverse_temperature};
        tv_tensor logits =
            tv_tensor_window(g->logits, part.first * vocab, part.count * vocab, &push.first_logit);
        tv_tensor targets = tv_tensor_window(g->targets, part.first, part.count, &push.first_row);
        tv_tensor lse = tv_tensor_window(g->lse, 2 * part.first, 2 * part.count, &push.first_lse);
        tv_tensor d_logprobs = tv_tensor_window(g->d_logprobs, part.first, part.count, &push.first_row);
        push.first_lse /= 2;
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = vocab % 4 == 0 ? TV_PROGRAM_token_gradient_vec4
                                                             : TV_PROGRAM_token_gradient_base,
                                   .push = &push,
                                   .groups = part.count,
                                   .bindings = {logits, targets, lse, d_logprobs},
                                   .specialization = {workgroup(recorder, vocab)},
                                   .specialization_count = 1,
                                   .shape = {part.count, vocab}}));
    }
    return TV_OK;
}
