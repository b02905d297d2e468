/* trivium prefs: pairs, orders, ties and splits of judgments, read back as preference data, and the agreement
 * report.
 *
 * Tried: splitting by line, giving repeats or skips as pairs, swapping chosen and rejected. Each fails.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "support/command_result.h"
#include "support/subprocess.h"
#include "text/buffers.h"
#include "text/preferences.h"
#include "text/tokenizer_json.h"

static char *dir, *rankings, *out, *val;

static int set_up(void **state) {
    (void)state;
    dir = tv_test_dir();
    rankings = tv_format("%s/rankings.jsonl", dir);
    out = tv_format("%s/prefs.jsonl", dir);
    val = tv_format("%s/prefs_val.jsonl", dir);
    return !dir || !rankings || !out || !val;
}

static int tear_down(void **state) {
    (void)state;
    tv_test_dir_remove(&dir);
    tv_free_all(rankings, out, val);
    return 0;
}

#define RESPONSES                                                                                            \
    "\"responses\":[{\"id\":\"r0\",\"text\":\"A\"},{\"id\":\"r1\",\"text\":\"B\\u0000\xff\"},{\"id\":"       \
    "\"r2\",\"text\":\"A\"}]"
#define LINE(id, prompt, ranking, annotator, flags)                                                          \
    "{\"id\":\"" id "\",\"prompt\":" prompt "," RESPONSES ",\"ranking\":" ranking                            \
    ",\"annotator\":\"" annotator "\",\"flags\":[" flags "]}\n"

static void write_rankings(const char *lines) {
    assert_ok(tv_write_file(rankings, lines, strlen(lines)));
}

static char *contents(const char *path) {
    char *text = NULL;
    assert_ok(tv_read_file(path, &text, NULL));
    return text;
}

static void expect_file(const char *path, const char *expected) {
    char *text = contents(path);
    assert_string_equal(text, expected);
    free(text);
}

static void pairs_keep_every_byte(void **state) {
    (void)state;
    write_rankings(LINE("a", "\"p\\u0000\"", "[[\"r1\"],[\"r0\",\"r2\"]]", "ann", "")
                       LINE("a", "\"p\\u0000\"", "[[\"r0\"],[\"r1\"],[\"r2\"]]", "bob", "")
                           LINE("a", "\"p\\u0000\"", "[[\"r0\"],[\"r1\"],[\"r2\"]]", "ann", "\"repeat\"")
                               LINE("b", "\"q\"", "null", "ann", "\"skip\"")
                                   LINE("c", "[{\"role\":\"user\",\"content\":\"hi\"}]",
                                        "[[\"r0\",\"r1\",\"r2\"]]", "ann", "\"all_bad\""));
    tv_child_result run = tv_run_trivium("prefs", "--rankings", rankings, "--out", out, "--json");
    cJSON *result = tv_result_of(&run);
    assert_near(tv_result_number(result, "judgments"), 5, 0);
    assert_near(tv_result_number(result, "skipped"), 1, 0);
    assert_near(tv_result_number(result, "repeats"), 1, 0);
    assert_near(tv_result_number(result, "all_bad"), 1, 0);
    assert_near(tv_result_number(result, "pairs"), 4, 0);
    assert_near(tv_result_number(result, "ties"), 2, 0);
    assert_near(tv_result_number(result, "same"), 3, 0); /* r0 and r2 have the same text */
    assert_near(tv_result_number(result, "lines"), 4, 0);
    assert_near(tv_result_number(result, "prompts"), 1, 0);
    cJSON_Delete(result);
    tv_child_result_free(&run);
#define B_OVER_A "{\"prompt\":\"p\\u0000\",\"chosen\":\"B\\u0000\xff\",\"rejected\":\"A\"}\n"
#define A_OVER_B "{\"prompt\":\"p\\u0000\",\"chosen\":\"A\",\"rejected\":\"B\\u0000\xff\"}\n"
    expect_file(out, B_OVER_A B_OVER_A A_OVER_B B_OVER_A);

    run = tv_run_trivium("prefs", "--rankings", rankings, "--out", out, "--ties", "--json");
    result = tv_result_of(&run);
    assert_near(tv_result_number(result, "lines"), 6, 0);
    assert_near(tv_result_number(result, "prompts"), 2, 0);
    char *text = contents(out);
    assert_non_null(
        strstr(text, "{\"prompt\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                     "\"chosen\":[{\"role\":\"assistant\",\"content\":\"A\"}],"
                     "\"rejected\":[{\"role\":\"assistant\",\"content\":\"B\\u0000\xff\"}],\"tie\":true}\n"));
    free(text);
    cJSON_Delete(result);
    tv_child_result_free(&run);

    run = tv_run_trivium("prefs", "--rankings", rankings, "--out", out, "--listwise");
    assert_int_equal(run.exit_code, 0);
    expect_file(out, "{\"prompt\":\"p\\u0000\",\"answers\":[{\"answer\":\"B\\u0000\xff\",\"rank\":1},"
                     "{\"answer\":\"A\",\"rank\":2},{\"answer\":\"A\",\"rank\":2}]}\n"
                     "{\"prompt\":\"p\\u0000\",\"answers\":[{\"answer\":\"A\",\"rank\":1},"
                     "{\"answer\":\"B\\u0000\xff\",\"rank\":2},{\"answer\":\"A\",\"rank\":3}]}\n");
    tv_child_result_free(&run);
}

/* What is written is what text/preferences reads: prompts as texts and as messages, strict, tied and
 * listwise. */
static void preferences_read_them(void **state) {
    (void)state;
    static const char *const modes[] = {"--ties", "--listwise"};
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_tokenizer_load(TRIVIUM_SOURCE_DIR "/tests/text/data/trained", &tokenizer));
    write_rankings(LINE("a", "\"p\"", "[[\"r1\"],[\"r0\",\"r2\"]]", "ann", "") LINE(
        "b", "[{\"role\":\"user\",\"content\":\"hi\"}]", "[[\"r0\",\"r1\"],[\"r2\"]]", "ann", ""));
    for (uint64_t mode = 0; mode < TV_COUNT(modes); mode++) {
        tv_child_result run = tv_run_trivium("prefs", "--rankings", rankings, "--out", out, modes[mode]);
        assert_int_equal(run.exit_code, 0);
        tv_child_result_free(&run);
        tv_preferences *set = NULL;
        const char *paths[] = {out};
        const tv_preferences_options options = {.paths = paths, .path_count = 1, .tokenizer = tokenizer};
        assert_ok(tv_preferences_read(&options, &set));
        /* r1 over r0 and r2; r0 and r1 tied and r1 over r2, or the two orders. */
        assert_int_equal(set->count, mode == 0 ? 4 : 2);
        const tv_preference_group *first = &set->groups[0];
        assert_int_equal(first->count, mode == 0 ? 2 : 3);
        assert_int_equal(first->responses[0].rank, 0);
        assert_int_equal(first->responses[1].rank, 1);
        assert_true(first->responses[0].length > first->responses[1].length); /* r1 has more bytes */
        const tv_preference_group *tied = &set->groups[mode == 0 ? 2 : 1];
        assert_int_equal(tied->responses[0].rank, tied->responses[1].rank);
        tv_preferences_destroy(&set);
    }
    tv_tokenizer_destroy(&tokenizer);
}

/* Three judgments of each of 20 prompts, one of which is spelled in two ways. */
static void write_many(void) {
    tv_text text = {0};
    for (int i = 0; i < 60; i++) {
        char line[512];
        const char *spelled = i % 20 == 7 && i > 30 ? "\"prompt \\u0037\"" : NULL;
        char plain[32];
        snprintf(plain, sizeof plain, "\"prompt %d\"", i % 20);
        int length = snprintf(line, sizeof line,
                              "{\"id\":\"i%d\",\"prompt\":%s," RESPONSES
                              ",\"ranking\":[[\"r0\"],[\"r1\"],[\"r2\"]],\"annotator\":\"a%d\"}\n",
                              i % 20, spelled ? spelled : plain, i / 20);
        assert_ok(tv_text_append(&text, line, (uint64_t)length));
    }
    assert_ok(tv_text_append(&text, "", 1));
    write_rankings((const char *)text.data);
    tv_text_free(&text);
}

/* Marks the prompts of a file; returns the lines. */
static uint64_t prompts_of(const char *path, bool seen[20]) {
    uint64_t lines = 0;
    char *text = contents(path);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1, lines++) {
        cJSON *root = NULL;
        assert_ok(tv_json_parse(line, (uint64_t)(strchr(line, '\n') - line), "line", &root));
        seen[atoi(tv_json_get(root, "prompt")->valuestring + 7)] = true;
        cJSON_Delete(root);
    }
    free(text);
    return lines;
}

static void splits_go_by_prompt(void **state) {
    (void)state;
    write_many();
    for (int seed = 1; seed <= 3; seed++) {
        char number_text[16];
        snprintf(number_text, sizeof number_text, "%d", seed);
        tv_child_result run = tv_run_trivium("prefs", "--rankings", rankings, "--out", out, "--val-fraction",
                                             "0.25", "--seed", number_text, "--json");
        cJSON *result = tv_result_of(&run);
        bool train_seen[20] = {0}, val_seen[20] = {0};
        assert_near(tv_result_number(result, "prompts"), 20, 0);
        assert_near(tv_result_number(result, "val_prompts"), 5, 0);
        assert_int_equal(prompts_of(out, train_seen), 15 * 6);
        assert_int_equal(prompts_of(val, val_seen), 5 * 6);
        for (int i = 0; i < 20; i++)
            assert_true(train_seen[i] != val_seen[i]);
        cJSON_Delete(result);
        tv_child_result_free(&run);
    }
}

static void several_files_are_merged(void **state) {
    (void)state;
    char *second = tv_format("%s/second.jsonl", dir);
    write_rankings(LINE("a", "\"p\"", "[[\"r1\"],[\"r0\",\"r2\"]]", "ann", ""));
    static const char lines[] = LINE("a", "\"p\"", "[[\"r1\"],[\"r0\"],[\"r2\"]]", "bob\\u001b[31m", "");
    assert_ok(tv_write_file(second, lines, sizeof lines - 1));
    tv_child_result run = tv_run_trivium("prefs", "--rankings", rankings, second, "--agreement", "--json");
    cJSON *result = tv_result_of(&run);
    const cJSON *all = tv_json_get(tv_json_get(result, "agreement"), "all");
    assert_near(tv_result_number(all, "agreement"), 2.5 / 3, 1e-12);
    assert_near(tv_result_number(all, "items"), 1, 0);
    cJSON_Delete(result);
    tv_child_result_free(&run);
    run = tv_run_trivium("prefs", "--rankings", rankings, second, "--out", out, "--agreement");
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out, "ann, bob\\x1b[31m"));
    assert_non_null(strstr(run.out, "83.3"));
    assert_null(strchr(run.out, '\x1b'));
    tv_child_result_free(&run);
    free(second);
}

/* Counted twice, one annotator's judgments would look like two that agree. */
static void judgments_count_once(void **state) {
    (void)state;
    char *copy = tv_format("%s/copy.jsonl", dir), *empty = tv_format("%s/empty.jsonl", dir);
    static const char lines[] = LINE("a", "\"p\"", "[[\"r1\"],[\"r0\",\"r2\"]]", "ann", "");
    write_rankings(lines);
    assert_ok(tv_write_file(copy, lines, sizeof lines - 1));
    assert_ok(tv_write_file(empty, "", 0));
    tv_child_result run = tv_run_trivium("prefs", "--rankings", rankings, rankings, "--out", out);
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "rankings.jsonl: expected each file of rankings once"));
    tv_child_result_free(&run);
    run = tv_run_trivium("prefs", "--rankings", rankings, empty, copy, "--out", out);
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "copy.jsonl: expected judgments that are not in another file too"));
    assert_false(tv_path_exists(out));
    tv_child_result_free(&run);
    run = tv_run_trivium("prefs", "--rankings", rankings, empty, "--out", out);
    assert_int_equal(run.exit_code, 0);
    assert_null(strstr(run.err, "counts twice"));
    tv_child_result_free(&run);
    /* In part: another line of ann on "a", beside what is hers alone, somebody else's, and her repeat. */
    static const char overlapping[] = LINE("b", "\"p\"", "[[\"r1\"],[\"r0\",\"r2\"]]", "ann", "")
        LINE("a", "\"p\"", "[[\"r1\"],[\"r0\",\"r2\"]]", "bob", "")
            LINE("a", "\"p\"", "[[\"r1\"],[\"r0\",\"r2\"]]", "ann", "\"repeat\"")
                LINE("a", "\"p\"", "[[\"r0\"],[\"r1\",\"r2\"]]", "ann", "");
    assert_ok(tv_write_file(copy, overlapping, sizeof overlapping - 1));
    run = tv_run_trivium("prefs", "--rankings", rankings, copy, "--out", out);
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.err,
                           "1 judgment counts twice: the same annotator judged the same item in another "
                           "file too, as ann did \"a\" in "));
    assert_non_null(strstr(run.err, "rankings.jsonl line 1 and "));
    assert_non_null(strstr(run.err, "copy.jsonl line 4"));
    tv_child_result_free(&run);
    free(empty);
    free(copy);
}

/* Four items of PandaLM by three people: all for b; two for a against a tie; a tie that leads; one each.
 * Alpha is Krippendorff's by the coincidence matrix, in Python, of the values 1, 1.5 and 2. */
static void another_program_s_items(void **state) {
    (void)state;
#define ITEM(id, one, two, three)                                                                            \
    "{\"idx\":" id ",\"instruction\":\"do " id "\",\"input\":\"\",\"response1\":\"a\",\"response2\":\"b\","  \
    "\"annotator1\":" one ",\"annotator2\":" two ",\"annotator3\":" three "}\n"
    write_rankings(ITEM("0", "2", "2", "2") ITEM("1", "1", "0", "1") ITEM("2", "0", "0", "1")
                       ITEM("3", "0", "1", "2"));
    tv_child_result run = tv_run_trivium("prefs", "--rankings", rankings, "--annotators", "majority", "--out",
                                         out, "--agreement", "--json");
    assert_non_null(strstr(run.err, "PandaLM"));
    cJSON *result = tv_result_of(&run);
    const cJSON *all = tv_json_get(tv_json_get(result, "agreement"), "all");
    assert_near(tv_result_number(result, "judgments"), 12, 0);
    assert_near(tv_result_number(result, "items"), 4, 0);
    assert_near(tv_result_number(result, "pairs"), 2, 0);
    assert_near(tv_result_number(result, "ties"), 2, 0);
    /* 3 of 3; 1/2, 1, 1/2; 1, 1/2, 1/2; 1/2, 1/2, 0. */
    assert_near(tv_result_number(all, "agreement"), 8.0 / 12, 1e-12);
    assert_near(tv_result_number(all, "alpha"), 0.4010416667, 1e-9);
    cJSON_Delete(result);
    tv_child_result_free(&run);
#define ASKED(id)  "{\"prompt\":[{\"role\":\"user\",\"content\":\"do " id "\"}],"
#define SAID(text) "[{\"role\":\"assistant\",\"content\":\"" text "\"}]"
#define B_WINS     "\"chosen\":" SAID("b") ",\"rejected\":" SAID("a")
#define A_WINS     "\"chosen\":" SAID("a") ",\"rejected\":" SAID("b")
    expect_file(out, ASKED("0") B_WINS "}\n" ASKED("1") A_WINS "}\n");
    run = tv_run_trivium("prefs", "--rankings", rankings, "--annotators", "majority", "--ties", "--out", out);
    assert_int_equal(run.exit_code, 0);
    expect_file(out, ASKED("0") B_WINS "}\n" ASKED("1") A_WINS "}\n" ASKED("2") A_WINS
                ",\"tie\":true}\n" ASKED("3") A_WINS ",\"tie\":true}\n");
    tv_child_result_free(&run);
    run = tv_run_trivium("prefs", "--rankings", rankings, "--out", out);
    assert_int_equal(run.exit_code, 0);
    expect_file(out, ASKED("0") B_WINS "}\n" ASKED("0") B_WINS "}\n" ASKED("0") B_WINS "}\n" ASKED("1") A_WINS
                "}\n" ASKED("1") A_WINS "}\n" ASKED("2") A_WINS "}\n" ASKED("3") A_WINS "}\n" ASKED("3")
                    B_WINS "}\n");
    tv_child_result_free(&run);
    run = tv_run_trivium("prefs", "--rankings", rankings, "--annotators", "majority", "--listwise", "--out",
                         out);
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "leave --listwise out"));
    tv_child_result_free(&run);
}

static void bad_usage(void **state) {
    (void)state;
    write_rankings(LINE("a", "\"p\"", "[[\"r0\",\"r1\",\"r2\"]]", "ann", ""));
    tv_child_result run = tv_run_trivium("prefs", "--rankings", rankings);
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "--out FILE is missing"));
    tv_child_result_free(&run);
    run = tv_run_trivium("prefs", "--rankings", rankings, "--out", out);
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "1 judgments give no preference"));
    assert_false(tv_path_exists(out));
    tv_child_result_free(&run);
    write_rankings("{}\n");
    run = tv_run_trivium("prefs", "--rankings", rankings, "--out", out);
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "rankings.jsonl line 1"));
    tv_child_result_free(&run);
    run = tv_run_trivium("prefs", "--help");
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out, "--val-fraction"));
    tv_child_result_free(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pairs_keep_every_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(preferences_read_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(splits_go_by_prompt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_files_are_merged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(judgments_count_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_program_s_items, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_usage, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
