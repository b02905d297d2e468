/* What is renamed into place is on the disk, in the order that a power cut needs: a file's bytes and a
 * folder's entries before the rename, the folder that it is renamed into after it and before the next rename,
 * a new folder's own entry before anything in it is promised; and a line that is called durable when its call
 * returns.
 *
 * The system calls are traced where the library makes them: a function that is defined here takes the place
 * of the C library's. Each change of a file or folder and each fsync gets a number; what was changed later
 * than it was synced may be lost.
 *
 * Tried, each fails: no fsync of a file before its rename; none of the folder after it; none of the parent
 * after mkdir; none of the folder in which a durable file is begun; the appender's fdatasync left out.
 */
#include "support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "support/device.h"
#include "support/small_run.h"
#include "tools/commands.h"

enum { MOST = 512 };

typedef struct traced {
    dev_t device;
    ino_t inode;
    uint64_t changed, synced; /* numbers; 0: never */
} traced;

static struct {
    const char *root; /* only below it; NULL: off */
    traced items[MOST];
    uint64_t count, number, renames;
    char waiting[512]; /* the folder of the last rename, not synced since; "" */
    char fault[2048];  /* the first */
} trace;

static void note_fault(const char *what, const char *path) {
    if (!trace.fault[0])
        snprintf(trace.fault, sizeof trace.fault, "%s: %s", what, path);
}

static traced *item_of(const struct stat *info) {
    for (uint64_t i = 0; i < trace.count; i++)
        if (trace.items[i].device == info->st_dev && trace.items[i].inode == info->st_ino)
            return &trace.items[i];
    if (trace.count == MOST) {
        note_fault("too many files for this test", "");
        return &trace.items[0];
    }
    trace.items[trace.count] = (traced){.device = info->st_dev, .inode = info->st_ino};
    return &trace.items[trace.count++];
}

static bool is_traced(const char *path) {
    return trace.root && strncmp(path, trace.root, strlen(trace.root)) == 0;
}

static bool path_of(int descriptor, char path[512]) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    ssize_t length = trace.root ? readlink(name, path, 511) : -1;
    path[length > 0 ? length : 0] = '\0';
    return length > 0 && is_traced(path);
}

static void note_change(int descriptor) {
    char path[512];
    struct stat info;
    if (path_of(descriptor, path) && fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode))
        item_of(&info)->changed = ++trace.number;
}

static void note_sync(int descriptor) {
    char path[512];
    struct stat info;
    if (!path_of(descriptor, path) || fstat(descriptor, &info) != 0)
        return;
    item_of(&info)->synced = ++trace.number;
    if (strcmp(path, trace.waiting) == 0)
        trace.waiting[0] = '\0';
}

/* "a/b" of "a/b/c" */
static void parent_of(const char *path, char parent[512]) {
    snprintf(parent, 512, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash)
        *slash = '\0';
}

static void note_entry(const char *path) {
    char parent[512];
    struct stat info;
    parent_of(path, parent);
    if (stat(parent, &info) == 0)
        item_of(&info)->changed = ++trace.number;
}

static void expect_synced(const char *path) {
    struct stat info;
    if (lstat(path, &info) != 0 || S_ISLNK(info.st_mode))
        return;
    const traced *item = item_of(&info);
    if (item->synced <= item->changed)
        note_fault("renamed before its bytes or entries were durable", path);
    if (!S_ISDIR(info.st_mode))
        return;
    char **names = NULL;
    uint64_t count = 0;
    assert_ok(tv_list_dir(path, &names, &count));
    for (uint64_t i = 0; i < count; i++) {
        char *below = tv_format("%s/%s", path, names[i]);
        expect_synced(below);
        free(below);
    }
    tv_free_names(&names, count);
}

/* The folders between the root and `path` have durable entries: their parents were synced since. */
static void expect_reachable(const char *path) {
    char parent[512], above[512];
    struct stat info;
    parent_of(path, parent);
    while (is_traced(parent) && strcmp(parent, trace.root) != 0) {
        parent_of(parent, above);
        if (stat(above, &info) == 0 && item_of(&info)->synced <= item_of(&info)->changed)
            note_fault("something is promised below a folder whose own entry may be lost", parent);
        snprintf(parent, sizeof parent, "%s", above);
    }
}

int fsync(int descriptor) {
    int result = (int)syscall(SYS_fsync, descriptor);
    note_sync(descriptor);
    return result;
}

int fdatasync(int descriptor) {
    int result = (int)syscall(SYS_fdatasync, descriptor);
    note_sync(descriptor);
    return result;
}

ssize_t write(int descriptor, const void *bytes, size_t size) {
    ssize_t done = syscall(SYS_write, descriptor, bytes, size);
    note_change(descriptor);
    return done;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t offset) {
    ssize_t done = syscall(SYS_pwrite64, descriptor, bytes, size, offset);
    note_change(descriptor);
    return done;
}

int mkdir(const char *path, mode_t mode) {
    int result = mkdirat(AT_FDCWD, path, mode);
    if (result == 0 && is_traced(path))
        note_entry(path);
    return result;
}

int rename(const char *from, const char *to) {
    if (is_traced(to)) {
        if (trace.waiting[0])
            note_fault("the next rename came before this folder was durable", trace.waiting);
        expect_synced(from);
        if (strstr(to, "/checkpoints/") && !strstr(to, "/.writing-"))
            expect_reachable(to);
        trace.renames++;
    }
    int result = renameat(AT_FDCWD, from, AT_FDCWD, to);
    if (result == 0 && is_traced(to)) {
        note_entry(to);
        parent_of(to, trace.waiting);
    }
    return result;
}

static void begin_trace(const char *root) {
    memset(&trace, 0, sizeof trace);
    trace.root = root;
}

/* `renames`: at least so many were seen, so that the tracing is known to trace. */
static void end_trace(uint64_t renames) {
    trace.root = NULL;
    if (trace.waiting[0])
        note_fault("at the end, not durable", trace.waiting);
    if (trace.fault[0])
        fail_msg("%s", trace.fault);
    assert_true(trace.renames >= renames);
}

static void a_file_and_a_link(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *file = tv_format("%s/file", dir), *link = tv_format("%s/link", dir);
    begin_trace(dir);
    assert_ok(tv_write_file(file, "text", 4));
    assert_ok(tv_write_file(file, "other text", 10));
    assert_ok(tv_replace_link("file", link));
    assert_ok(tv_replace_link("file", link));
    end_trace(4);
    free(link);
    free(file);
    tv_test_dir_remove(&dir);
}

static void a_durable_line(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/lines.jsonl", dir);
    tv_appender *file = NULL;
    struct stat info, folder;
    begin_trace(dir);
    assert_ok(tv_appender_open(path, UINT64_MAX, true, &file));
    assert_int_equal(stat(dir, &folder), 0);
    assert_true(item_of(&folder)->synced > 0);
    for (int i = 0; i < 3; i++) {
        assert_ok(tv_append_line(file, "{}", 2));
        assert_int_equal(stat(path, &info), 0);
        assert_true(item_of(&info)->changed > 0);
        assert_true(item_of(&info)->synced > item_of(&info)->changed);
    }
    tv_appender_close(&file);
    end_trace(0);
    free(path);
    tv_test_dir_remove(&dir);
}

/* Three checkpoints, of which the first is removed again, `last` and `best`, and a resume. */
static void checkpoints(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create(
        "\"steps\": 6, \"batch_size\": 2, \"lr\": 1e-2, \"eval_every\": 2,"
        " \"eval_tokens\": 32, \"checkpoint_every\": 2, \"keep\": 1, \"warmup_steps\": 1");
    char *out = tv_small_run_path(&place, "deep/run");
    char *const begin[] = {"pretrain", "--config",     place.config, "--out", out,
                           "--quiet",  "--stop-after", "4",          NULL};
    char *const resume[] = {"pretrain", "--out", out, "--quiet", "--resume", NULL};
    begin_trace(place.dir);
    assert_ok(cmd_pretrain(TV_COUNT(begin) - 1, (char **)(uintptr_t)begin));
    assert_ok(cmd_pretrain(TV_COUNT(resume) - 1, (char **)(uintptr_t)resume));
    end_trace(20);
    assert_int_equal(tv_expect_whole_checkpoints(out), 6);
    free(out);
    tv_small_run_destroy(&place);
}

static int set_up(void **state) {
    (void)state;
    tv_test_need_device();
    tv_log_set_level(TV_LOG_WARNING);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_and_a_link),
        cmocka_unit_test(a_durable_line),
        cmocka_unit_test(checkpoints),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
