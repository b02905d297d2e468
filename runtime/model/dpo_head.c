/* Losses of preferences as a loss head: see dpo_head.h. */
#include "model/dpo_head.h"

#include "kernels/reduce.h"
#include "model/logprob_chunks.h"

enum { SETTING_BETA, SETTING_MARGIN, SETTING_AGREE, SETTING_DIFFER, SETTING_NLL };
enum { SIZE_PAIRS, SIZE_SCORE, SIZE_COST };
enum { SCRATCH_LOGPROBS, SCRATCH_LSE, SCRATCH_D_LOGPROBS, SCRATCH_SUMS };
enum { PAIR_WORDS = sizeof(struct tv_dpo_pair) / sizeof(uint32_t) };

static tv_status record(const tv_loss_head *head, tv_recorder *recorder, const tv_model *model,
                        const tv_activations *activations, const tv_head_tensors *tensors, bool gradient) {
    uint64_t pairs = head->sizes[SIZE_PAIRS];
    tv_tensor stats = tensors->outputs[TV_DPO_PAIR_STATS];
    tv_record_push_label(recorder, "%s", head->name);
    const tv_logprob_chunks chunks = {.model = model,
                                      .activations = activations,
                                      .inverse_temperature = 1,
                                      .targets = tensors->inputs[TV_DPO_TARGETS],
                                      .logprobs = tensors->scratch[SCRATCH_LOGPROBS],
                                      .lse = tensors->scratch[SCRATCH_LSE],
                                      .d_logprobs = tensors->scratch[SCRATCH_D_LOGPROBS]};
    tv_tensor logits = TV_ABSENT;
    tv_part chunk = {0};
    while (tv_next_part(&chunk, activations->rows, activations->head_rows))
        TV_RETURN_IF_FAILED(tv_logprob_chunk_record(recorder, &chunks, chunk, &logits));
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
            TV_RETURN_IF_FAILED(tv_logprob_chunk_backward(
                recorder, &chunks, chunk, chunk.count < activations->rows ? TV_ABSENT : logits));
    }
    tv_record_pop_label(recorder);
    return TV_OK;
}

tv_loss_head tv_dpo_head(const void *settings, uint64_t batch, uint64_t tokens) {
    const tv_dpo_loss *loss = settings;
    uint64_t rows = batch * tokens, pairs = loss->alone ? batch : batch / 2;
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
