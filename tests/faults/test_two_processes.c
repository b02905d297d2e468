/* Two processes and one run: the second is refused with a sentence that names the directory, and changes
 * nothing of it; the first goes on; when it is killed, the next may resume.
 *
 * Seen to fail with: no lock when a run is resumed, when one is begun, or at all. A lock that is taken after
 * the state was read is not seen here.
 */
#include "support/support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/lock.h"
#include "base/os.h"
#include "support/small_run.h"

static void expect_refused(tv_child_result run, const char *out, const char *what) {
    tv_expect_sentence(&run, 1, "in use by another process", what);
    assert_non_null(strstr(run.err, out));
    tv_child_result_free(&run);
}

static void a_run_that_goes_on_is_nobody_elses(void **state) {
    (void)state;
    tv_small_run place =
        tv_small_run_create("\"steps\": 100000, \"batch_size\": 2, \"lr\": 1e-3, \"eval_every\": 0,"
                            " \"checkpoint_every\": 0");
    char *out = tv_small_run_path(&place, "run"), *metrics = tv_small_run_path(&place, "run/metrics.jsonl");
    tv_child child = tv_start_trivium("pretrain", "--config", place.config, "--out", out, "--quiet");
    uint64_t size = 0;
    while (tv_child_runs(&child) &&
           (!tv_path_exists(metrics) || tv_file_size(metrics, &size) != TV_OK || !size))
        tv_sleep(1e-3);
    assert_true(tv_child_runs(&child));
    /* It has no checkpoint yet, so that only the lock is between it and one that begins anew. */
    expect_refused(
        tv_run_trivium("pretrain", "--config", place.config, "--out", out, "--quiet", "--stop-after", "1"),
        out, "begun twice");
    expect_refused(tv_run_trivium("pretrain", "--out", out, "--quiet", "--resume"), out, "resumed meanwhile");
    assert_true(tv_child_runs(&child));
    kill(child.pid, SIGKILL);
    tv_child_result run = tv_child_wait(&child);
    tv_child_result_free(&run);
    tv_trivium_exits(0, "pretrain", "--config", place.config, "--out", out, "--quiet", "--stop-after", "1");
    free(metrics);
    free(out);
    tv_small_run_destroy(&place);
}

static void the_refused_one_changes_nothing(void **state) {
    (void)state;
    tv_small_run place =
        tv_small_run_create("\"steps\": 6, \"batch_size\": 2, \"lr\": 1e-3, \"eval_every\": 0,"
                            " \"checkpoint_every\": 2");
    char *out = tv_small_run_path(&place, "run");
    tv_child_result run =
        tv_run_trivium("pretrain", "--config", place.config, "--out", out, "--quiet", "--stop-after", "2");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    tv_lock *lock = NULL;
    assert_ok(tv_lock_directory(out, &lock));
    char *before = tv_tree_text(out);
    expect_refused(tv_run_trivium("pretrain", "--out", out, "--quiet", "--resume"), out, "resumed");
    run = tv_run_trivium("pretrain", "--out", out, "--quiet", "--resume", "--dry-run");
    tv_expect_exit(&run, 0); /* it only reads */
    tv_child_result_free(&run);
    char *after = tv_tree_text(out);
    assert_string_equal(before, after);
    tv_lock_release(&lock);
    tv_trivium_exits(0, "pretrain", "--out", out, "--quiet", "--resume");
    tv_free_all(after, before, out);
    tv_small_run_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_goes_on_is_nobody_elses),
        cmocka_unit_test(the_refused_one_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
