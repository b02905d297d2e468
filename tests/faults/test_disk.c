/* A disk that is full or read-only: exit code 1, one sentence that names the file, the last checkpoint
 * stands, nothing half-written is left, and resuming continues exactly once there is room.
 *
 * Full by a limit on the size of files, set from outside while the run goes on, which needs no rights; and
 * for real, on a small file system in memory, where mounting is allowed (root, or a user namespace of one's
 * own).
 *
 * Tried: the temporary folder left after a failed write fails both cases of a full disk.
 */
#include "support/support.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/os.h"
#include "support/small_run.h"

static tv_small_run create_place(void) {
    return tv_small_run_create("\"steps\": 40, \"batch_size\": 2, \"lr\": 1e-2, \"warmup_steps\": 2,"
                               " \"eval_every\": 0, \"checkpoint_every\": 4, \"keep\": 2");
}

static char *train_whole(const tv_small_run *place) {
    char *whole = tv_small_run_path(place, "whole");
    tv_trivium_exits(0, "pretrain", "--config", place->config, "--out", whole, "--quiet");
    return whole;
}

static void resume_and_compare(const char *whole, const char *out) {
    /* As the whole run has it; one of the cases changes it in between. */
    tv_child_result run =
        tv_run_trivium("pretrain", "--out", out, "--quiet", "--resume", "--set", "train.checkpoint_every=4");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    tv_expect_same_run(whole, out);
    tv_expect_no_litter(out);
}

/* Waits until `file` has more than `size` bytes, then lets no file grow past `limit`. Only then, because
 * drivers make their memory from files. */
static tv_child_result run_into_limit(tv_child child, const char *file, uint64_t size, uint64_t limit) {
    uint64_t now = 0;
    while (tv_child_runs(&child) &&
           (!tv_path_exists(file) || tv_file_size(file, &now) != TV_OK || now <= size))
        tv_sleep(1e-4);
    const struct rlimit limits = {.rlim_cur = limit, .rlim_max = limit};
    assert_int_equal(prlimit(child.pid, RLIMIT_FSIZE, &limits, NULL), 0);
    return tv_child_wait(&child);
}

static void a_checkpoint_that_does_not_fit(void **state) {
    (void)state;
    tv_small_run place = create_place();
    char *whole = train_whole(&place), *out = tv_small_run_path(&place, "run");
    char *first = tv_small_run_path(&place, "run/checkpoints/step-4/config.json");
    /* The metrics of 40 steps are below 16 KiB, the weights above. */
    tv_child child = tv_start_trivium("pretrain", "--config", place.config, "--out", out, "--quiet");
    tv_child_result run = run_into_limit(child, first, 0, 16384);
    tv_expect_sentence(&run, 1, ".safetensors", "a full disk");
    assert_non_null(strstr(run.err, strerror(EFBIG)));
    tv_child_result_free(&run);
    assert_int_equal(tv_expect_whole_checkpoints(out) % 4, 0);
    tv_expect_no_litter(out);
    resume_and_compare(whole, out);
    tv_free_all(first, whole, out);
    tv_small_run_destroy(&place);
}

static void metrics_that_do_not_fit(void **state) {
    (void)state;
    tv_small_run place = create_place();
    char *whole = train_whole(&place), *out = tv_small_run_path(&place, "run");
    char *metrics = tv_small_run_path(&place, "run/metrics.jsonl");
    tv_child_result run =
        tv_run_trivium("pretrain", "--config", place.config, "--out", out, "--quiet", "--stop-after", "4");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    uint64_t size;
    assert_ok(tv_file_size(metrics, &size));
    /* Room for two and a half lines after the first new one; a run that is already further fails at once. */
    tv_child child = tv_start_trivium("pretrain", "--out", out, "--quiet", "--resume", "--set",
                                      "train.checkpoint_every=0");
    run = run_into_limit(child, metrics, size, size + size / 4 * 3 + size / 8);
    tv_expect_sentence(&run, 1, out, "a full disk");
    assert_non_null(strstr(run.err, strerror(EFBIG)));
    tv_child_result_free(&run);
    assert_int_equal(tv_expect_whole_checkpoints(out), 4);
    (void)tv_expect_metrics_in_order(out, true);
    resume_and_compare(whole, out);
    tv_free_all(metrics, whole, out);
    tv_small_run_destroy(&place);
}

static bool write_setting(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    bool done = file && fputs(text, file) >= 0;
    return file && fclose(file) == 0 && done;
}

/* Mounts of one's own, which end with the process; where that needs root, as root of a user namespace. */
static bool own_mounts(void) {
    char *user = tv_format("0 %ld 1", (long)geteuid()), *group = tv_format("0 %ld 1", (long)getegid());
    bool done = geteuid() == 0 ? unshare(CLONE_NEWNS) == 0
                               : unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
                                     write_setting("/proc/self/setgroups", "deny") &&
                                     write_setting("/proc/self/uid_map", user) &&
                                     write_setting("/proc/self/gid_map", group);
    free(user);
    free(group);
    return done && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* A file system in memory at `path`, of `bytes`; false where this process may not mount. */
static bool mount_small(const char *path, uint64_t bytes) {
    assert_ok(tv_make_dirs(path));
    char *options = tv_format("size=%" PRIu64, bytes);
    bool mounted = own_mounts() && mount("trivium-test", path, "tmpfs", 0, options) == 0;
    free(options);
    return mounted;
}

static void fill_disk(const tv_small_run *place, const char *whole, const char *disk, const char *out) {
    tv_trivium_says(1, strerror(ENOSPC), "pretrain", "--config", place->config, "--out", out, "--quiet");
    assert_int_equal(tv_expect_whole_checkpoints(out), 8);
    tv_expect_no_litter(out);
    assert_int_equal(mount("trivium-test", disk, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=4m"), 0);
    char *before = tv_tree_text(out);
    tv_trivium_says(1, strerror(EROFS), "pretrain", "--out", out, "--quiet", "--resume");
    char *after = tv_tree_text(out);
    assert_string_equal(before, after);
    assert_int_equal(mount("trivium-test", disk, "tmpfs", MS_REMOUNT, "size=4m"), 0);
    resume_and_compare(whole, out);
    assert_int_equal(umount(disk), 0);
    free(before);
    free(after);
}

static void a_disk_that_is_full(void **state) {
    (void)state;
    tv_small_run place = create_place();
    char *whole = train_whole(&place), *disk = tv_small_run_path(&place, "disk");
    char *out = tv_small_run_path(&place, "disk/run");
    /* Two checkpoints of 160 KiB each fit, and a third while it replaces the first does not. */
    bool mounted = mount_small(disk, 400 * 1024);
    if (mounted)
        fill_disk(&place, whole, disk, out);
    tv_free_all(whole, disk, out);
    tv_small_run_destroy(&place);
    if (!mounted) {
        print_message("this process may not mount a file system\n");
        skip();
    }
}

static void a_directory_that_may_not_be_written(void **state) {
    (void)state;
    /* Even root creates nothing in /proc; others are stopped by the mode. */
    tv_small_run place = create_place();
    char *closed = tv_small_run_path(&place, "closed"), *below = tv_small_run_path(&place, "closed/run");
    assert_ok(tv_make_dirs(closed));
    assert_int_equal(chmod(closed, 0555), 0);
    const char *out = geteuid() == 0 ? "/proc/trivium-run" : below;
    tv_trivium_says(1, out, "pretrain", "--config", place.config, "--out", out, "--quiet");
    free(closed);
    free(below);
    tv_small_run_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_that_does_not_fit),
        cmocka_unit_test(metrics_that_do_not_fit),
        cmocka_unit_test(a_directory_that_may_not_be_written),
        /* The last one, because it may change the process's namespace. */
        cmocka_unit_test(a_disk_that_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
