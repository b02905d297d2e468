/* model.weights in the command: a run on narrow weights resumes bit for bit, its memory is said, a published
 * type is kept, nonsense is refused.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/directory.h"
#include "support/device.h"
#include "support/small_run.h"

/* Rows that blocks fit. */
#define SHAPE                                                                                                \
    "--set", "model.hidden_size=32", "--set", "model.intermediate_size=64", "--set",                         \
        "model.num_attention_heads=2", "--set", "model.num_key_value_heads=2"

static void expect(tv_child_result run, int code) {
    tv_expect_exit(&run, code);
    tv_child_result_free(&run);
}

static void narrow_weights_resume_bit_for_bit(void **state) {
    (void)state;
    static const char *const types[] = {"model.weights=bf16", "model.weights=q8_0"};
    for (size_t t = 0; t < TV_COUNT(types); t++) {
        tv_small_run place = tv_small_run_create(
            "\"steps\": 6, \"batch_size\": 2, \"warmup_steps\": 0, \"checkpoint_every\": 2, \"keep\": 3");
        char *whole = tv_small_run_path(&place, "whole"), *stopped = tv_small_run_path(&place, "stopped"),
             *floats = tv_small_run_path(&place, "floats");
        expect(tv_run_trivium("pretrain", "--config", place.config, "--out", whole, "--quiet", SHAPE, "--set",
                              types[t]),
               0);
        expect(tv_run_trivium("pretrain", "--config", place.config, "--out", floats, "--quiet", SHAPE), 0);
        expect(tv_run_trivium("pretrain", "--config", place.config, "--out", stopped, "--quiet", SHAPE,
                              "--set", types[t], "--stop-after", "2"),
               0);
        expect(tv_run_trivium("pretrain", "--config", place.config, "--out", stopped, "--quiet", SHAPE,
                              "--set", types[t], "--resume"),
               0);
        tv_expect_same_run(whole, stopped);
        char *a = tv_format("%s/checkpoints/last/model.safetensors", whole),
             *b = tv_format("%s/checkpoints/last/model.safetensors", floats), *x = NULL, *y = NULL;
        uint64_t x_size, y_size;
        assert_ok(tv_read_file(a, &x, &x_size));
        assert_ok(tv_read_file(b, &y, &y_size));
        assert_true(x_size != y_size || memcmp(x, y, x_size) != 0); /* the setting does something */
        tv_free_all(a, b, x, y, whole, stopped, floats);
        tv_small_run_destroy(&place);
    }
}

static void memory_and_mistakes_are_said(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create("\"steps\": 2, \"batch_size\": 2, \"warmup_steps\": 0");
    char *out = tv_small_run_path(&place, "out");
    tv_child_result run = tv_run_trivium("pretrain", "--config", place.config, "--out", out, "--dry-run",
                                         "--set", "model.weights=bf16");
    tv_expect_exit(&run, 0);
    if (!strstr(run.out, "fp32 masters"))
        fail_msg("expected the masters' bytes, it said:\n%s", run.out);
    tv_child_result_free(&run);
    run = tv_run_trivium("pretrain", "--config", place.config, "--out", out, "--dry-run", "--set",
                         "model.weights=bf16", "--set", "train.trainable=final norm");
    tv_expect_exit(&run, 0);
    assert_null(strstr(run.out, "fp32 masters"));
    tv_child_result_free(&run);
    run = tv_run_trivium("pretrain", "--config", place.config, "--out", out, "--set", "model.weights=int8");
    tv_expect_sentence(&run, 2, "auto|f32|bf16|f16|q8_0|q4_0", "an unknown type");
    tv_child_result_free(&run);
    free(out);
    tv_small_run_destroy(&place);
}

static tv_status give_ones(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                           void *out) {
    const tv_parameter_list *list = context;
    (void)first_row;
    assert_int_equal(dtype, TV_F32);
    for (uint64_t i = 0; i < rows * list->items[index].shape[1]; i++)
        ((float *)out)[i] = 1;
    return TV_OK;
}

static void files_are_held_as_they_are_published(void **state) {
    (void)state;
    static const tv_dtype types[] = {TV_F32, TV_BF16, TV_F16};
    tv_small_run place = tv_small_run_create("\"steps\": 2");
    tv_model_config config = tv_model_config_defaults(TV_ARCH_LLAMA);
    config.vocab_size = 61;
    config.n_layer = 1;
    config.n_head = config.n_kv_head = 2;
    config.channels = 32;
    config.head_size = 16;
    config.ffn = 33;
    config.max_positions = 16;
    config.bos_token_id = config.eos_token_id = config.pad_token_id = -1;
    for (size_t t = 0; t < TV_COUNT(types); t++) {
        tv_parameter_list *list = NULL;
        tv_model_directory *directory = NULL;
        char *path = tv_small_run_path(&place, tv_dtype_name(types[t]));
        assert_ok(tv_parameter_list_create(&config, &list));
        assert_ok(tv_make_dirs(path));
        assert_ok(tv_model_directory_write_as(path, list, types[t], 0, give_ones, list));
        assert_ok(tv_model_directory_open(path, &directory));
        const tv_parameter_list *found = tv_model_directory_parameters(directory);
        for (uint32_t i = 0; i < found->count; i++)
            assert_int_equal(found->items[i].storage, found->items[i].rank == 2 ? types[t] : TV_F32);
        /* Rows of 33 are padded in halves. */
        uint32_t index = tv_parameter_index(found, TV_PARAMETER_MLP_OUT_WEIGHT, 0);
        uint8_t rows[2 * 33 * 4];
        float values[2 * 33];
        assert_ok(tv_model_directory_read_rows(directory, index, 3, 2, types[t], rows));
        tv_dtype_to_f32(types[t], 33, 2, rows, values);
        for (int i = 0; i < 66; i++)
            assert_near(values[i], 1, 0);
        tv_model_directory_close(&directory);
        tv_parameter_list_destroy(&list);
        free(path);
    }
    tv_small_run_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(narrow_weights_resume_bit_for_bit),
        cmocka_unit_test(memory_and_mistakes_are_said),
        cmocka_unit_test(files_are_held_as_they_are_published),
    };
    return cmocka_run_group_tests(tests, tv_test_need_device_first, NULL);
}
