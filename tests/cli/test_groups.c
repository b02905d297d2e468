/* train.grad_groups and grad_exchange through the command: a run that is resumed has the bits of one that ran
 * through, the dry run names sums and errors, and what does not divide or has no meaning is refused.
 */
#include "support/device.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "support/small_run.h"

static tv_small_run create_place(void) {
    return tv_small_run_create(
        "\"steps\": 6, \"batch_size\": 2, \"grad_accum\": 4, \"grad_groups\": 2, \"lr\": 1e-2,"
        " \"warmup_steps\": 2, \"eval_every\": 3, \"eval_tokens\": 96, \"checkpoint_every\": 3");
}

static void resume_with(const char *exchange) {
    tv_small_run p = create_place();
    char *whole = tv_small_run_path(&p, "whole"), *parts = tv_small_run_path(&p, "parts");
    tv_trivium_exits(0, "pretrain", "--config", p.config, "--out", whole, "--quiet", "--set", exchange);
    tv_trivium_exits(0, "pretrain", "--config", p.config, "--out", parts, "--quiet", "--stop-after", "4",
                     "--set", exchange);
    tv_trivium_exits(0, "pretrain", "--out", parts, "--quiet", "--resume");
    tv_expect_same_run(whole, parts);
    tv_free_all(whole, parts);
    tv_small_run_destroy(&p);
}

static void resume_continues_exactly(void **state) {
    (void)state;
    resume_with("train.grad_exchange=f32");
    resume_with("train.grad_exchange=bf16");
}

static void the_dry_run_names_the_sums(void **state) {
    (void)state;
    tv_small_run p = create_place();
    char *out = tv_small_run_path(&p, "out");
    tv_child_result run = tv_run_trivium("pretrain", "--config", p.config, "--out", out, "--dry-run", "--set",
                                         "train.grad_exchange=bf16");
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.out, "4 micro-batches in 2 groups"));
    assert_non_null(strstr(run.out, "sums of groups' gradients"));
    assert_non_null(strstr(run.out, "errors of rounded groups"));
    tv_child_result_free(&run);
    free(out);
    tv_small_run_destroy(&p);
}

static void what_does_not_divide_is_refused(void **state) {
    (void)state;
    tv_small_run p = create_place();
    char *out = tv_small_run_path(&p, "out");
    tv_trivium_says(2, "multiple of grad_groups (3), found 4", "pretrain", "--config", p.config, "--out", out,
                    "--set", "train.grad_groups=3");
    tv_trivium_says(2, "train.grad_exchange: expected f32 with one group", "pretrain", "--config", p.config,
                    "--out", out, "--set", "train.grad_groups=1", "--set", "train.grad_exchange=bf16");
    free(out);
    tv_small_run_destroy(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(resume_continues_exactly),
                                       cmocka_unit_test(the_dry_run_names_the_sums),
                                       cmocka_unit_test(what_does_not_divide_is_refused)};
    return cmocka_run_group_tests(tests, tv_test_need_device_first, NULL);
}
