/* train/step: an update is a handful of dispatches, however many tensors a model has. What it computes is the
 * business of tests/kernels/test_optimizer.c and test_golden.c.
 *
 * Seen to fail: dispatches that take 64 elements at most.
 */
#include "support/device.h"

#include "train/trainer.h"
#include "vk/recorder.h"

enum { MOST = 8 };

static void an_update_is_few_dispatches(void **state) {
    tv_model_config config = tv_model_config_defaults(TV_ARCH_GPT2);
    config.vocab_size = 301;
    config.n_layer = 12;
    config.n_head = config.n_kv_head = 2;
    config.head_size = 16;
    config.channels = 32;
    config.ffn = 128;
    config.max_positions = 16;
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_update_is_few_dispatches)};
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
