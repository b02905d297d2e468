/* trivium rank as a person and as a program use it: through a pipe, in a real terminal, killed in the middle,
 * and with judges that die or talk nonsense.
 *
 * Tried: answers printed raw (the terminal test sees the escape), a line left torn after a write that failed,
 * a judge's answers given to another item than they name, an answer too many taken for the next item's. Each
 * fails.
 */
#include "support/support.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/os.h"
#include "human/rankings.h"
#include "support/subprocess.h"

enum { ITEMS = 30 };

static char *dir, *candidates, *out;

static int set_up(void **state) {
    (void)state;
    tv_text text = {0};
    dir = tv_test_dir();
    candidates = tv_format("%s/candidates.jsonl", dir);
    out = tv_format("%s/rankings.jsonl", dir);
    for (int i = 0; i < ITEMS; i++) {
        char line[512];
        int length = snprintf(
            line, sizeof line,
            "{\"id\":\"p%d\",\"prompt\":\"prompt %d\",\"responses\":[{\"id\":\"r0\",\"text\":\"short\"},"
            "{\"id\":\"r1\",\"text\":\"\\u001b[31mred\\u202e\"},{\"id\":\"r2\",\"text\":\"the longest of the "
            "three\"}]}\n",
            i, i);
        if (tv_text_append(&text, line, (uint64_t)length) != TV_OK)
            return 1;
    }
    int failed = tv_write_file(candidates, text.data, text.size) != TV_OK;
    tv_text_free(&text);
    return failed;
}

static int tear_down(void **state) {
    (void)state;
    tv_test_dir_remove(&dir);
    free(candidates);
    free(out);
    return 0;
}

/* With lines on its standard input. */
static tv_child_result run_with_input(const char *input, const char *annotator, const char *more) {
    char *path = tv_format("%s/input", dir);
    assert_ok(tv_write_file(path, input, strlen(input)));
    char *command = tv_format("exec %s rank --candidates %s --out %s --annotator %s --json %s <%s",
                              TRIVIUM_COMMAND, candidates, out, annotator, more, path);
    tv_child_result run = tv_child_run((const char *const[]){"/bin/sh", "-c", command, NULL});
    free(command);
    free(path);
    return run;
}

static double result(const tv_child_result *run, const char *key) {
    const char *last = run->out + strlen(run->out) - 1;
    while (last > run->out && last[-1] != '\n')
        last--;
    cJSON *root = NULL;
    assert_ok(tv_json_parse(last, strlen(last), "output", &root));
    double value = tv_json_get(root, key)->valuedouble;
    cJSON_Delete(root);
    return value;
}

static tv_rankings *read_out(void) {
    tv_rankings *rankings = NULL;
    const char *path = out;
    assert_ok(tv_rankings_read(&path, 1, &rankings));
    return rankings;
}

/* Every item once, in the file's order where one annotator judged. */
static void expect_each_once(uint64_t count) {
    tv_rankings *rankings = read_out();
    bool seen[ITEMS] = {0};
    assert_int_equal(tv_rankings_count(rankings), count);
    for (uint64_t i = 0; i < count; i++) {
        int item = atoi(tv_rankings_at(rankings, i)->item.id + 1);
        assert_false(seen[item]);
        seen[item] = true;
    }
    tv_rankings_destroy(&rankings);
}

static void lines_through_a_pipe(void **state) {
    (void)state;
    tv_child_result run =
        run_with_input("b>a=c 4\ns\nx\nwrong\nc because\na=b>c\nu\na>b>c\nq\na>b>c\n", "kim", "");
    assert_int_equal(run.exit_code, 0);
    assert_near(result(&run, "judged"), 4, 0);
    assert_near(result(&run, "judged_items"), 4, 0);
    assert_non_null(strstr(run.out, "there is no answer w"));
    assert_non_null(strstr(run.out, "\\x1b[31mred\\u202e"));
    assert_null(strchr(run.out, '\x1b'));
    assert_null(strstr(run.out, "\xe2\x80\xae"));
    assert_non_null(strstr(run.err, "the same command goes on from here"));
    tv_child_result_free(&run);
    tv_rankings *rankings = read_out();
    assert_int_equal(tv_rankings_count(rankings), 4);
    const tv_ranking *ranking = tv_rankings_at(rankings, 0);
    assert_int_equal(ranking->rank[ranking->order[1]], 0);
    assert_int_equal(ranking->rank[ranking->order[0]], 1);
    assert_int_equal(ranking->rank[ranking->order[2]], 1);
    assert_int_equal(ranking->confidence, 4);
    assert_string_equal(ranking->annotator, "kim");
    assert_true(tv_rankings_at(rankings, 1)->skipped);
    assert_string_equal(tv_rankings_at(rankings, 1)->flags[0], "skip");
    assert_true(tv_rankings_at(rankings, 2)->all_bad && !tv_rankings_at(rankings, 2)->skipped);
    /* The comment went with the judgment that was undone. */
    assert_string_equal(tv_rankings_at(rankings, 3)->comment, "");
    tv_rankings_destroy(&rankings);
    /* The next run begins with the fifth. */
    run = run_with_input("c so\na>b>c\n", "kim", "");
    assert_non_null(strstr(run.out, "prompt 4\n"));
    assert_null(strstr(run.out, "prompt 3\n"));
    tv_child_result_free(&run);
    rankings = read_out();
    assert_string_equal(tv_rankings_at(rankings, 4)->comment, "so");
    tv_rankings_destroy(&rankings);
}

/* Reads what the terminal shows until `text` is among it. */
static void wait_for(int terminal, tv_text *shown, const char *text) {
    char bytes[4096];
    struct pollfd fd = {.fd = terminal, .events = POLLIN};
    for (double start = tv_seconds(); tv_seconds() - start < 60;) {
        if (shown->size && memmem(shown->data, shown->size, text, strlen(text)))
            return;
        ssize_t got = poll(&fd, 1, 200) > 0 ? read(terminal, bytes, sizeof bytes) : 0;
        if (got > 0)
            assert_ok(tv_text_append(shown, bytes, (uint64_t)got));
    }
    fail_msg("the terminal does not show \"%s\" but \"%.*s\"", text, (int)shown->size,
             (const char *)shown->data);
}

static void type(int terminal, const char *line) {
    assert_int_equal(write(terminal, line, strlen(line)), (ssize_t)strlen(line));
}

static void in_a_terminal(void **state) {
    (void)state;
    int terminal, status;
    struct winsize size = {.ws_row = 30, .ws_col = 40};
    pid_t pid = forkpty(&terminal, NULL, NULL, &size);
    assert_true(pid >= 0);
    if (pid == 0) {
        execl(TRIVIUM_COMMAND, TRIVIUM_COMMAND, "rank", "--candidates", candidates, "--out", out,
              "--annotator", "kim", (char *)NULL);
        _exit(127);
    }
    tv_text shown = {0};
    wait_for(terminal, &shown, "prompt 0");
    wait_for(terminal, &shown, "> ");
    type(terminal, "c>a=b\n");
    wait_for(terminal, &shown, "prompt 1");
    type(terminal, "s\n");
    wait_for(terminal, &shown, "prompt 2");
    /* Nothing of the answers' own escapes; nothing wider than the terminal. */
    assert_null(memchr(shown.data, '\x1b', shown.size));
    for (uint64_t i = 0, column = 0; i < shown.size; i++) {
        column = shown.data[i] == '\n' ? 0 : column + (shown.data[i] != '\r');
        assert_true(column <= 40);
    }
    type(terminal, "\x03");
    wait_for(terminal, &shown, "the same command goes on");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    close(terminal);
    tv_text_free(&shown);
    expect_each_once(2);
}

/* A judge that prefers the longest text, and takes its time. */
static char *length_judge(const char *before) {
    char *path = tv_format("%s/judge.sh", dir), *command = tv_format("sh %s", path);
    char *script = tv_format("while read -r line; do %s echo "
                             "'{\"ranking\":[[\"r2\"],[\"r0\",\"r1\"]],\"comment\":\"longer\"}'; done",
                             before);
    assert_ok(tv_write_file(path, script, strlen(script)));
    free(script);
    free(path);
    return command;
}

static off_t judged_so_far(void) { /* bytes of them */
    struct stat file;
    return stat(out, &file) == 0 ? file.st_size : 0;
}

static void killed_in_the_middle(void **state) {
    (void)state;
    char *judge = length_judge("sleep 0.01;");
    for (int kills = 0; kills < 8; kills++) {
        tv_child child =
            tv_start_trivium("rank", "--candidates", candidates, "--out", out, "--judge", judge, "--quiet");
        tv_sleep(0.02 + 0.013 * kills);
        for (int waits = 0; kills == 7 && waits < 6000 && judged_so_far() == 0; waits++)
            tv_sleep(0.01); /* a busy machine has judged nothing until now */
        kill(child.pid, SIGKILL);
        tv_child_result run = tv_child_wait(&child);
        tv_child_result_free(&run);
    }
    tv_child_result run =
        tv_run_trivium("rank", "--candidates", candidates, "--out", out, "--judge", judge, "--json");
    assert_int_equal(run.exit_code, 0);
    /* Some were judged before. */
    assert_true(result(&run, "judged") < ITEMS);
    assert_near(result(&run, "left"), 0, 0);
    tv_child_result_free(&run);
    expect_each_once(ITEMS);
    tv_rankings *rankings = read_out();
    for (uint64_t i = 0; i < ITEMS; i++) {
        const tv_ranking *ranking = tv_rankings_at(rankings, i);
        assert_true(ranking->rank[0] == 1 && ranking->rank[1] == 1 && ranking->rank[2] == 0);
        assert_int_equal(strncmp(ranking->annotator, "judge:sh ", 9), 0);
        assert_string_equal(ranking->flags[0], "judge");
        assert_string_equal(ranking->comment, "longer");
    }
    tv_rankings_destroy(&rankings);
    free(judge);
}

static void expect_failure(const char *judge, const char *sentence, uint64_t kept) {
    tv_child_result run = tv_run_trivium("rank", "--candidates", candidates, "--out", out, "--judge", judge,
                                         "--annotator", "sim");
    assert_int_equal(run.exit_code, 2);
    if (!strstr(run.err, sentence) || !strstr(run.err, "the same command goes on"))
        fail_msg("expected \"%s\", found \"%s\"", sentence, run.err);
    tv_child_result_free(&run);
    expect_each_once(kept);
}

static void judges_that_fail(void **state) {
    (void)state;
    expect_failure("read -r x; echo '{\"ranking\":null}'; read -r x; exit 4",
                   "item \"p1\" (line 2 of the candidates): the program", 1);
    expect_failure("read -r x; echo '{\"ranking\":[[\"r0\"]]}'",
                   "item \"p1\" (line 2 of the candidates): the ranking does not name", 1);
    expect_failure("read -r x; echo '{\"score\":1}'", "has no \"ranking\"", 1);
    expect_failure("read -r x; echo '[1]'", "expected {\"ranking\":", 1);
    expect_failure("read -r x; echo hello", "found \"hello\"", 1);
    expect_failure("read -r x; echo '{\"ranking\":[[\"r0\"],[\"r1\"],[\"r2\"]]}'; read -r x; echo "
                   "'{\"ranking\":[[\"r7\"],[\"r1\"],[\"r2\"]]}'",
                   "item \"p2\" (line 3 of the candidates): the ranking names the response \"r7\"", 2);
    expect_failure("no-such-judge", "ended with exit code 127", 2);
    char *judge = length_judge("");
    tv_child_result run = tv_run_trivium("rank", "--candidates", candidates, "--out", out, "--judge", judge,
                                         "--annotator", "sim", "--json");
    assert_near(result(&run, "judged"), ITEMS - 2, 0);
    assert_near(result(&run, "judged_items"), ITEMS, 0);
    tv_child_result_free(&run);
    expect_each_once(ITEMS);
    free(judge);
}

/* Every ranking would do for every item: which one an answer is for is known, or the run ends. */
static void answers_that_shift_are_found(void **state) {
    (void)state;
    static const struct {
        const char *before, *after;
    } shifts[] = {
        {"echo \"$answer\";", ""}, {"", "[ $n = 3 ] && echo \"$answer\";"}, {"", "[ $n = 30 ] && echo;"}};
    for (size_t i = 0; i < TV_COUNT(shifts); i++) {
        char *judge = tv_format("answer='{\"ranking\":null}'; n=0; %s while read -r x; do n=$((n+1)); echo "
                                "\"$answer\"; %s done",
                                shifts[i].before, shifts[i].after[0] ? shifts[i].after : ":;");
        if (tv_path_exists(out))
            assert_ok(tv_remove_tree(out));
        tv_child_result run = tv_run_trivium("rank", "--candidates", candidates, "--out", out, "--judge",
                                             judge, "--annotator", "sim");
        if (run.exit_code != 2 || !strstr(run.err, "expected one line for each question"))
            fail_msg("%s: exit code %d, \"%s\"", judge, run.exit_code, run.err);
        tv_child_result_free(&run);
        free(judge);
    }
}

/* The first item alone, then two at a time, the later one first: item p3 gets the comment "p3". */
static void answers_with_ids_come_in_any_order(void **state) {
    (void)state;
    char *judge = tv_format(
        "answer() { echo \"{\\\"id\\\":\\\"$1\\\",\\\"ranking\\\":null,\\\"comment\\\":\\\"$1\\\"}\"; }; "
        "first=; held=; while IFS='\"' read -r a b c id rest; do if [ -z \"$first\" ]; then answer $id; "
        "first=1; elif [ -z \"$held\" ] && [ $id != p29 ]; then held=$id; else answer $id; [ -n "
        "\"$held\" ] && answer $held; held=; fi; done");
    tv_child_result run =
        tv_run_trivium("rank", "--candidates", candidates, "--out", out, "--judge", judge, "--json");
    if (run.exit_code != 0)
        fail_msg("exit code %d, \"%s\"", run.exit_code, run.err);
    assert_near(result(&run, "judged"), ITEMS, 0);
    tv_child_result_free(&run);
    expect_each_once(ITEMS);
    tv_rankings *rankings = read_out();
    for (uint64_t i = 0; i < ITEMS; i++)
        assert_string_equal(tv_rankings_at(rankings, i)->comment, tv_rankings_at(rankings, i)->item.id);
    /* The second and the third are of the items that were out together. */
    assert_string_equal(tv_rankings_at(rankings, 0)->item.id, "p0");
    assert_string_equal(tv_rankings_at(rankings, 1)->item.id, "p2");
    assert_string_equal(tv_rankings_at(rankings, 2)->item.id, "p1");
    tv_rankings_destroy(&rankings);
    free(judge);
}

/* A limit on the file's size is a full disk: the line that does not fit is cut off again. */
static void full_disk(void **state) {
    (void)state;
    char *judge = length_judge(""),
         *command = tv_format("ulimit -f 4; exec %s rank --candidates %s --out %s --judge '%s'",
                              TRIVIUM_COMMAND, candidates, out, judge);
    tv_child_result run = tv_child_run((const char *const[]){"/bin/sh", "-c", command, NULL});
    assert_int_equal(run.exit_code, 1);
    assert_non_null(strstr(run.err, "this judgment was not written, all before it are safe"));
    tv_child_result_free(&run);
    tv_rankings *rankings = read_out();
    uint64_t kept = tv_rankings_count(rankings);
    assert_true(kept > 0 && kept < ITEMS);
    tv_rankings_destroy(&rankings);
    run = tv_run_trivium("rank", "--candidates", candidates, "--out", out, "--judge", judge, "--json");
    assert_near(result(&run, "judged"), ITEMS - (double)kept, 0);
    tv_child_result_free(&run);
    expect_each_once(ITEMS);
    free(command);
    free(judge);
}

static void interrupted_judge(void **state) {
    (void)state;
    char *asked = tv_format("%s/asked", dir), *judge = tv_format("read -r line; touch '%s'; sleep 60", asked);
    tv_child child = tv_start_trivium("rank", "--candidates", candidates, "--out", out, "--judge", judge,
                                      "--annotator", "sim");
    while (tv_child_runs(&child) && !tv_path_exists(asked))
        tv_sleep(1e-3);
    kill(child.pid, SIGINT);
    tv_child_result run = tv_child_wait(&child);
    assert_int_equal(run.exit_code, 130);
    assert_non_null(strstr(run.err, "the same command goes on"));
    tv_child_result_free(&run);
    free(asked);
    free(judge);
}

static void second_annotators_get_the_shared_ones(void **state) {
    (void)state;
    tv_text all = {0};
    for (int i = 0; i < ITEMS + 1; i++)
        assert_ok(tv_text_append(&all, "a>b>c\n", 6));
    assert_ok(tv_text_append(&all, "", 1));
    tv_child_result run = run_with_input((const char *)all.data, "ann", "");
    assert_near(result(&run, "judged"), ITEMS + 1, 0); /* 3 % of 30 come back once */
    tv_child_result_free(&run);
    run = run_with_input((const char *)all.data, "bob", "");
    assert_near(result(&run, "judged"), 5, 0); /* 15 % of 30, rounded */
    tv_child_result_free(&run);
    tv_text_free(&all);
}

static void bad_usage(void **state) {
    (void)state;
    tv_child_result run = tv_run_trivium("rank", "--out", out);
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "--candidates FILE is missing"));
    tv_child_result_free(&run);
    run = tv_run_trivium("rank", "--candidates", "/no/such");
    assert_int_equal(run.exit_code, 2);
    tv_child_result_free(&run);
    run = tv_run_trivium("rank", "--candidates", candidates, "--out", candidates, "--annotator", "a");
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "candidates.jsonl is read here"));
    tv_child_result_free(&run);
    run = tv_run_trivium("rank", "--help");
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out, "b>a=c>d"));
    tv_child_result_free(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_through_a_pipe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_a_terminal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_in_the_middle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(judges_that_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_that_shift_are_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_with_ids_come_in_any_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(interrupted_judge, set_up, tear_down),
        cmocka_unit_test_setup_teardown(second_annotators_get_the_shared_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_usage, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
