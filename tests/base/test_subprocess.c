/* Programs that answer lines with lines: order, pipelining beyond the pipes' size, ends of every kind.
 *
 * Tried: writing with blocking pipes (hangs in many_in_flight), SIGPIPE not held back (the test dies), taking
 * the first read for a line, an end that is said at once where a signal is on its way. Each fails.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/os.h"
#include "base/subprocess.h"

static void send_text(tv_subprocess *process, const char *line) {
    assert_ok(tv_subprocess_send(process, line, strlen(line)));
}

static void lines_come_back_in_order(void **state) {
    (void)state;
    tv_subprocess *process = NULL;
    const char *line;
    uint64_t length;
    assert_ok(tv_subprocess_start("while read -r x; do printf 'got %s\\r\\n' \"$x\"; done", &process));
    send_text(process, "one");
    send_text(process, "two");
    assert_ok(tv_subprocess_receive(process, &line, &length));
    assert_string_equal(line, "got one");
    assert_int_equal(length, 7);
    assert_ok(tv_subprocess_receive(process, &line, &length));
    assert_string_equal(line, "got two");
    tv_subprocess_close(&process);
    assert_null(process);
    tv_subprocess_close(&process);
}

/* 8 MiB each way before the first answer is read: pipes hold 64 KiB. */
static void many_in_flight(void **state) {
    (void)state;
    tv_subprocess *process = NULL;
    char *sent = malloc(1 << 20);
    const char *line;
    uint64_t length;
    assert_ok(tv_subprocess_start("cat", &process));
    for (int i = 0; i < 8; i++) {
        memset(sent, 'a' + i, 1 << 20);
        assert_ok(tv_subprocess_send(process, sent, 1 << 20));
    }
    for (int i = 0; i < 8; i++) {
        assert_ok(tv_subprocess_receive(process, &line, &length));
        assert_int_equal(length, 1 << 20);
        assert_int_equal(line[0], 'a' + i);
        assert_int_equal(line[length - 1], 'a' + i);
    }
    tv_subprocess_close(&process);
    free(sent);
}

static void expect_end(const char *command, const char *sentence) {
    tv_subprocess *process = NULL;
    const char *line;
    uint64_t length;
    assert_ok(tv_subprocess_start(command, &process));
    for (int i = 0; i < 3; i++)
        send_text(process, "question");
    assert_int_equal(tv_subprocess_receive(process, &line, &length), TV_E_DATA);
    if (!strstr(tv_last_error(), sentence))
        fail_msg("expected \"%s\", found \"%s\"", sentence, tv_last_error());
    /* A pipe without a reader by now. */
    tv_sleep(0.02);
    send_text(process, "question");
    assert_int_equal(tv_subprocess_receive(process, &line, &length), TV_E_DATA);
    tv_subprocess_close(&process);
}

static void ends_are_said(void **state) {
    (void)state;
    expect_end("exit 3", "ended with exit code 3");
    expect_end("no-such-program-here 2>/dev/null", "ended with exit code 127");
    expect_end("kill -9 $$", "ended by signal 9");
    expect_end("printf unfinished", "ended with exit code 0");
}

static void last_words_are_heard(void **state) {
    (void)state;
    tv_subprocess *process = NULL;
    const char *line;
    uint64_t length;
    assert_ok(tv_subprocess_start("echo a; echo b", &process));
    tv_sleep(0.05);
    send_text(process, "too late");
    assert_ok(tv_subprocess_receive(process, &line, &length));
    assert_ok(tv_subprocess_receive(process, &line, &length));
    assert_string_equal(line, "b");
    assert_int_equal(tv_subprocess_receive(process, &line, &length), TV_E_DATA);
    tv_subprocess_close(&process);
}

/* A signal to both that comes later here, and one while the program is still there without an output. */
static void an_interrupt_counts_before_the_end(void **state) {
    (void)state;
    static const char *const commands[] = {"(exec >&-; sleep 0.1; kill -USR1 $PPID) & exit 3",
                                           "exec >&-; sleep 0.1; kill -USR1 $PPID; sleep 9"};
    for (int i = 0; i < 2; i++) {
        tv_subprocess *process = NULL;
        const char *line;
        uint64_t length;
        tv_catch_interrupts();
        assert_ok(tv_subprocess_start(commands[i], &process));
        assert_fails(tv_subprocess_receive(process, &line, &length), TV_E_INTERRUPTED, "interrupted");
        tv_catch_ctrl_c(); /* forgets it */
        tv_subprocess_close(&process);
    }
}

/* One that neither reads nor ends is killed, with what it started. */
static void closing_ends_it(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *command = tv_format("(sleep 4; touch %s/alive) & sleep 60; true", dir),
         *alive = tv_format("%s/alive", dir);
    tv_subprocess *process = NULL;
    assert_ok(tv_subprocess_start(command, &process));
    double start = tv_seconds();
    tv_subprocess_close(&process);
    assert_true(tv_seconds() - start < 10);
    tv_sleep(4.5 - (tv_seconds() - start));
    assert_false(tv_path_exists(alive));
    tv_test_dir_remove(&dir);
    free(command);
    free(alive);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_back_in_order),
        cmocka_unit_test(many_in_flight),
        cmocka_unit_test(ends_are_said),
        cmocka_unit_test(last_words_are_heard),
        cmocka_unit_test(an_interrupt_counts_before_the_end),
        cmocka_unit_test(closing_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
