/* train.optimizer=adamw8 at the command: a run that was stopped goes on to the same bits from moments that
 * its checkpoint holds as they are, training ends where AdamW's does, and damage to moments is refused by the
 * tensor's name.
 *
 * Seen to fail: the second moments not read back.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "cli/resumed_optimizer.h"
#include "support/device.h"

/* Matrices large enough for moments of 8 bits, all of them. */
#define LARGER                                                                                               \
    "--set", "model.hidden_size=72", "--set", "model.intermediate_size=96", "--set", "data.shuffle=true"

static int set_up(void **state) {
    (void)state;
    tv_test_need_device();
    return 0;
}

static void expect_tensor(const tv_safetensors *file, const char *name, const char *dtype, uint64_t rows,
                          uint64_t columns) {
    const tv_safetensor *tensor = tv_safetensors_find(file, name);
    assert_non_null(tensor);
    assert_string_equal(tensor->dtype, dtype);
    assert_int_equal(tensor->shape[0], rows);
    assert_int_equal(tensor->count, rows * columns);
}

static void resumed_runs_have_the_same_bits(void **state) {
    (void)state;
    tv_small_run p = tv_small_run_create(
        "\"steps\": 7, \"batch_size\": 3, \"checkpoint_every\": 2, \"optimizer\": \"adamw8\"");
    tv_safetensors *file = expect_optimizer_resumes(&p, "adamw8", (const char *const[]){LARGER, NULL});
    expect_tensor(file, "exp_avg/layer 0 qkv weight", "U8", 3, 4160); /* 8,640 elements */
    expect_tensor(file, "exp_avg_sq/layer 1 mlp in weight", "U8", 4, 4160);
    expect_tensor(file, "exp_avg_sq/embedding", "U8", 2, 4160);
    expect_tensor(file, "exp_avg_sq/layer 0 norm1 gain", "F32", 72, 1);
    tv_safetensors_close(&file);
    tv_small_run_destroy(&p);
}

/* The last byte of a tensor is an exponent's; without checksums, as a file that was changed by hand. */
static void damaged_moments_are_refused(void **state) {
    (void)state;
    tv_small_run p = tv_small_run_create("\"steps\": 4, \"batch_size\": 3, \"optimizer\": \"adamw8\"");
    char *run = tv_small_run_path(&p, "run"), *bytes;
    uint64_t size;
    tv_trivium_exits(0, "pretrain", "--quiet", "--config", p.config, "--out", run, LARGER, "--stop-after",
                     "2");
    char *state_path = tv_format("%s/checkpoints/last/trainer_state.json", run),
         *path = tv_format("%s/checkpoints/last/training_state/optimizer.safetensors", run);
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(state_path, &root));
    cJSON_DeleteItemFromObjectCaseSensitive(root, "checksums");
    assert_ok(tv_json_write_file(state_path, root));
    cJSON_Delete(root);
    tv_safetensors *file = NULL;
    assert_ok(tv_safetensors_open(path, &file));
    const tv_safetensor *tensor = tv_safetensors_find(file, "exp_avg_sq/layer 1 mlp in weight");
    assert_non_null(tensor);
    char *name = tv_format("%s", tensor->name);
    uint64_t behind = tensor->offset + tensor->bytes;
    tv_safetensors_close(&file);
    assert_ok(tv_read_file(path, &bytes, &size));
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    bytes[8 + header + behind - 1] = 0x7f;
    assert_ok(tv_write_file(path, bytes, size));
    tv_child_result resumed = tv_run_trivium("pretrain", "--quiet", "--out", run, "--resume");
    tv_expect_exit(&resumed, 2); /* the first line warns that there are no checksums */
    if (!strstr(resumed.err, name) || !strstr(resumed.err, "damaged"))
        fail_msg("%s: it said:\n%s", name, resumed.err);
    tv_child_result_free(&resumed);
    tv_free_all(name, bytes, path, state_path, run);
    tv_small_run_destroy(&p);
}

static double last_val_loss(const char *run) {
    char *path = tv_format("%s/metrics.jsonl", run), *text;
    uint64_t size;
    assert_ok(tv_read_file(path, &text, &size));
    const char *at = NULL;
    for (const char *next = strstr(text, "\"val_loss\":"); next; next = strstr(next + 1, "\"val_loss\":"))
        at = next;
    assert_non_null(at);
    double loss = at ? strtod(at + strlen("\"val_loss\":"), NULL) : NAN;
    tv_free_all(path, text);
    return loss;
}

/* Sixty steps, on the way down from 4.1: the losses are within 0.5 %. */
static void training_ends_where_adamw_does(void **state) {
    (void)state;
    tv_small_run p = tv_small_run_create("\"steps\": 60, \"batch_size\": 8, \"lr\": 3e-3, \"eval_every\": 0");
    char *adamw = tv_small_run_path(&p, "adamw"), *adamw8 = tv_small_run_path(&p, "adamw8");
    tv_trivium_exits(0, "pretrain", "--quiet", "--config", p.config, "--out", adamw, LARGER);
    tv_trivium_exits(0, "pretrain", "--quiet", "--config", p.config, "--out", adamw8, LARGER, "--set",
                     "train.optimizer=adamw8");
    double expected = last_val_loss(adamw), loss = last_val_loss(adamw8);
    print_message("AdamW ends at %.4f, with moments of 8 bits at %.4f\n", expected, loss);
    assert_true(expected < 3 && expected > 0.5);
    assert_near(loss, expected, 0.005 * expected);
    tv_free_all(adamw, adamw8);
    tv_small_run_destroy(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resumed_runs_have_the_same_bits),
        cmocka_unit_test(damaged_moments_are_refused),
        cmocka_unit_test(training_ends_where_adamw_does),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
