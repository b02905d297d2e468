/* train/step: an update is a handful of dispatches, however many tensors a model has. What it computes is the
 * business of tests/kernels/test_optimizer.c and test_golden.c.
 */
#include "support/device.h"

#include "train/trainer.h"
#include "vk/recorder.h"

enum { MOST = 8 };

/* GPT-2 of twelve layers. */
static tv_model_config gpt2(uint64_t vocab_size, uint64_t heads, uint64_t head_size, uint64_t positions) {
    tv_model_config config = tv_model_config_defaults(TV_ARCH_GPT2);
    config.vocab_size = vocab_size;
    config.n_layer = 12;
    config.n_head = config.n_kv_head = heads;
    config.head_size = head_size;
    config.channels = heads * head_size;
    config.ffn = 4 * config.channels;
    config.max_positions = positions;
    return config;
}

static void an_update_is_few_dispatches(void **state) {
    const tv_model_config config = gpt2(301, 2, 16, 16);
    tv_parameter_list *list;
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_int_equal(list->trainable_count, 148);
    tv_model *model;
    tv_trainer *trainer;
    assert_ok(tv_model_create(*state, list, true, &model));
    assert_ok(tv_trainer_create(
        model, &(tv_trainer_options){.stage = "update", .batch = 1, .tokens = 8, .train = true}, &trainer));
    tv_recording_info info = tv_recording_get_info(tv_trainer_update_recording(trainer));
    assert_true(info.dispatches > 0);
    if (info.dispatches > MOST)
        fail_msg("%u dispatches, expected %d at most", info.dispatches, MOST);
    tv_trainer_destroy(&trainer);
    tv_model_destroy(&model);
    tv_parameter_list_destroy(&list);
}

/* Moments of 8 bits are at most 30 % of AdamW's, for models of any size that are worth it; what is no matrix,
 * and small matrices, stay. */
static void moments_of_8_bits_take_a_quarter(void **state) {
    const tv_caps *caps = tv_device_caps(*state);
    const tv_model_config config = gpt2(50257, 12, 64, 1024);
    tv_parameter_list *lists[2];
    tv_model_bytes bytes[2];
    for (int i = 0; i < 2; i++) {
        tv_parameter_choice choice = {.optimizer = i ? TV_OPTIMIZER_ADAMW8 : TV_OPTIMIZER_ADAMW};
        assert_ok(tv_parameter_list_create_chosen(&config, &choice, &lists[i]));
        assert_ok(tv_model_measure(lists[i], caps, true, &bytes[i]));
    }
    for (uint32_t i = 0; i < lists[1]->count; i++)
        assert_int_equal(lists[1]->items[i].optimizer,
                         lists[1]->items[i].rank == 2 ? TV_OPTIMIZER_ADAMW8 : TV_OPTIMIZER_ADAMW);
    assert_true(bytes[0].moments > UINT64_C(900000000));
    assert_true((double)bytes[1].moments < 0.26 * (double)bytes[0].moments);
    assert_true(bytes[1].gradients == bytes[0].gradients);
    for (int i = 0; i < 2; i++)
        tv_parameter_list_destroy(&lists[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_update_is_few_dispatches),
                                       cmocka_unit_test(moments_of_8_bits_take_a_quarter)};
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
