/* report/rounds: the page of rounds holds the numbers of their files, also while they go on, and whatever
 * stands in the files.
 *
 * Tried on 2026-11-29, each fails here: answers not escaped, the share of those that were cut for that of
 * those that ended, the last score for the best.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "report/report.h"
#include "report/rounds.h"

static void put(const char *dir, const char *name, const char *text) {
    char *path = tv_format("%s/%s", dir, name), *folder = tv_format("%s", path);
    *strrchr(folder, '/') = '\0';
    assert_ok(tv_make_dirs(folder));
    assert_ok(tv_write_file(path, text, strlen(text)));
    tv_free_all(path, folder);
}

#define RESPONSE(text, tokens, finish)                                                                       \
    "{\"id\":\"r\",\"text\":\"" text "\",\"tokens\":" #tokens ",\"finish\":\"" finish "\"}"

static void put_rounds(const char *dir) {
    put(dir, "align.json",
        "{\"rounds\": 2, \"learn\": \"dpo\", \"reward\": \"runs/<b>rm</b>\", \"people\": false}");
    put(dir, "round-1/candidates.jsonl",
        "{\"id\":\"p0\",\"prompt\":\"first?\",\"responses\":[" RESPONSE("one", 3, "eos") "," RESPONSE(
            "two", 5, "length") "]}\n"
                                "{\"id\":\"p1\",\"prompt\":[{\"role\":\"user\",\"content\":\"second?\"}],"
                                "\"responses\":[" RESPONSE("three", 4, "eos") "," RESPONSE("four", 4,
                                                                                           "eos") "]}\n");
    put(dir, "round-1/prefs.jsonl",
        "{\"prompt\":\"first?\",\"answers\":[{\"answer\":\"one\",\"rank\":1,\"score\":2.5},"
        "{\"answer\":\"two\",\"rank\":2,\"score\":-0.5}]}\n");
    put(dir, "round-1/sample.finished", "{\"command\": \"trivium sample\", \"seconds\": 60}\n");
    put(dir, "round-1/dpo.finished", "{\"command\": \"trivium dpo\", \"seconds\": 30}\n");
    put(dir, "round-1/dpo/config.json", "{}");
    put(dir, "round-1/dpo/metrics.jsonl",
        "{\"stage\":\"dpo\",\"step\":1,\"loss\":0.6931,\"rewards/margins\":0.25,\"rewards/"
        "accuracies\":0.75}\n");
    put(dir, "round-2/candidates.jsonl",
        "{\"id\":\"p0\",\"prompt\":\"first?\",\"responses\":[" RESPONSE(
            "<script>alert(1)</script>", 8, "eos") "]}\n"
                                                   "{\"id\":\"p1\",\"prompt\":\"sec"); /* is being written */
}

static char *page_of(const char *dir) {
    char *out = tv_format("%s/report.html", dir), *text = NULL;
    assert_ok(tv_report_write(&dir, 1, NULL, out));
    assert_ok(tv_read_file(out, &text, NULL));
    free(out);
    return text;
}

/* What stands behind `label` in its row of the table. */
static void expect_row(const char *page, const char *label, const char *cells) {
    char *row = tv_format("<tr><td>%s</td>%s</tr>", label, cells);
    if (!strstr(page, row))
        fail_msg("the page has no row %s", row);
    free(row);
}
#define CELL(text) "<td class=\"n\">" text "</td>"

static void the_page_has_the_numbers_of_the_files(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    put_rounds(dir);
    assert_true(tv_report_is_rounds(dir));
    char *page = page_of(dir);
    assert_non_null(strstr(page, "round 2 of 2"));
    assert_non_null(strstr(page, "judged by the reward model runs/&lt;b&gt;rm&lt;/b&gt;, learned with dpo"));
    expect_row(page, "prompts", CELL("2") CELL("1"));
    expect_row(page, "answers", CELL("4") CELL("1"));
    expect_row(page, "tokens an answer", CELL("4") CELL("8"));
    expect_row(page, "ended by themselves", CELL("75.0 %") CELL("100.0 %"));
    expect_row(page, "mean score", CELL("1") CELL(""));
    expect_row(page, "mean of the best scores", CELL("2.5") CELL(""));
    expect_row(page, "dpo: margin", CELL("0.25") CELL(""));
    expect_row(page, "dpo: accuracy", CELL("75.0 %") CELL(""));
    expect_row(page, "time", CELL("90 s") CELL(""));
    /* Answers of both rounds to one prompt, as text. */
    assert_non_null(strstr(page, "second?"));
    assert_non_null(strstr(page, "after round 1</dt><dd>&lt;script&gt;alert(1)&lt;/script&gt;</dd>"));
    assert_null(strstr(page, "<script>alert"));
    assert_non_null(strstr(page, "id=\"chart-round-length\""));
    assert_non_null(strstr(page, "round-1/dpo"));
    free(page);
    tv_test_dir_remove(&dir);
}

/* Nothing drawn yet, and files that are not what they should be. */
static void odd_rounds_give_a_page_or_a_sentence(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *out = tv_format("%s/report.html", dir);
    put(dir, "align.json", "{\"rounds\": \"two\", \"learn\": \"dpo\", \"people\": true}");
    char *page = page_of(dir);
    assert_non_null(strstr(page, "judged by people"));
    free(page);
    put(dir, "round-1/candidates.jsonl",
        "{\"prompt\":7,\"responses\":{\"a\":1}}\n{\"responses\":[1,\"x\",null,{\"text\":5}]}\n"
        "{\"prompt\":[],\"responses\":[{\"text\":\"a\",\"tokens\":\"b\"}]}\n");
    put(dir, "round-1/prefs.jsonl", "{\"answers\":5}\n{\"answers\":[1,{\"score\":\"high\"}]}\n");
    put(dir, "round-1/rankings.jsonl", "{\"ranking\":null}\n{}\n");
    put(dir, "round-1/rank.finished", "not JSON");
    put(dir, "round-1/ppo", "a file");
    page = page_of(dir);
    expect_row(page, "answers", CELL("6"));
    expect_row(page, "judgments", CELL("2"));
    free(page);
    put(dir, "align.json", "{\"rounds\": 2, \"learn\": 5}");
    const char *const one[] = {dir};
    assert_fails(tv_report_write(one, 1, NULL, out), TV_E_DATA, "align.json");
    tv_test_dir_remove(&dir);
    free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_has_the_numbers_of_the_files),
        cmocka_unit_test(odd_rounds_give_a_page_or_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
