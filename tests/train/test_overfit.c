/* One batch is learned by heart, by both families: the whole loop of forward, backward and AdamW goes
 * downhill to the bottom, from GPT-2's initialisation.
 *
 * 4 x 32 tokens drawn at random, so that nothing but memory helps: the loss starts at log V (5.7) and must be
 * below 0.05, 95 % sure of every token, within STEPS steps.
 *
 * Tried on 2026-11-22: AdamW's step with the wrong sign, the residual's gradient not added at norm1 (GPT-2):
 * each fails. Smaller mistakes than these still learn a batch; they are the business of
 * tests/model/test_gradients.c.
 */
#include "support/device.h"

#include <math.h>

#include "base/rng.h"
#include "base/tokens.h"
#include "train/step.h"
#include "train/trainer.h"
#include "vk/transfer.h"

enum { BATCH = 4, TOKENS = 32, VOCAB = 301, STEPS = 60 };

static tv_status one_batch(void *context, tv_micro_batch *batch) {
    (void)context;
    tv_rng rng = {.seed = 4, .stream = TV_STREAM_TEST};
    for (uint64_t i = 0; i < BATCH * TOKENS; i++) {
        batch->tokens[i] = (uint32_t)tv_uniform_below(&rng, i, VOCAB);
        batch->targets[i] = (uint32_t)tv_uniform_below(&rng, BATCH * TOKENS + i, VOCAB);
    }
    return TV_OK;
}

static tv_model_config small_config(tv_architecture architecture) {
    tv_model_config config = tv_model_config_defaults(architecture);
    config.vocab_size = VOCAB;
    config.n_layer = 2;
    config.n_head = 4;
    config.n_kv_head = architecture == TV_ARCH_GPT2 ? 4 : 2;
    config.head_size = 16;
    config.channels = 64;
    config.ffn = architecture == TV_ARCH_GPT2 ? 256 : 168;
    config.max_positions = TOKENS;
    config.bos_token_id = config.eos_token_id = config.pad_token_id = -1;
    return config;
}

static void learn_by_heart(tv_device *device, tv_architecture architecture) {
    const tv_model_config config = small_config(architecture);
    tv_parameter_list *list = NULL;
    tv_model *model = NULL;
    tv_trainer *trainer = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_ok(tv_model_create(device, list, true, &model));
    assert_ok(tv_model_initialise(model, 1));
    const tv_trainer_options options = {.stage = "test", .batch = BATCH, .tokens = TOKENS, .train = true};
    assert_ok(tv_trainer_create(model, &options, &trainer));
    const struct tv_step_constants constants = tv_step_constants_make(5e-3, 0, 0.9, 0.95, 1e-8, 1);
    tv_step_result result;
    bool has_result;
    for (int step = 0; step < STEPS; step++) {
        assert_ok(tv_trainer_step(trainer, &constants, one_batch, NULL, &result, &has_result));
        if (has_result && result.number == 0)
            assert_near(result.loss, log(VOCAB), 0.2);
    }
    double loss_sum;
    uint64_t targets;
    for (has_result = true; has_result;)
        assert_ok(tv_trainer_drain(trainer, &result, &has_result));
    assert_ok(tv_trainer_evaluate(trainer, 1, one_batch, NULL, NULL, NULL, &loss_sum, &targets));
    assert_int_equal(targets, BATCH * TOKENS);
    if (!(loss_sum / (double)targets < 0.05))
        fail_msg("after %d steps the loss is %.4f", STEPS, loss_sum / (double)targets);
    assert_int_equal(result.state.applied, STEPS);
    tv_trainer_destroy(&trainer);
    tv_model_destroy(&model);
    tv_parameter_list_destroy(&list);
}

static void gpt2_learns_a_batch_by_heart(void **state) {
    learn_by_heart(*state, TV_ARCH_GPT2);
}

static void llama_learns_a_batch_by_heart(void **state) {
    learn_by_heart(*state, TV_ARCH_LLAMA);
}

static tv_status no_targets(void *context, tv_micro_batch *batch) {
    assert_ok(one_batch(context, batch));
    for (uint64_t i = 0; i < BATCH * TOKENS; i++)
        batch->targets[i] = TV_IGNORED_TARGET;
    return TV_OK;
}

/* One step on the batch: as its own step, or accumulated `scale` times by another trainer of the model before
 * a step that adds nothing. The first parameter's values and the norm. */
static double step_once(tv_device *device, double scale, float *values) {
    const tv_model_config config = small_config(TV_ARCH_GPT2);
    const tv_trainer_options options = {.stage = "test", .batch = BATCH, .tokens = TOKENS, .train = true};
    const struct tv_step_constants constants = tv_step_constants_make(5e-3, 0, 0.9, 0.95, 1e-8, 0);
    tv_parameter_list *list = NULL;
    tv_model *model = NULL;
    tv_trainer *trainer = NULL, *other = NULL;
    tv_step_result result;
    bool has_result;
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_ok(tv_model_create(device, list, true, &model));
    assert_ok(tv_model_initialise(model, 1));
    assert_ok(tv_trainer_create(model, &options, &trainer));
    assert_ok(tv_trainer_create(model, &options, &other));
    if (scale > 0) {
        assert_ok(tv_trainer_accumulate(other, scale, one_batch, NULL, &result, &has_result));
        assert_ok(tv_trainer_drain(other, &result, &has_result));
        assert_true(has_result && result.terms == BATCH * TOKENS);
        assert_near(result.loss, log(VOCAB), 0.2);
    }
    assert_ok(
        tv_trainer_step(trainer, &constants, scale > 0 ? no_targets : one_batch, NULL, &result, &has_result));
    assert_ok(tv_trainer_drain(trainer, &result, &has_result));
    assert_true(has_result && result.state.applied == 1);
    assert_ok(tv_download(device, tv_model_parameter_at(model, 0).span, values,
                          list->items[0].count * sizeof *values));
    tv_trainer_destroy(&other);
    tv_trainer_destroy(&trainer);
    tv_model_destroy(&model);
    tv_parameter_list_destroy(&list);
    return result.grad_norm;
}

/* Tried: an accumulation that is not scaled, and one that also updates, fail here. */
static void another_trainer_adds_its_gradient(void **state) {
    static float alone[VOCAB * 64], added[VOCAB * 64], twice[VOCAB * 64];
    double norm = step_once(*state, 0, alone);
    assert_near(step_once(*state, 1, added), norm, 0);
    assert_memory_equal(alone, added, sizeof alone);
    assert_near(step_once(*state, 2, twice) / norm, 2, 1e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2_learns_a_batch_by_heart),
        cmocka_unit_test(llama_learns_a_batch_by_heart),
        cmocka_unit_test(another_trainer_adds_its_gradient),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
