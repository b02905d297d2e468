/* Losses of preferences as a loss head: see dpo_head.h. */
#include "model/dpo_head.h"

#include "kernels/logprobs.h"
#include "kernels/reduce.h"
#include "model/heads.h"

enum { SETTING_BETA, SETTING_MARGIN, SETTING_AGREE, SETTING_DIFFER, SETTING_NLL };
enum { SIZE_PAIRS, SIZE_SCORE, SIZE_COST };
enum { SCRATCH_LOGPROBS, SCRATCH_LSE, SCRATCH_D_LOGPROBS, SCRATCH_SUMS };
enum { PAIR_WORDS = sizeof(struct tv_dpo_pair) / sizeof(uint32_t) };

static tv_status logprobs_of(tv_recorder *recorder, const tv_model *model, const tv_activations *a,
                             const tv_head_tensors *t, tv_part chunk) {
    tv_tensor logits;
    TV_RETURN_IF_FAILED(tv_language_logits(recorder, model, a, chunk.first, chunk.count, &logits));
    return tv_token_logprobs_record(
        recorder, &(tv_token_logprobs){
                      .rows = chunk.count,
                      .vocab = tv_model_list(model)->config.vocab_size,
                      .inverse_temperature = 1,
                      .logits = logits,
                      .targets = tv_tensor_rows(t->inputs[TV_DPO_TARGETS], 1, chunk.first, chunk.count),
                      .logprobs = tv_tensor_rows(t->scratch[SCRATCH_LOGPROBS], 1, chunk.first, chunk.count),
                      .lse = tv_tensor_rows(t->scratch[SCRATCH_LSE], 2, chunk.first, chunk.count)});
}

/* The logits again, unless one chunk held them all and they still stand, then their gradient and its way
 * back. */
static tv_status gradient_of(tv_recorder *recorder, const tv_model *model, const tv_activations *a,
                             const tv_head_tensors *t, tv_part chunk) {
    uint64_t vocab = tv_model_list(model)->config.vocab_size;
    tv_tensor logits = tv_tensor_rows(a->logits, vocab, 0, chunk.count);
    if (chunk.count < a->rows)
        TV_RETURN_IF_FAILED(tv_language_logits(recorder, model, a, chunk.first, chunk.count, &logits));
    TV_RETURN_IF_FAILED(tv_token_gradient_record(
        recorder,
        &(tv_token_gradient){
            .rows = chunk.count,
            .vocab = vocab,
            .inverse_temperature = 1,
            .logits = logits,
            .targets = tv_tensor_rows(t->inputs[TV_DPO_TARGETS], 1, chunk.first, chunk.count),
            .lse = tv_tensor_rows(t->scratch[SCRATCH_LSE], 2, chunk.first, chunk.count),
            .d_logprobs = tv_tensor_rows(t->scratch[SCRATCH_D_LOGPROBS], 1, chunk.first, chunk.count)}));
    return tv_language_logits_backward(recorder, model, a, chunk.first, chunk.count);
}

static tv_status record(const tv_loss_head *head, tv_recorder *recorder, const tv_model *model,
                        const tv_activations *activations, const tv_head_tensors *tensors, bool gradient) {
    uint64_t pairs = head->sizes[SIZE_PAIRS];
    tv_tensor stats = tensors->outputs[TV_DPO_PAIR_STATS];
    tv_record_push_label(recorder, "%s", head->name);
    tv_part chunk = {0};
    while (tv_next_part(&chunk, activations->rows, activations->head_rows))
        TV_RETURN_IF_FAILED(logprobs_of(recorder, model, activations, tensors, chunk));
    TV_RETURN_IF_FAILED(tv_dpo_record(
        recorder, &(tv_dpo){.pairs = pairs,
                            .rows = activations->rows,
                            .loss = {.score = (uint32_t)head->sizes[SIZE_SCORE],
                                     .cost = (uint32_t)head->sizes[SIZE_COST],
                                     .beta = head->settings[SETTING_BETA],
                                     .margin = head->settings[SETTING_MARGIN],
                                     .agree = head->settings[SETTING_AGREE],
                                     .differ = head->settings[SETTING_DIFFER],
                                     .nll = head->settings[SETTING_NLL]},
                            .table = tensors->inputs[TV_DPO_PAIRS],
                            .logprobs = tensors->scratch[SCRATCH_LOGPROBS],
                            .step = tensors->step,
                            .d_logprobs = gradient ? tensors->scratch[SCRATCH_D_LOGPROBS] : TV_ABSENT,
                            .stats = stats}));
    if (gradient) {
        TV_RETURN_IF_FAILED(tv_sum_rows(recorder, pairs, TV_DPO_STATS, stats, tensors->stats,
                                        tensors->scratch[SCRATCH_SUMS]));
        chunk = (tv_part){0};
        while (tv_next_part(&chunk, activations->rows, activations->head_rows))
            TV_RETURN_IF_FAILED(gradient_of(recorder, model, activations, tensors, chunk));
    }
    tv_record_pop_label(recorder);
    return TV_OK;
}

tv_loss_head tv_dpo_head(const void *settings, uint64_t batch, uint64_t tokens) {
    const tv_dpo_loss *loss = settings;
    uint64_t rows = batch * tokens, pairs = batch / 2;
    return (tv_loss_head){
        .name = "dpo",
        .input_words = {rows, PAIR_WORDS * pairs},
        .output_words = {TV_DPO_STATS * pairs},
        .scratch_words = {rows, 2 * rows, rows, tv_sum_rows_scratch(pairs, TV_DPO_STATS) / sizeof(float)},
        .stat_count = TV_DPO_STATS,
        .settings = {[SETTING_BETA] = loss->beta,
                     [SETTING_MARGIN] = loss->margin,
                     [SETTING_AGREE] = loss->agree,
                     [SETTING_DIFFER] = loss->differ,
                     [SETTING_NLL] = loss->nll},
        .sizes = {[SIZE_PAIRS] = pairs, [SIZE_SCORE] = loss->score, [SIZE_COST] = loss->cost},
        .record = record,
    };
}
