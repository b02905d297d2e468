/* train.optimizer=muon at the command: a run that was stopped goes on to the same bits, its checkpoints hold
 * one moment of the matrices, and what cannot be is refused by name.
 *
 * Tried on 2026-11-29, each fails: the moment of Muon's matrices not read back; two moments planned for all;
 * the optimizer left out of what a run keeps.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/resumed_optimizer.h"
#include "support/device.h"

static int set_up(void **state) {
    (void)state;
    tv_test_need_device();
    return 0;
}

static void resumed_runs_have_the_same_bits(void **state) {
    (void)state;
    tv_small_run p = tv_small_run_create(
        "\"steps\": 7, \"batch_size\": 3, \"checkpoint_every\": 2, \"optimizer\": \"muon\"");
    tv_safetensors *file = expect_optimizer_resumes(&p, "muon", (const char *const[]){NULL});
    assert_non_null(tv_safetensors_find(file, "exp_avg/layer 0 qkv weight"));
    assert_null(tv_safetensors_find(file, "exp_avg_sq/layer 0 qkv weight"));
    assert_null(tv_safetensors_find(file, "exp_avg_sq/layer 0 mlp out weight"));
    assert_non_null(tv_safetensors_find(file, "exp_avg_sq/layer 0 norm1 gain"));
    assert_non_null(tv_safetensors_find(file, "exp_avg_sq/embedding"));
    tv_safetensors_close(&file);
    tv_small_run_destroy(&p);
}

static void what_trains_no_matrix_is_refused(void **state) {
    (void)state;
    tv_small_run p = tv_small_run_create("\"steps\": 2, \"batch_size\": 3, \"optimizer\": \"muon\"");
    char *out = tv_small_run_path(&p, "run");
    tv_trivium_says(2, "train.optimizer", "pretrain", "--quiet", "--config", p.config, "--out", out, "--set",
                    "train.trainable=\"embedding, *norm*\"");
    tv_trivium_says(2, "muon.momentum", "pretrain", "--quiet", "--config", p.config, "--out", out, "--set",
                    "muon.momentum=1");
    tv_trivium_says(2, "train.optimizer", "pretrain", "--quiet", "--config", p.config, "--out", out, "--set",
                    "train.optimizer=sgd");
    free(out);
    tv_small_run_destroy(&p);
}

static void the_plan_has_the_workspace(void **state) {
    (void)state;
    tv_small_run p = tv_small_run_create("\"steps\": 2, \"batch_size\": 3");
    char *out = tv_small_run_path(&p, "run");
    tv_child_result adamw = tv_run_trivium("pretrain", "--config", p.config, "--out", out, "--dry-run"),
                    muon = tv_run_trivium("pretrain", "--config", p.config, "--out", out, "--dry-run",
                                          "--set", "train.optimizer=muon");
    tv_expect_exit(&adamw, 0);
    tv_expect_exit(&muon, 0);
    assert_null(strstr(adamw.out, "Muon"));
    assert_non_null(strstr(muon.out, "Muon's workspace"));
    tv_child_result_free(&adamw);
    tv_child_result_free(&muon);
    free(out);
    tv_small_run_destroy(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resumed_runs_have_the_same_bits),
        cmocka_unit_test(what_trains_no_matrix_is_refused),
        cmocka_unit_test(the_plan_has_the_workspace),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
