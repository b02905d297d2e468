/* Chunks of logits: their rows are in the run's state and kept, so that a run goes on to the same bits on a
 * device with other limits; where the new device cannot take them, it says so and goes on.
 *
 * Tried: the state's rows not given to the trainer on resuming; not written. Each fails.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "run/checkpoint.h"
#include "support/device.h"
#include "support/small_run.h"

/* 16 rows of 16 tokens with logits of 16 KiB each: 4 chunks of 64 rows in 1.3 MB, and one of all without
 * limits. */
#define LOWERED "storage_range=1300000"
static const char train_json[] = "\"steps\": 6, \"batch_size\": 16, \"lr\": 1e-2, \"warmup_steps\": 1,"
                                 " \"eval_every\": 0, \"checkpoint_every\": 3";

/* trivium pretrain, on the device as it is or lowered; NULL: no further option. */
static tv_child_result pretrain(const char *caps, const char *first, const char *second, const char *out,
                                const char *third, const char *fourth) {
    const char *argv[14] = {TRIVIUM_COMMAND, "pretrain", "--out", out};
    size_t count = 4;
    const char *const more[] = {first, second, third, fourth};
    for (size_t i = 0; i < TV_COUNT(more); i++)
        if (more[i])
            argv[count++] = more[i];
    if (caps)
        setenv("TRIVIUM_CAPS_MAX", caps, 1);
    tv_child_result run = tv_child_run(argv);
    unsetenv("TRIVIUM_CAPS_MAX");
    return run;
}

static void expect(tv_child_result run, const char *said, const char *unsaid) {
    tv_expect_exit(&run, 0);
    if ((said && !strstr(run.err, said)) || (unsaid && strstr(run.err, unsaid)))
        fail_msg("it said:\n%s", run.err);
    tv_child_result_free(&run);
}

static uint64_t rows_of(const char *run) {
    tv_checkpoint_state state;
    char *path = tv_format("%s/checkpoints/last", run);
    assert_ok(tv_checkpoint_read_state(path, &state));
    free(path);
    return state.head_rows;
}

static void chunks_are_kept_on_other_devices(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create(train_json);
    char *text = NULL, *at;
    assert_ok(tv_read_file(place.config, &text, NULL));
    assert_non_null(at = strstr(text, "\"vocab_size\": 61"));
    char *config =
        tv_format("%.*s\"vocab_size\": 4096%s", (int)(at - text), text, at + strlen("\"vocab_size\": 61"));
    tv_write_text(place.config, config);
    char *whole = tv_small_run_path(&place, "whole"), *moved = tv_small_run_path(&place, "moved");
    char *other = tv_small_run_path(&place, "other");
    static const char warning[] = "may differ in their last bits";

    expect(pretrain(LOWERED, "--config", place.config, whole, NULL, NULL), NULL, warning);
    assert_int_equal(rows_of(whole), 64);
    expect(pretrain(LOWERED, "--config", place.config, moved, "--stop-after", "3"), NULL, warning);
    expect(pretrain(NULL, "--resume", NULL, moved, NULL, NULL), NULL, warning);
    assert_int_equal(rows_of(moved), 64);
    tv_expect_same_run(whole, moved);

    expect(pretrain(NULL, "--config", place.config, other, "--stop-after", "3"), NULL, warning);
    assert_int_equal(rows_of(other), 256);
    expect(pretrain(LOWERED, "--resume", NULL, other, NULL, NULL), "began with chunks of 256", NULL);
    assert_int_equal(rows_of(other), 64);

    tv_free_all(other, moved, whole, config, text);
    tv_small_run_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_kept_on_other_devices),
    };
    return cmocka_run_group_tests(tests, tv_test_need_device_first, NULL);
}
