/* A language model with one batch: see language_model.h. */
#include "support/language_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/classifier.h"
#include "model/backward.h"
#include "model/heads.h"
#include "push_constants.h"
#include "vk/transfer.h"

static tv_test_tensor optional(tv_device *device, uint64_t count, const uint32_t *values) {
    return values ? tv_test_uints(device, count, values) : (tv_test_tensor){0};
}

static void record(tv_test_language_model *lm, bool train, tv_recording **recording) {
    const tv_model_inputs inputs = {lm->tokens.tensor, lm->positions.tensor, lm->doc_start.tensor};
    const tv_language_loss loss = {.targets = lm->targets.tensor,
                                   .losses = lm->losses.tensor,
                                   .step = lm->constants.tensor,
                                   .gradient = train};
    tv_recorder *recorder = tv_test_begin(lm->device);
    assert_ok(tv_forward(recorder, lm->model, lm->activations, &inputs));
    assert_ok(tv_language_head(recorder, lm->model, lm->activations, &loss));
    if (train)
        assert_ok(tv_backward(recorder, lm->model, lm->activations, &inputs));
    assert_ok(tv_recorder_end(&recorder, recording));
}

tv_test_language_model tv_test_language_model_create(tv_device *device, const tv_parameter_list *list,
                                                     const tv_test_batch *batch, bool recompute) {
    uint64_t rows = batch->batch * batch->tokens;
    tv_test_language_model lm = {.device = device, .list = list};
    lm.tokens = tv_test_uints(device, rows, batch->token);
    lm.targets = tv_test_uints(device, rows, batch->target);
    lm.positions = optional(device, rows, batch->position);
    lm.doc_start = optional(device, rows, batch->doc_start);
    lm.target = calloc(rows, sizeof *lm.target);
    assert_non_null(lm.target);
    memcpy(lm.target, batch->target, rows * sizeof *lm.target);
    for (uint64_t i = 0; i < rows; i++)
        lm.valid += batch->target[i] != TV_IGNORED_TARGET;
    const struct tv_step_constants constants = {.loss_scale = lm.valid ? (float)(1.0 / (double)lm.valid) : 0};
    lm.constants = tv_test_bytes(device, sizeof constants, &constants);
    lm.losses = tv_test_floats(device, rows, NULL);
    assert_ok(tv_model_create(device, list, true, &lm.model));
    assert_ok(tv_model_need_context(lm.model, batch->tokens));
    assert_ok(tv_activations_create(
        device, tv_device_caps(device), list,
        &(tv_activations_options){
            .batch = batch->batch, .tokens = batch->tokens, .backward = true, .recompute = recompute},
        &lm.activations));
    record(&lm, false, &lm.forward);
    record(&lm, true, &lm.train);
    return lm;
}

void tv_test_language_model_free(tv_test_language_model *lm) {
    tv_recording_destroy(&lm->forward);
    tv_recording_destroy(&lm->train);
    tv_test_free(&lm->tokens);
    tv_test_free(&lm->targets);
    tv_test_free(&lm->positions);
    tv_test_free(&lm->doc_start);
    tv_test_free(&lm->constants);
    tv_test_free(&lm->losses);
    tv_activations_destroy(&lm->activations);
    tv_model_destroy(&lm->model);
    free(lm->target);
    *lm = (tv_test_language_model){0};
}

void tv_test_draw_parameters(const tv_parameter_list *list, uint64_t seed, float *flat) {
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        tv_rng rng = {.seed = seed, .stream = TV_STREAM_TEST, .step = i};
        bool table = p->role == TV_PARAMETER_EMBEDDING || p->role == TV_PARAMETER_POSITIONS;
        float mean = p->init == TV_INIT_ONE ? 1 : 0;
        float deviation = p->rank == 1 ? 0.3f : table ? 0.4f : (float)(1 / sqrt((double)p->shape[1]));
        for (uint64_t k = 0; k < p->count; k++)
            *flat++ = mean + deviation * tv_normal(&rng, k);
    }
}

void tv_test_set_parameters(const tv_test_language_model *lm, const float *flat) {
    for (uint32_t i = 0; i < lm->list->count; i++) {
        uint64_t count = lm->list->items[i].count;
        assert_ok(
            tv_upload(lm->device, tv_model_parameter_at(lm->model, i).span, flat, count * sizeof *flat));
        flat += count;
    }
}

void tv_test_get_parameters(const tv_test_language_model *lm, float *flat) {
    for (uint32_t i = 0; i < lm->list->count; i++) {
        uint64_t count = lm->list->items[i].count;
        assert_ok(
            tv_download(lm->device, tv_model_parameter_at(lm->model, i).span, flat, count * sizeof *flat));
        flat += count;
    }
}

static void run(const tv_test_language_model *lm, tv_recording *const *recording) {
    uint64_t value;
    assert_ok(tv_submit(lm->device, recording, 1, &value));
    assert_ok(tv_wait(lm->device, value));
}

static void check_bands(const tv_test_language_model *lm) {
    const tv_test_tensor *inputs[] = {&lm->tokens, &lm->targets, &lm->positions, &lm->doc_start};
    uint32_t *values = calloc(lm->activations->rows, sizeof *values);
    assert_non_null(values);
    for (int i = 0; i < 4; i++)
        if (inputs[i]->buffer)
            tv_test_read(inputs[i], values);
    free(values);
}

double tv_test_loss(const tv_test_language_model *lm, float *rows) {
    uint64_t count = lm->activations->rows;
    float *losses = calloc(count, sizeof *losses);
    assert_non_null(losses);
    run(lm, &lm->forward);
    tv_test_read(&lm->losses, losses);
    double sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += lm->target[i] == TV_IGNORED_TARGET ? 0 : (double)losses[i];
    if (rows)
        memcpy(rows, losses, count * sizeof *rows);
    free(losses);
    return lm->valid ? sum / (double)lm->valid : 0;
}

void tv_test_get_gradients(const tv_test_language_model *lm, float *flat) {
    for (uint32_t i = 0; i < lm->list->count; i++) {
        uint64_t count = lm->list->items[i].count;
        tv_tensor gradient = tv_model_gradient_at(lm->model, i);
        if (tv_tensor_present(gradient))
            assert_ok(tv_download(lm->device, gradient.span, flat, count * sizeof *flat));
        else
            memset(flat, 0, count * sizeof *flat);
        flat += count;
    }
}

void tv_test_gradients(const tv_test_language_model *lm, float *flat) {
    for (uint32_t i = 0; i < lm->list->count; i++)
        if (lm->list->items[i].trainable)
            assert_ok(tv_clear(lm->device, tv_model_gradient_at(lm->model, i).span));
    run(lm, &lm->train);
    check_bands(lm);
    tv_test_get_gradients(lm, flat);
}

uint64_t tv_test_flat_offset(const tv_parameter_list *list, uint32_t index) {
    uint64_t offset = 0;
    for (uint32_t i = 0; i < index; i++)
        offset += list->items[i].count;
    return offset;
}

double tv_test_relative_distance(const float *a, const float *b, uint64_t count) {
    double difference = 0, norm = 0;
    for (uint64_t i = 0; i < count; i++) {
        double d = (double)a[i] - (double)b[i];
        difference += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / norm);
}

float *tv_test_all_logits(const tv_model *model, const uint32_t *tokens, uint64_t batch, uint64_t length) {
    tv_device *device = tv_model_device(model);
    uint64_t vocab = tv_model_list(model)->config.vocab_size;
    tv_activations *activations = NULL;
    assert_ok(tv_model_need_context(model, length));
    assert_ok(tv_activations_create(device, tv_device_caps(device), tv_model_list(model),
                                    &(tv_activations_options){.batch = batch, .tokens = length},
                                    &activations));
    tv_test_tensor in = tv_test_uints(device, batch * length, tokens);
    tv_recorder *recorder = tv_test_begin(device);
    tv_tensor chunk;
    assert_ok(tv_forward(recorder, model, activations, &(tv_model_inputs){.tokens = in.tensor}));
    assert_ok(tv_language_logits(recorder, model, activations, 0, batch * length, &chunk));
    tv_test_run(device, recorder);
    float *logits = calloc(batch * length * vocab, sizeof *logits);
    assert_ok(tv_download(device, chunk.span, logits, batch * length * vocab * sizeof *logits));
    tv_test_free(&in);
    tv_activations_destroy(&activations);
    return logits;
}
