/* Lower device limits and the kernels' forms for GPUs leave the first step as it is.
 *
 * The golden models' embedding takes 78,592 bytes and their logits 314,368, so at a storage range of 65,536
 * bytes the vocabulary goes by chunks, and rows, parameters and their moments by parts. A binding must hold
 * the queries, keys and values of one sequence (49,152 bytes for the GPT-2), so 16,384 is tried with
 * sequences of 16 tokens. cpu_kernels=0 runs the forms that GPUs take on whatever device is here.
 *
 * Tolerance of the comparisons without PyTorch: a sum cut into parts of another size is another order of
 * summation; loss 2e-6, gradients 5e-6 of their norm as in support/golden.h.
 *
 * Tried on 2026-11-22, each fails here and in no other model test: the tiled matrix product drops its last
 * step (only cpu_kernels=0 and subgroup_shuffle=0 run it on a CPU), later parts of a cut product overwrite,
 * the chunk of the embedding starts at 0, a part of the classifier reads the first rows' targets, so does a
 * chunk of logits.
 */
#include "support/golden.h"
#include "support/small_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "formats/directory.h"
#include "train/trainer.h"

static const char *const models[] = {"gpt2_100k", "llama_100k"};

/* The settings are lowered one by one, then together. */
static const char *const settings[] = {
    "storage_range=65536",
    "group_count_x=8",
    "push_descriptors=0",
    "unified_memory=0",
    "cpu_kernels=0",
    "subgroup_shuffle=0",
    ("storage_range=65536,group_count_x=8,push_descriptors=0,unified_memory=0,cpu_kernels=0,"
     "subgroup_shuffle=0"),
};

static void first_step(const char *setting, bool recompute) {
    tv_device *device = tv_test_open_lowered(setting);
    for (int m = 0; m < 2; m++) {
        tv_test_golden_model golden = tv_test_golden_open(models[m]);
        tv_test_golden_first_step(device, &golden, setting, recompute);
        tv_test_golden_close(&golden);
    }
    tv_device_close(&device);
}

static void first_step_within_limits(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        first_step(settings[i], false);
    first_step(settings[0], true);
}

typedef struct outcome {
    double loss;
    float *gradient;
} outcome;

static outcome run(tv_device *device, const tv_parameter_list *list, const tv_test_batch *batch) {
    outcome result = {.gradient = calloc(2 * list->elements, sizeof(float))};
    assert_non_null(result.gradient);
    float *parameters = result.gradient + list->elements;
    tv_test_language_model lm = tv_test_language_model_create(device, list, batch, false);
    tv_test_draw_parameters(list, 2, parameters);
    tv_test_set_parameters(&lm, parameters);
    result.loss = tv_test_loss(&lm, NULL);
    tv_test_gradients(&lm, result.gradient);
    tv_test_language_model_free(&lm);
    return result;
}

static void compare(tv_device *device, const char *lowered, const tv_model_config *config, uint64_t rows,
                    uint64_t tokens) {
    tv_parameter_list *list = NULL;
    assert_ok(tv_parameter_list_create(config, &list));
    uint32_t *ids = calloc(2 * rows * tokens, sizeof *ids);
    assert_non_null(ids);
    tv_rng rng = {.seed = 8, .stream = TV_STREAM_TEST};
    for (uint64_t i = 0; i < 2 * rows * tokens; i++)
        ids[i] = (uint32_t)tv_uniform_below(&rng, i, config->vocab_size);
    ids[0] = (uint32_t)config->vocab_size - 1;
    const tv_test_batch batch = {rows, tokens, ids, ids + rows * tokens, NULL, NULL};
    tv_device *small = tv_test_open_lowered(lowered);
    outcome expected = run(device, list, &batch), actual = run(small, list, &batch);
    assert_near(actual.loss, expected.loss, 2e-6 * expected.loss);
    for (uint32_t i = 0; i < list->count; i++) {
        uint64_t offset = tv_test_flat_offset(list, i);
        double distance = tv_test_relative_distance(actual.gradient + offset, expected.gradient + offset,
                                                    list->items[i].count);
        if (!(distance <= 5e-6))
            fail_msg("%s: gradient of %s is off by %.3g of its norm", lowered, list->items[i].name, distance);
    }
    tv_free_all(expected.gradient, actual.gradient, ids);
    tv_device_close(&small);
    tv_parameter_list_destroy(&list);
}

static tv_model_config sized(tv_architecture architecture, uint64_t vocab) {
    tv_model_config config = tv_test_config(architecture, (tv_test_sizes){.vocab = vocab,
                                                                          .layers = 2,
                                                                          .heads = 4,
                                                                          .channels = 32,
                                                                          .head_size = 8,
                                                                          .ffn = 96,
                                                                          .positions = 16});
    config.n_kv_head = architecture == TV_ARCH_GPT2 ? 4 : 2;
    config.bos_token_id = config.eos_token_id = config.pad_token_id = -1;
    return config;
}

/* 16,384 bytes, far below what any device binds: every tensor of more than 4,096 elements goes in parts. */
static void smallest_range(void **state) {
    tv_model_config gpt2 = sized(TV_ARCH_GPT2, 301), llama = sized(TV_ARCH_LLAMA, 301);
    compare(*state, "storage_range=16384", &gpt2, 40, 16);
    compare(*state, "storage_range=16384,cpu_kernels=0,group_count_x=8", &llama, 40, 16);
}

/* An embedding of 642 KB, ten times what one binding holds, tied and untied. */
static void vocabulary_over_one_binding(void **state) {
    tv_model_config tied = sized(TV_ARCH_GPT2, 5021), untied = sized(TV_ARCH_LLAMA, 5021);
    compare(*state, "storage_range=65536", &tied, 4, 16);
    compare(*state, "storage_range=65536", &untied, 4, 16);
}

/* A driver that refuses buffers above 2.5 MB: weights, gradients, moments and activations lie in smaller
 * ones, and no number changes. */
static void refused_buffers_are_cut(void **state) {
    tv_model_config config = sized(TV_ARCH_GPT2, 301); /* few: chunks of logits follow the limit too */
    config.channels = 256;
    config.head_size = 64;
    config.ffn = 1024;
    tv_parameter_list *list = NULL;
    tv_device *device = NULL;
    uint32_t ids[2 * 16 * 16];
    tv_rng rng = {.seed = 8, .stream = TV_STREAM_TEST};
    for (uint64_t i = 0; i < TV_COUNT(ids); i++)
        ids[i] = (uint32_t)tv_uniform_below(&rng, i, config.vocab_size);
    const tv_test_batch batch = {16, 16, ids, ids + 16 * 16, NULL, NULL};
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_int_equal(setenv("TRIVIUM_INJECT_REFUSED_BYTES", "2500000", 1), 0);
    assert_ok(tv_device_open(&(tv_device_options){.select = getenv("TRIVIUM_TEST_DEVICE")}, &device));
    assert_int_equal(unsetenv("TRIVIUM_INJECT_REFUSED_BYTES"), 0);
    outcome expected = run(*state, list, &batch), actual = run(device, list, &batch);
    assert_in_range(tv_device_caps(device)->buffer_bytes, TV_SMALLEST_CUT, 2500000);
    assert_true(actual.loss == expected.loss);
    assert_memory_equal(actual.gradient, expected.gradient, list->elements * sizeof *actual.gradient);
    tv_free_all(expected.gradient, actual.gradient);
    tv_parameter_list_destroy(&list);
    tv_device_close(&device);
}

/* What cannot be cut is refused with a sentence, before anything runs. */
static void a_sequence_over_one_binding_is_refused(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=16384");
    tv_test_golden_model golden = tv_test_golden_open(models[0]);
    tv_model *model = NULL;
    tv_trainer *trainer = NULL;
    assert_ok(tv_model_create(device, tv_model_directory_parameters(golden.directory), true, &model));
    const tv_trainer_options options = {.stage = "test", .batch = 4, .tokens = 64, .train = true};
    assert_int_equal(tv_trainer_create(model, &options, &trainer), TV_E_FIT);
    assert_null(trainer);
    assert_non_null(strstr(tv_last_error(), "attention"));
    assert_non_null(strstr(tv_last_error(), "16384"));
    tv_model_destroy(&model);
    tv_test_golden_close(&golden);
    tv_device_close(&device);
}

/* The one check: training, evaluation, scoring and the API all plan activations. The batch is also one whose
 * product with the length leaves 64 bits. */
static void more_than_2_31_tokens_are_refused(void **state) {
    tv_device *device = *state;
    tv_test_golden_model golden = tv_test_golden_open(models[0]);
    const tv_parameter_list *list = tv_model_directory_parameters(golden.directory);
    const uint64_t batches[] = {(UINT64_C(1) << 25) + 1, UINT64_C(1) << 62};
    for (size_t i = 0; i < TV_COUNT(batches); i++) {
        const tv_trainer_options options = {.stage = "test", .batch = batches[i], .tokens = 64};
        tv_trainer_bytes bytes;
        assert_fails(tv_trainer_measure(list, tv_device_caps(device), &options, &bytes), TV_E_FIT,
                     "2^31 tokens");
        assert_non_null(strstr(tv_last_error(), i == 0 ? "33554433 sequences of 64" : "sequences of 64"));
    }
    tv_test_golden_close(&golden);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_step_within_limits),
        cmocka_unit_test(smallest_range),
        cmocka_unit_test(vocabulary_over_one_binding),
        cmocka_unit_test(refused_buffers_are_cut),
        cmocka_unit_test(a_sequence_over_one_binding_is_refused),
        cmocka_unit_test(more_than_2_31_tokens_are_refused),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
