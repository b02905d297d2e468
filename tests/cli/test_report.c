/* trivium report as a person runs it. */
#include "support/support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/os.h"
#include "support/subprocess.h"

static void help_shows_every_option(void **state) {
    (void)state;
    tv_child_result run = tv_run_trivium("report", "--help");
    assert_int_equal(run.exit_code, 0);
    assert_string_equal(run.err, "");
    const char *const words[] = {"usage: trivium report RUN... [options]",
                                 "-o, --out FILE",
                                 "(default: report.html)",
                                 "common options:",
                                 "--json",
                                 "-h, --help"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(run.out, words[i]))
            fail_msg("\"%s\" is not in the help:\n%s", words[i], run.out);
    assert_null(strstr(run.out, "--dry-run"));
    tv_child_result_free(&run);
}

static void a_page_is_written(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/metrics.jsonl", dir),
         *out = tv_format("%s/page.html", dir);
    const char *line = "{\"stage\":\"pretrain\",\"step\":1,\"loss\":2}\n";
    assert_ok(tv_write_file(path, line, strlen(line)));
    tv_child_result run = tv_run_trivium("report", dir, "-o", out, "--json");
    assert_int_equal(run.exit_code, 0);
    cJSON *result = NULL;
    assert_ok(tv_json_parse(run.out, strlen(run.out), "output", &result));
    assert_string_equal(tv_json_get(result, "report")->valuestring, out);
    assert_true(tv_path_exists(out));
    cJSON_Delete(result);
    tv_child_result_free(&run);
    free(path);
    free(out);
    tv_test_dir_remove(&dir);
}

/* Starts it, reads its address, interrupts it: that is how it ends. */
static void following_prints_its_address_and_ends_well(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/metrics.jsonl", dir);
    const char *line = "{\"stage\":\"pretrain\",\"step\":1,\"loss\":2}\n";
    assert_ok(tv_write_file(path, line, strlen(line)));
    tv_child child = tv_start_trivium("report", dir, "--follow");
    char printed[256] = "";
    for (int i = 0; i < 200 && !strchr(printed, '\n') && tv_child_runs(&child); i++) {
        tv_sleep(0.05);
        /* The program writes at the same offset, so it must not move. */
        ssize_t got = pread(fileno(child.out), printed, sizeof printed - 1, 0);
        printed[got > 0 ? got : 0] = '\0';
    }
    kill(child.pid, SIGINT);
    tv_child_result run = tv_child_wait(&child);
    assert_int_equal(run.exit_code, 0);
    const char *start = "follow at http://127.0.0.1:";
    assert_int_equal(strncmp(printed, start, strlen(start)), 0);
    const char *secret = strchr(printed + strlen(start), '/');
    assert_non_null(secret);
    assert_int_equal(strspn(secret + 1, "0123456789abcdef"), 32);
    tv_child_result_free(&run);
    free(path);
    tv_test_dir_remove(&dir);
}

static void mistakes_give_exit_code_2(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    const struct {
        const char *words[2];
        const char *sentence;
    } cases[] = {
        {{dir, "--uot=x"}, "--out"},
        {{"/nonexistent", "--json"}, "/nonexistent"},
        {{"--json", "--quiet"}, "RUN is missing"},
        {{dir, "--json"}, "metrics.jsonl"},
        {{dir, "--follow"}, "metrics.jsonl"},
        {{dir, "--port=8080"}, "--port is for --follow"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tv_child_result run = tv_run_trivium("report", cases[i].words[0], cases[i].words[1]);
        assert_int_equal(run.exit_code, 2);
        assert_string_equal(run.out, "");
        if (strncmp(run.err, "trivium report: ", 16) != 0 || !strstr(run.err, cases[i].sentence))
            fail_msg("case %zu: %s", i, run.err);
        tv_child_result_free(&run);
    }
    tv_child_result run = tv_run_trivium("reprot");
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "\"report\""));
    tv_child_result_free(&run);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_shows_every_option),
        cmocka_unit_test(a_page_is_written),
        cmocka_unit_test(following_prints_its_address_and_ends_well),
        cmocka_unit_test(mistakes_give_exit_code_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
