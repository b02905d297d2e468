/* One process for one directory: the second is told of the first, until it lets go or is killed.
 *
 * Seen to fail with: no flock; the lock file removed on release; O_NOFOLLOW left out; the check of its kind
 * left out, with O_NONBLOCK and without; a file that was replaced while it was opened taken all the same; no
 * wait for what a killed process forked.
 */
#include "support/support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/lock.h"

/* A process that holds the lock until it is killed, or until its `release` end is written to. */
typedef struct holder {
    pid_t pid;
    int release;
} holder;

static holder hold_elsewhere(const char *directory) {
    int ready[2], release[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(release), 0);
    holder other = {fork(), release[1]};
    assert_true(other.pid >= 0);
    if (other.pid == 0) {
        tv_lock *lock = NULL;
        byte = tv_lock_directory(directory, &lock) == TV_OK;
        ssize_t done = write(ready[1], &byte, 1);
        close(release[1]);
        done += read(release[0], &byte, 1);
        tv_lock_release(&lock);
        _exit(done > 0 ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    close(ready[0]);
    close(ready[1]);
    close(release[0]);
    return other;
}

static void expect_taken(const char *directory, pid_t pid) {
    tv_lock *lock = NULL;
    char *number = tv_format("(number %ld)", (long)pid);
    assert_int_equal(tv_lock_directory(directory, &lock), TV_E_IO);
    assert_null(lock);
    assert_non_null(strstr(tv_last_error(), directory));
    assert_non_null(strstr(tv_last_error(), "in use by another process"));
    assert_non_null(strstr(tv_last_error(), number));
    free(number);
}

static void the_second_process_is_refused(void **state) {
    (void)state;
    char *directory = tv_test_dir();
    tv_lock *lock = NULL, *again = NULL;
    holder other = hold_elsewhere(directory);
    expect_taken(directory, other.pid);
    assert_int_equal(write(other.release, "x", 1), 1);
    assert_int_equal(waitpid(other.pid, NULL, 0), other.pid);
    assert_ok(tv_lock_directory(directory, &lock));
    /* Also within one process. */
    assert_int_equal(tv_lock_directory(directory, &again), TV_E_IO);
    tv_lock_release(&lock);
    tv_lock_release(&lock);
    /* The file stays: who has opened it meanwhile would lock one that nobody else finds. */
    char *file = tv_format("%s/.lock", directory);
    assert_true(tv_path_exists(file));
    free(file);
    assert_ok(tv_lock_directory(directory, &again));
    tv_lock_release(&again);
    close(other.release);
    tv_test_dir_remove(&directory);
}

static void a_killed_process_holds_nothing(void **state) {
    (void)state;
    char *directory = tv_test_dir();
    tv_lock *lock = NULL;
    holder other = hold_elsewhere(directory);
    assert_int_equal(kill(other.pid, SIGKILL), 0);
    assert_int_equal(waitpid(other.pid, NULL, 0), other.pid);
    assert_ok(tv_lock_directory(directory, &lock));
    tv_lock_release(&lock);
    close(other.release);
    tv_test_dir_remove(&directory);
}

/* It was killed while a process that it forked, and that is no other program, goes on for a moment. */
static void what_a_killed_process_forked_is_waited_for(void **state) {
    (void)state;
    char *directory = tv_test_dir();
    tv_lock *lock = NULL;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        assert_ok(tv_lock_directory(directory, &lock));
        if (fork() == 0)
            usleep(300000);
        _exit(0); /* without a word in the file */
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_ok(tv_lock_directory(directory, &lock));
    tv_lock_release(&lock);
    tv_test_dir_remove(&directory);
}

/* What a program that we start holds open must not keep the lock after our end. */
static void a_program_does_not_inherit_it(void **state) {
    (void)state;
    char *directory = tv_test_dir();
    tv_lock *lock = NULL;
    assert_ok(tv_lock_directory(directory, &lock));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/bin/sleep", "sleep", "60", (char *)NULL);
        _exit(1);
    }
    char *exe = tv_format("/proc/%ld/exe", (long)pid), *program = NULL;
    for (int i = 0; i < 2000 && (tv_read_link(exe, &program) != TV_OK || strstr(program, "test_")); i++) {
        free(program);
        program = NULL;
        usleep(1000);
    }
    tv_lock_release(&lock);
    assert_ok(tv_lock_directory(directory, &lock));
    tv_lock_release(&lock);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    free(program);
    free(exe);
    tv_test_dir_remove(&directory);
}

static void what_a_stranger_put_there(void **state) {
    (void)state;
    char *directory = tv_test_dir();
    char *path = tv_format("%s/.lock", directory), *victim = tv_format("%s/victim", directory);
    tv_lock *lock = NULL;
    assert_int_equal(symlink(victim, path), 0);
    assert_fails(tv_lock_directory(directory, &lock), TV_E_IO, path);
    assert_false(tv_path_exists(victim));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_fails(tv_lock_directory(directory, &lock), TV_E_IO, path);
    assert_int_equal(unlink(path), 0);
    assert_ok(tv_write_file(path, "no number", 9));
    assert_ok(tv_lock_directory(directory, &lock));
    tv_lock_release(&lock);
    free(victim);
    free(path);
    tv_test_dir_remove(&directory);
}

static void a_file_that_was_replaced_is_no_lock(void **state) {
    (void)state;
    char *directory = tv_test_dir(), *path = tv_format("%s/lock", directory);
    char *other = tv_format("%s/other", directory);
    bool taken = true;
    assert_ok(tv_write_file(path, "", 0));
    assert_ok(tv_write_file(other, "", 0));
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    assert_true(descriptor >= 0);
    assert_int_equal(rename(other, path), 0);
    assert_fails(tv_lock_descriptor(descriptor, path, &taken), TV_E_IO, "was replaced by another process");
    assert_false(taken);
    close(descriptor);
    free(other);
    free(path);
    tv_test_dir_remove(&directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_process_is_refused),
        cmocka_unit_test(a_killed_process_holds_nothing),
        cmocka_unit_test(what_a_killed_process_forked_is_waited_for),
        cmocka_unit_test(a_program_does_not_inherit_it),
        cmocka_unit_test(what_a_stranger_put_there),
        cmocka_unit_test(a_file_that_was_replaced_is_no_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
