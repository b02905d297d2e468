/* How many dispatches a step is, recorded for a device with the kernels of GPUs; nothing runs. Blocks of
 * GPT-2 124M with so small a vocabulary that all lies within the bindings of this device; the rung `drivers`
 * counts GPT-2 124M itself on one that binds 4 GiB.
 *
 * A layer is 8 forwards and 15 backwards: 8 products, 2 of attention, GELU, 2 norms, the partial sums of
 * qkv's bias, and all vectors' sums in one.
 *
 * Tried, each fails: partial sums added where they are made; a norm's sums apart from it.
 */
#include "support/device.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "train/trainer.h"
#include "vk/recorder.h"

enum { BATCH = 4, TOKENS = 256, MOST_OF_LAYER = 23, MOST_OF_REST = 20, MOST_OF_UPDATE = 8 };

static const char blocks[] =
    "{\"architectures\": [\"GPT2LMHeadModel\"], \"model_type\": \"gpt2\", \"vocab_size\": 512, "
    "\"n_positions\": 256, \"n_embd\": 768, \"n_layer\": 4, \"n_head\": 12}";

static tv_parameter_list *list_of(uint64_t layers, tv_dtype weights, tv_optimizer optimizer) {
    cJSON *tree = NULL;
    tv_model_config config;
    tv_parameter_list *plain = NULL, *list = NULL;
    assert_ok(tv_json_parse(blocks, strlen(blocks), "config", &tree));
    assert_ok(tv_model_config_read(tree, "config", true, &config));
    config.n_layer = layers;
    assert_ok(tv_parameter_list_create(&config, &plain));
    tv_dtype *storage = calloc(plain->count, sizeof *storage);
    assert_non_null(storage);
    for (uint32_t i = 0; i < plain->count; i++)
        storage[i] = weights;
    assert_ok(tv_parameter_list_create_chosen(
        &config, &(tv_parameter_choice){.storage = storage, .optimizer = optimizer}, &list));
    tv_parameter_list_destroy(&plain);
    cJSON_Delete(tree);
    free(storage);
    return list;
}

typedef struct counts {
    uint32_t micro_batch, update;
} counts;

static counts record(uint64_t layers, tv_dtype weights, tv_optimizer optimizer) {
    tv_device *device = NULL;
    tv_model *model = NULL;
    tv_trainer *trainer = NULL;
    tv_device_options options = {.select = getenv("TRIVIUM_TEST_DEVICE")};
    assert_int_equal(setenv("TRIVIUM_CAPS_MAX", "cpu_kernels=0,compute_units=96", 1), 0);
    assert_ok(tv_device_open_hollow(&options, &device));
    assert_int_equal(unsetenv("TRIVIUM_CAPS_MAX"), 0);
    tv_parameter_list *list = list_of(layers, weights, optimizer);
    assert_ok(tv_model_create(device, list, true, &model));
    assert_ok(tv_trainer_create(
        model,
        &(tv_trainer_options){
            .stage = "test", .batch = BATCH, .tokens = TOKENS, .grad_accum = 1, .train = true},
        &trainer));
    counts found = {tv_recording_get_info(tv_trainer_micro_batch_recording(trainer)).dispatches,
                    tv_recording_get_info(tv_trainer_update_recording(trainer)).dispatches};
    tv_trainer_destroy(&trainer);
    tv_model_destroy(&model);
    tv_parameter_list_destroy(&list);
    tv_device_close(&device);
    return found;
}

static void a_step_is_few_dispatches(void **state) {
    (void)state;
    counts two = record(2, TV_F32, TV_OPTIMIZER_ADAMW), three = record(3, TV_F32, TV_OPTIMIZER_ADAMW);
    uint32_t layer = three.micro_batch - two.micro_batch;
    assert_in_range(layer, 1, MOST_OF_LAYER);
    assert_in_range(three.micro_batch - 3 * layer, 1, MOST_OF_REST);
    assert_int_equal(three.update, 3); /* norm, its finish, AdamW */
}

static void narrow_weights_take_one_more(void **state) {
    (void)state;
    const tv_dtype types[] = {TV_BF16, TV_F16, TV_Q8_0};
    for (size_t t = 0; t < TV_COUNT(types); t++)
        assert_in_range(record(2, types[t], TV_OPTIMIZER_ADAMW).update, 4, MOST_OF_UPDATE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_few_dispatches),
        cmocka_unit_test(narrow_weights_take_one_more),
    };
    return cmocka_run_group_tests(tests, tv_test_need_device_first, NULL);
}
