/* The policy among groups of answers: see group_head.h. */
#include "model/group_head.h"

#include "kernels/logprobs.h"
#include "kernels/reduce.h"
#include "model/logprob_chunks.h"

enum { SETTING_CLIP_LOW, SETTING_CLIP_HIGH, SETTING_BETA, SETTING_INVERSE_TEMPERATURE };
enum { SIZE_SEQUENCES, SIZE_TOKENS, SIZE_MODE, SIZE_ONE_RATIO };
enum { SCRATCH_LSE, SCRATCH_D_LOGPROBS, SCRATCH_STATS, SCRATCH_SUMS, SCRATCH_RATIOS };
enum { ROW_WORDS = sizeof(struct tv_group_row) / sizeof(uint32_t) };

static tv_status loss_of(const tv_loss_head *head, tv_recorder *recorder, const tv_head_tensors *t,
                         tv_part rows) {
    const float *settings = head->settings;
    return tv_group_policy_record(
        recorder,
        &(tv_group_policy){
            .rows = rows.count,
            .mode = (uint32_t)head->sizes[SIZE_MODE],
            .clip_low = settings[SETTING_CLIP_LOW],
            .clip_high = settings[SETTING_CLIP_HIGH],
            .beta = settings[SETTING_BETA],
            .targets = tv_tensor_rows(t->inputs[TV_GROUP_TARGETS], 1, rows.first, rows.count),
            .logprobs = tv_tensor_rows(t->outputs[TV_GROUP_LOGPROBS], 1, rows.first, rows.count),
            .entropies = tv_tensor_rows(t->outputs[TV_GROUP_ENTROPIES], 1, rows.first, rows.count),
            .sequence_ratios = head->sizes[SIZE_ONE_RATIO]
                                   ? tv_tensor_rows(t->scratch[SCRATCH_RATIOS], 1, rows.first, rows.count)
                                   : TV_ABSENT,
            .table = tv_tensor_rows(t->inputs[TV_GROUP_ROWS], ROW_WORDS, rows.first, rows.count),
            .step = t->step,
            .d_logprobs = tv_tensor_rows(t->scratch[SCRATCH_D_LOGPROBS], 1, rows.first, rows.count),
            .stats = tv_tensor_rows(t->scratch[SCRATCH_STATS], TV_GROUP_STATS, rows.first, rows.count)});
}

static tv_status ratios_of(const tv_loss_head *head, tv_recorder *recorder, const tv_head_tensors *t) {
    return tv_group_sequence_record(recorder,
                                    &(tv_group_sequence){.sequences = head->sizes[SIZE_SEQUENCES],
                                                         .tokens = head->sizes[SIZE_TOKENS],
                                                         .targets = t->inputs[TV_GROUP_TARGETS],
                                                         .logprobs = t->outputs[TV_GROUP_LOGPROBS],
                                                         .table = t->inputs[TV_GROUP_ROWS],
                                                         .sequence_ratios = t->scratch[SCRATCH_RATIOS]});
}

static tv_status record(const tv_loss_head *head, tv_recorder *recorder, const tv_model *model,
                        const tv_activations *activations, const tv_head_tensors *tensors, bool gradient) {
    const uint64_t rows = activations->rows, most = activations->head_rows;
    const bool one_ratio = head->sizes[SIZE_ONE_RATIO] != 0;
    const tv_logprob_chunks chunks = {.model = model,
                                      .activations = activations,
                                      .inverse_temperature = head->settings[SETTING_INVERSE_TEMPERATURE],
                                      .targets = tensors->inputs[TV_GROUP_TARGETS],
                                      .logprobs = tensors->outputs[TV_GROUP_LOGPROBS],
                                      .entropies = tensors->outputs[TV_GROUP_ENTROPIES],
                                      .lse = tensors->scratch[SCRATCH_LSE],
                                      .d_logprobs = tensors->scratch[SCRATCH_D_LOGPROBS]};
    tv_tensor logits = TV_ABSENT;
    tv_record_push_label(recorder, "%s", head->name);
    tv_part chunk = {0};
    while (tv_next_part(&chunk, rows, most)) {
        TV_RETURN_IF_FAILED(tv_logprob_chunk_record(recorder, &chunks, chunk, &logits));
        if (!gradient || one_ratio)
            continue;
        TV_RETURN_IF_FAILED(loss_of(head, recorder, tensors, chunk));
        TV_RETURN_IF_FAILED(tv_logprob_chunk_backward(recorder, &chunks, chunk, logits));
    }
    if (gradient && one_ratio) {
        TV_RETURN_IF_FAILED(ratios_of(head, recorder, tensors));
        TV_RETURN_IF_FAILED(loss_of(head, recorder, tensors, (tv_part){0, rows}));
        chunk = (tv_part){0};
        while (tv_next_part(&chunk, rows, most))
            TV_RETURN_IF_FAILED(
                tv_logprob_chunk_backward(recorder, &chunks, chunk, chunk.count < rows ? TV_ABSENT : logits));
    }
    if (gradient)
        TV_RETURN_IF_FAILED(tv_sum_rows(recorder, rows, TV_GROUP_STATS, tensors->scratch[SCRATCH_STATS],
                                        tensors->stats, tensors->scratch[SCRATCH_SUMS]));
    tv_record_pop_label(recorder);
    return TV_OK;
}

tv_loss_head tv_group_head(const void *settings, uint64_t batch, uint64_t tokens) {
    const tv_group_settings *group = settings;
    uint64_t rows = batch * tokens;
    return (tv_loss_head){
        .name = "group",
        .input_words = {rows, ROW_WORDS * rows},
        .output_words = {rows, rows},
        .scratch_words = {2 * rows, rows, TV_GROUP_STATS * rows,
                          tv_sum_rows_scratch(rows, TV_GROUP_STATS) / sizeof(float),
                          group->sequence ? rows : 0},
        .stat_count = TV_GROUP_STATS,
        .settings = {[SETTING_CLIP_LOW] = (float)group->clip_low,
                     [SETTING_CLIP_HIGH] = (float)group->clip_high,
                     [SETTING_BETA] = (float)group->beta,
                     [SETTING_INVERSE_TEMPERATURE] = tv_inverse_temperature(group->temperature)},
        .sizes = {[SIZE_SEQUENCES] = batch,
                  [SIZE_TOKENS] = tokens,
                  [SIZE_MODE] = group->mode,
                  [SIZE_ONE_RATIO] = group->sequence},
        .record = record,
    };
}
