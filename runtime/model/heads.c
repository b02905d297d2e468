/* Heads: see heads.h. */
#include "model/heads.h"

#include "kernels/classifier.h"
#include "kernels/matmul.h"
#include "kernels/reduce.h"

tv_status tv_language_logits(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                             uint64_t first, uint64_t rows, tv_tensor *logits) {
    const tv_model_config *config = &tv_model_list(model)->config;
    uint32_t head = tv_parameter_head(tv_model_list(model));
    *logits = tv_tensor_rows(activations->logits, config->vocab_size, 0, rows);
    return tv_matmul_record(
        recorder, &(tv_matmul){.m = rows,
                               .n = config->vocab_size,
                               .k = config->channels,
                               .transpose_b = true,
                               .a = tv_tensor_rows(activations->final, config->channels, first, rows),
                               .b = tv_model_parameter_at(model, head),
                               .c = *logits});
}

tv_status tv_language_logits_backward(tv_recorder *recorder, const tv_model *model,
                                      const tv_activations *activations, uint64_t first, uint64_t rows) {
    const tv_model_config *config = &tv_model_list(model)->config;
    uint64_t channels = config->channels, vocab = config->vocab_size;
    uint32_t head = tv_parameter_head(tv_model_list(model));
    tv_tensor d_logits = tv_tensor_rows(activations->logits, vocab, 0, rows),
              d_weight = tv_model_gradient_at(model, head);
    if (tv_tensor_present(d_weight))
        TV_RETURN_IF_FAILED(tv_matmul_record(
            recorder, &(tv_matmul){.m = vocab,
                                   .n = channels,
                                   .k = rows,
                                   .transpose_a = true,
                                   .accumulate = true,
                                   .a = d_logits,
                                   .b = tv_tensor_rows(activations->final, channels, first, rows),
                                   .c = d_weight}));
    if (!tv_model_flows_below_head(model))
        return TV_OK;
    return tv_matmul_record(recorder,
                            &(tv_matmul){.m = rows,
                                         .n = channels,
                                         .k = vocab,
                                         .scratch = activations->scratch,
                                         .a = d_logits,
                                         .b = tv_model_parameter_at(model, head),
                                         .c = tv_tensor_rows(activations->d_narrow, channels, first, rows)});
}

tv_status tv_language_head(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                           const tv_language_loss *loss) {
    uint64_t vocab = tv_model_list(model)->config.vocab_size;
    tv_record_push_label(recorder, "head");
    tv_part chunk = {0};
    while (tv_next_part(&chunk, activations->rows, activations->head_rows)) {
        uint64_t first = chunk.first, rows = chunk.count;
        tv_tensor logits;
        TV_RETURN_IF_FAILED(tv_language_logits(recorder, model, activations, first, rows, &logits));
        TV_RETURN_IF_FAILED(tv_cross_entropy_record(
            recorder, &(tv_cross_entropy){.rows = rows,
                                          .vocab = vocab,
                                          .gradient = loss->gradient,
                                          .logits = logits,
                                          .targets = tv_tensor_rows(loss->targets, 1, first, rows),
                                          .losses = tv_tensor_rows(loss->losses, 1, first, rows),
                                          .hits = tv_tensor_rows(loss->hits, 1, first, rows),
                                          .step = loss->step}));
        if (loss->gradient)
            TV_RETURN_IF_FAILED(tv_language_logits_backward(recorder, model, activations, first, rows));
    }
    tv_record_pop_label(recorder);
    return TV_OK;
}

static tv_status record_language(const tv_loss_head *head, tv_recorder *recorder, const tv_model *model,
                                 const tv_activations *activations, const tv_head_tensors *tensors,
                                 bool gradient) {
    const tv_language_loss loss = {
        .targets = tensors->inputs[0],
        .losses = tensors->outputs[TV_LANGUAGE_LOSSES],
        .hits = tensors->outputs[TV_LANGUAGE_HITS],
        .step = tensors->step,
        .gradient = gradient,
    };
    TV_RETURN_IF_FAILED(tv_language_head(recorder, model, activations, &loss));
    tv_record_push_label(recorder, "loss");
    for (uint32_t i = 0; i < head->stat_count && gradient; i++)
        TV_RETURN_IF_FAILED(tv_reduce_sum(recorder, activations->rows, tensors->outputs[i], tensors->stats, i,
                                          true, activations->scratch));
    tv_record_pop_label(recorder);
    return TV_OK;
}

tv_loss_head tv_language_loss_head(uint64_t batch, uint64_t tokens) {
    return (tv_loss_head){.name = "language",
                          .input_words = {batch * tokens},
                          .output_words = {batch * tokens},
                          .stat_count = 1,
                          .record = record_language};
}

tv_loss_head tv_language_accuracy_head(const void *settings, uint64_t batch, uint64_t tokens) {
    (void)settings;
    tv_loss_head head = tv_language_loss_head(batch, tokens);
    head.output_words[TV_LANGUAGE_HITS] = batch * tokens;
    head.stat_count = 2;
    return head;
}

static tv_status record_logits(const tv_loss_head *head, tv_recorder *recorder, const tv_model *model,
                               const tv_activations *activations, const tv_head_tensors *tensors,
                               bool gradient) {
    (void)head;
    (void)gradient;
    uint64_t vocab = tv_model_list(model)->config.vocab_size;
    tv_record_push_label(recorder, "head");
    tv_part chunk = {0};
    while (tv_next_part(&chunk, activations->rows, activations->head_rows)) {
        tv_tensor logits;
        TV_RETURN_IF_FAILED(
            tv_language_logits(recorder, model, activations, chunk.first, chunk.count, &logits));
        TV_RETURN_IF_FAILED(
            tv_record_copy(recorder, logits.span,
                           tv_tensor_rows(tensors->outputs[0], vocab, chunk.first, chunk.count).span));
    }
    tv_record_pop_label(recorder);
    return TV_OK;
}

tv_loss_head tv_language_logits_head(const void *config, uint64_t batch, uint64_t tokens) {
    uint64_t vocab = ((const tv_model_config *)config)->vocab_size;
    return (tv_loss_head){
        .name = "logits", .output_words = {batch * tokens * vocab}, .stat_count = 1, .record = record_logits};
}
