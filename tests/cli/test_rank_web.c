/* trivium rank --web as a command: what it prints, what it refuses, how it ends.
 * tests/human/test_web_ranker.c speaks with the server, tests/rungs/browser.sh uses the page.
 *
 * Tried: an interruption that returns 0 with items left, and one that returns 130 with none; both fail.
 */
#include "support/subprocess.h"
#include "support/support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/os.h"

static char *dir, *candidates, *out;

static int setup(void **state) {
    (void)state;
    dir = tv_test_dir();
    candidates = tv_format("%s/candidates.jsonl", dir);
    out = tv_format("%s/rankings.jsonl", dir);
    const char *line = "{\"id\":\"q\",\"prompt\":\"p\",\"responses\":[{\"id\":\"a\",\"text\":\"1\"},"
                       "{\"id\":\"b\",\"text\":\"2\"}]}\n";
    assert_ok(tv_write_file(candidates, line, strlen(line)));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    free(candidates);
    free(out);
    tv_test_dir_remove(&dir);
    return 0;
}

static void assert_refused(tv_child_result run, const char *sentence) {
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, sentence));
    tv_child_result_free(&run);
}

static void test_usage(void **state) {
    (void)state;
    assert_refused(tv_run_trivium("rank", "--candidates", candidates, "--web", "--judge", "cat"),
                   "give one of them");
    assert_refused(tv_run_trivium("rank", "--candidates", candidates, "--port", "8080"), "--web");
    assert_refused(tv_run_trivium("rank", "--candidates", candidates, "--web", "--port", "65536"), "65535");
    assert_refused(tv_run_trivium("rank", "--candidates", candidates, "--annotator", "kim", "lee"),
                   "need --web");
    assert_refused(tv_run_trivium("rank", "--candidates", candidates, "--out", out, "--listen", "127.0.0.1"),
                   "--web");
    /* Who is far away says who they are by their link. */
    assert_refused(tv_run_trivium("rank", "--candidates", candidates, "--out", out, "--web", "--url",
                                  "https://rank.example.org/"),
                   "--annotator NAME");
    assert_false(tv_path_exists(out));
    assert_refused(tv_run_trivium("rank", "--candidates", candidates, "--out", out, "--web", "--listen",
                                  "0.0.0.0", "--annotator", "kim"),
                   "every address of this machine");
}

/* Starts it, waits for its address, interrupts it. */
static tv_child_result serve_once(const char *annotator, const char *expected_address) {
    tv_child child = tv_start_trivium("rank", "--candidates", candidates, "--out", out, "--web",
                                      "--annotator", annotator, "--json");
    char printed[256] = "";
    for (int i = 0; i < 1200 && !strchr(printed, '\n') && tv_child_runs(&child); i++) {
        tv_sleep(0.05);
        /* The program writes at the same offset, so it must not move. */
        ssize_t got = pread(fileno(child.out), printed, sizeof printed - 1, 0);
        printed[got > 0 ? got : 0] = '\0';
    }
    const char *secret = strstr(printed, "/#");
    assert_non_null(secret);
    assert_int_equal(strspn(secret + 2, "0123456789abcdef"), 32);
    assert_non_null(strstr(printed, expected_address));
    kill(child.pid, SIGINT);
    return tv_child_wait(&child);
}

static void test_ends(void **state) {
    (void)state;
    tv_child_result run = serve_once("Zo\xc3\xab & co", "Zo\xc3\xab & co ranks at http://127.0.0.1:");
    assert_int_equal(run.exit_code, 130);
    assert_non_null(strstr(run.err, "0 of 1 items"));
    assert_non_null(strstr(run.err, "--web --port"));
    tv_child_result_free(&run);
    const char *line = "{\"id\":\"q\",\"prompt\":\"p\",\"responses\":[{\"id\":\"a\",\"text\":\"1\"},"
                       "{\"id\":\"b\",\"text\":\"2\"}],\"ranking\":[[\"a\"],[\"b\"]]}\n";
    assert_ok(tv_write_file(out, line, strlen(line)));
    run = serve_once("kim", "kim ranks at http://127.0.0.1:");
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out, "\"judged_items\":1"));
    tv_child_result_free(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
