/* The policy as a loss head: see policy_head.h. */
#include "model/policy_head.h"

#include "kernels/logprobs.h"
#include "kernels/reduce.h"
#include "model/heads.h"

enum { SETTING_CLIP, SETTING_INVERSE_TEMPERATURE };
enum { SCRATCH_LSE, SCRATCH_D_LOGPROBS, SCRATCH_STATS, SCRATCH_SUMS };

/* One chunk of logits: log-probabilities and entropies; with `gradient` also the loss and the way back. */
static tv_status chunk_of(const tv_loss_head *head, tv_recorder *recorder, const tv_model *model,
                          const tv_activations *a, const tv_head_tensors *t, bool gradient, uint64_t first,
                          uint64_t rows) {
    uint64_t vocab = tv_model_list(model)->config.vocab_size;
    float inverse_temperature = head->settings[SETTING_INVERSE_TEMPERATURE];
    tv_tensor logits, targets = tv_tensor_rows(t->inputs[TV_POLICY_TARGETS], 1, first, rows);
    tv_tensor logprobs = tv_tensor_rows(t->outputs[TV_POLICY_LOGPROBS], 1, first, rows);
    tv_tensor entropies = tv_tensor_rows(t->outputs[TV_POLICY_ENTROPIES], 1, first, rows);
    tv_tensor lse = tv_tensor_rows(t->scratch[SCRATCH_LSE], 2, first, rows);
    tv_tensor d_logprobs = tv_tensor_rows(t->scratch[SCRATCH_D_LOGPROBS], 1, first, rows);
    TV_RETURN_IF_FAILED(tv_language_logits(recorder, model, a, first, rows, &logits));
    TV_RETURN_IF_FAILED(
        tv_token_logprobs_record(recorder, &(tv_token_logprobs){.rows = rows,
                                                                .vocab = vocab,
                                                                .inverse_temperature = inverse_temperature,
                                                                .logits = logits,
                                                                .targets = targets,
                                                                .logprobs = logprobs,
                                                                .lse = lse,
                                                                .entropies = entropies}));
    if (!gradient)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_ppo_policy_record(
        recorder, &(tv_ppo_policy){
                      .rows = rows,
                      .clip = head->settings[SETTING_CLIP],
                      .targets = targets,
                      .logprobs = logprobs,
                      .old_logprobs = tv_tensor_rows(t->inputs[TV_POLICY_OLD_LOGPROBS], 1, first, rows),
                      .advantages = tv_tensor_rows(t->inputs[TV_POLICY_ADVANTAGES], 1, first, rows),
                      .entropies = entropies,
                      .step = t->step,
                      .d_logprobs = d_logprobs,
                      .stats = tv_tensor_rows(t->scratch[SCRATCH_STATS], TV_PPO_POLICY_STATS, first, rows)}));
    TV_RETURN_IF_FAILED(
        tv_token_gradient_record(recorder, &(tv_token_gradient){.rows = rows,
                                                                .vocab = vocab,
                                                                .inverse_temperature = inverse_temperature,
                                                                .logits = logits,
                                                                .targets = targets,
                                                                .lse = lse,
                                                                .d_logprobs = d_logprobs}));
    return tv_language_logits_backward(recorder, model, a, first, rows);
}

static tv_status record(const tv_loss_head *head, tv_recorder *recorder, const tv_model *model,
                        const tv_activations *activations, const tv_head_tensors *tensors, bool gradient) {
    tv_record_push_label(recorder, "%s", head->name);
    tv_part chunk = {0};
    while (tv_next_part(&chunk, activations->rows, activations->head_rows))
        TV_RETURN_IF_FAILED(
            chunk_of(head, recorder, model, activations, tensors, gradient, chunk.first, chunk.count));
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
        .settings = {(float)policy->clip, (float)(1 / policy->temperature)},
        .record = record,
    };
}
