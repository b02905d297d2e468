/* The tensors of a trainer, made and run by hand: see head_lab.h. */
#include "support/head_lab.h"

#include <stdlib.h>

#include "base/rng.h"
#include "model/backward.h"
#include "push_constants.h"
#include "vk/transfer.h"

tv_head_lab tv_head_lab_create(tv_device *device, const tv_parameter_list *list, tv_loss_head head,
                               uint64_t batch, uint64_t tokens, double terms) {
    tv_head_lab l = {.head = head, .rows = batch * tokens};
    l.lm.device = device;
    l.lm.list = list;
    uint32_t *ids = calloc(l.rows, sizeof *ids);
    assert_non_null(ids);
    const tv_rng rng = {.seed = 7, .stream = TV_STREAM_TEST};
    for (uint64_t i = 0; i < l.rows; i++)
        ids[i] = (uint32_t)tv_uniform_below(&rng, i, list->config.vocab_size);
    l.tokens = tv_test_uints(device, l.rows, ids);
    free(ids);
    const struct tv_step_constants constants = {.loss_scale = (float)(1 / terms)};
    l.step = tv_test_bytes(device, sizeof constants, &constants);
    l.stats = tv_test_floats(device, head.stat_count, l.sums);
    for (int i = 0; i < TV_HEAD_TENSORS; i++) {
        l.inputs[i] = tv_test_floats(device, head.input_words[i], NULL);
        l.outputs[i] = tv_test_floats(device, head.output_words[i], NULL);
        l.scratch[i] = tv_test_floats(device, head.scratch_words[i], NULL);
        l.out[i] = calloc(head.output_words[i] + 1, sizeof(float));
        assert_non_null(l.out[i]);
    }
    assert_ok(tv_model_create(device, list, true, &l.lm.model));
    assert_ok(tv_model_need_context(l.lm.model, tokens));
    assert_ok(tv_activations_create(
        device, tv_device_caps(device), list,
        &(tv_activations_options){.batch = batch, .tokens = tokens, .backward = true}, &l.lm.activations));
    float *flat = calloc(list->elements, sizeof *flat);
    assert_non_null(flat);
    tv_test_draw_parameters(list, 11, flat);
    tv_test_set_parameters(&l.lm, flat);
    free(flat);
    return l;
}

void tv_head_lab_free(tv_head_lab *l) {
    tv_test_free(&l->tokens);
    tv_test_free(&l->step);
    tv_test_free(&l->stats);
    for (int i = 0; i < TV_HEAD_TENSORS; i++) {
        tv_test_free(&l->inputs[i]);
        tv_test_free(&l->outputs[i]);
        tv_test_free(&l->scratch[i]);
        free(l->out[i]);
    }
    tv_activations_destroy(&l->lm.activations);
    tv_model_destroy(&l->lm.model);
}

void tv_head_lab_input(const tv_head_lab *l, int input, const void *words) {
    assert_ok(tv_upload(l->lm.device, l->inputs[input].tensor.span, words, l->head.input_words[input] * 4));
}

void tv_head_lab_run_on(tv_head_lab *l, bool gradient) {
    const tv_model_inputs inputs = {.tokens = l->tokens.tensor};
    tv_head_tensors tensors = {.stats = l->stats.tensor, .step = l->step.tensor};
    for (int i = 0; i < TV_HEAD_TENSORS; i++) {
        tensors.inputs[i] = l->inputs[i].tensor;
        tensors.outputs[i] = l->outputs[i].tensor;
        tensors.scratch[i] = l->scratch[i].tensor;
    }
    tv_recorder *recorder = tv_test_begin(l->lm.device);
    assert_ok(tv_forward(recorder, l->lm.model, l->lm.activations, &inputs));
    assert_ok(l->head.record(&l->head, recorder, l->lm.model, l->lm.activations, &tensors, gradient));
    if (gradient)
        assert_ok(tv_backward(recorder, l->lm.model, l->lm.activations, &inputs));
    tv_test_run(l->lm.device, recorder);
    for (int i = 0; i < TV_HEAD_TENSORS; i++)
        if (l->head.output_words[i])
            tv_test_read(&l->outputs[i], l->out[i]);
    tv_test_read(&l->stats, l->sums);
}

void tv_head_lab_run(tv_head_lab *l, bool gradient) {
    assert_ok(tv_clear(l->lm.device, l->stats.tensor.span));
    for (uint32_t i = 0; i < l->lm.list->count && gradient; i++)
        assert_ok(tv_clear(l->lm.device, tv_model_gradient_at(l->lm.model, i).span));
    tv_head_lab_run_on(l, gradient);
}
