/* The policy as a loss head: see policy_head.h. */
#include "model/policy_head.h"

#include "kernels/logprobs.h"
#include "kernels/reduce.h"
#include "model/logprob_chunks.h"

enum { SETTING_CLIP, SETTING_INVERSE_TEMPERATURE };
enum { SCRATCH_LSE, SCRATCH_D_LOGPROBS, SCRATCH_STATS, SCRATCH_SUMS };

static tv_status loss_of(const tv_loss_head *head, tv_recorder *recorder, const tv_head_tensors *t,
                         tv_part chunk) {
    uint64_t first = chunk.first, rows = chunk.count;
    return tv_ppo_policy_record(
        recorder, &(tv_ppo_policy){
                      .rows = rows,
                      .clip = head->settings[SETTING_CLIP],
                      .targets = tv_tensor_rows(t->inputs[TV_POLICY_TARGETS], 1, first, rows),
                      .logprobs = tv_tensor_rows(t->outputs[TV_POLICY_LOGPROBS], 1, first, rows),
                      .old_logprobs = tv_tensor_rows(t->inputs[TV_POLICY_OLD_LOGPROBS], 1, first, rows),
                      .advantages = tv_tensor_rows(t->inputs[TV_POLICY_ADVANTAGES], 1, first, rows),
                      .entropies = tv_tensor_rows(t->outputs[TV_POLICY_ENTROPIES], 1, first, rows),
                      .step = t->step,
                      .d_logprobs = tv_tensor_rows(t->scratch[SCRATCH_D_LOGPROBS], 1, first, rows),
                      .stats = tv_tensor_rows(t->scratch[SCRATCH_STATS], TV_PPO_POLICY_STATS, first, rows)});
}

static tv_status record(const tv_loss_head *head, tv_recorder *recorder, const tv_model *model,
                        const tv_activations *activations, const tv_head_tensors *tensors, bool gradient) {
    tv_record_push_label(recorder, "%s", head->name);
    const tv_logprob_chunks chunks = {.model = model,
                                      .activations = activations,
                                      .inverse_temperature = head->settings[SETTING_INVERSE_TEMPERATURE],
                                      .targets = tensors->inputs[TV_POLICY_TARGETS],
                                      .logprobs = tensors->outputs[TV_POLICY_LOGPROBS],
                                      .entropies = tensors->outputs[TV_POLICY_ENTROPIES],
                                      .lse = tensors->scratch[SCRATCH_LSE],
                                      .d_logprobs = tensors->scratch[SCRATCH_D_LOGPROBS]};
    tv_part chunk = {0};
    while (tv_next_part(&chunk, activations->rows, activations->head_rows)) {
        tv_tensor logits;
        TV_RETURN_IF_FAILED(tv_logprob_chunk_record(recorder, &chunks, chunk, &logits));
        if (!gradient)
            continue;
        TV_RETURN_IF_FAILED(loss_of(head, recorder, tensors, chunk));
        TV_RETURN_IF_FAILED(tv_logprob_chunk_backward(recorder, &chunks, chunk, logits));
    }
    if (gradient)
        TV_RETURN_IF_FAILED(tv_sum_rows(recorder, activations->rows, TV_PPO_POLICY_STATS,
                                        tensors->scratch[SCRATCH_STATS], tensors->stats,
                                        tensors->scratch[SCRATCH_SUMS]));
    tv_record_pop_label(recorder);
    return TV_OK;
}

tv_loss_head tv_policy_head(const void *settings, uint64_t batch, uint64_t tokens) {
    const tv_policy_settings *policy = settings;
    uint64_t rows = batch * tokens;
    return (tv_loss_head){
        .name = "policy",
        .input_words = {rows, rows, rows},
        .output_words = {rows, rows},
        .scratch_words = {2 * rows, rows, TV_PPO_POLICY_STATS * rows,
                          tv_sum_rows_scratch(rows, TV_PPO_POLICY_STATS) / sizeof(float)},
        .stat_count = TV_PPO_POLICY_STATS,
        .settings = {(float)policy->clip, tv_inverse_temperature(policy->temperature)},
        .record = record,
    };
}
