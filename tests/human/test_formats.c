/* Lines of candidates and of judgments: what is read, what is refused and with which words, and the way back.
 *
 * Tried: counting lines from 0; taking ids without looking for equal ones; a rank that may be missing. Each
 * fails.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "human/candidates.h"
#include "human/rankings.h"

#define RESPONSES "\"responses\":[{\"id\":\"r0\",\"text\":\"a\"},{\"id\":\"r1\",\"text\":\"b\\u0000\xff\"}]"
#define ITEM(id)  "{\"id\":" id ",\"prompt\":\"p\"," RESPONSES "}\n"

static void expect_refused(const char *lines, const char *sentence) {
    tv_candidates *candidates = NULL;
    tv_status status = tv_candidates_read_bytes(lines, strlen(lines), "f.jsonl", &candidates);
    assert_int_equal(status, TV_E_DATA);
    assert_null(candidates);
    if (!strstr(tv_last_error(), sentence))
        fail_msg("expected \"%s\", found \"%s\"", sentence, tv_last_error());
}

static void bad_candidates_are_refused(void **state) {
    (void)state;
    expect_refused("", "f.jsonl: expected JSON lines, found none");
    expect_refused(ITEM("\"a\"") "\n{", "f.jsonl line 3: expected one JSON object a line");
    expect_refused(ITEM("\"a\"") "[1]\n", "f.jsonl line 2: expected a JSON object");
    expect_refused("{\"prompt\":\"p\"," RESPONSES "}",
                   "line 1: expected a text under \"id\", found no such member");
    expect_refused("{\"id\":\"\",\"prompt\":\"p\"," RESPONSES "}",
                   "expected a text under \"id\", found \"\"");
    expect_refused("{\"id\":\"a\\u0000\",\"prompt\":\"p\"," RESPONSES "}", "without zero bytes");
    expect_refused("{\"id\":\"a\"," RESPONSES "}", "a text or a list of messages under \"prompt\"");
    expect_refused("{\"id\":\"a\",\"prompt\":[]," RESPONSES "}", "the prompt is an empty list");
    expect_refused("{\"id\":\"a\",\"prompt\":[{\"role\":\"user\"}]," RESPONSES "}",
                   "as message 1 of the prompt");
    expect_refused("{\"id\":\"a\",\"prompt\":\"p\"}",
                   "a list of responses under \"responses\", found no such member");
    expect_refused("{\"id\":\"a\",\"prompt\":\"p\",\"responses\":[{\"id\":\"r\",\"text\":\"\"}]}",
                   "expected 2 to 16 responses, found 1");
    expect_refused(
        "{\"id\":\"a\",\"prompt\":\"p\",\"responses\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}",
        "found 17");
    expect_refused("{\"id\":\"a\",\"prompt\":\"p\",\"responses\":[1,2]}",
                   "line 1, response 1: expected {\"id\", \"text\"");
    expect_refused("{\"id\":\"a\",\"prompt\":\"p\",\"responses\":[{\"id\":\"r\",\"text\":\"\"},{\"id\":\"r\","
                   "\"text\":\"\"}]}",
                   "two responses have the id \"r\"");
    expect_refused(
        "{\"id\":\"a\",\"prompt\":\"p\",\"responses\":[{\"id\":\"r\",\"text\":\"\"},{\"id\":\"s\"}]}",
        "response 2: expected a text under \"text\"");
    expect_refused(
        "{\"id\":\"a\",\"prompt\":\"p\",\"responses\":[{\"id\":1.0,\"text\":\"\"},{\"id\":2,\"text\":\"\"}]}",
        "a whole number of at most 15 digits under \"id\", found 1.0");
    expect_refused(ITEM("\"a\"") ITEM("\"b\"") ITEM("\"a\""),
                   "f.jsonl line 3: the id \"a\" was used in line 1 already");
    tv_candidates *candidates = NULL;
    assert_fails(tv_candidates_read("/no/such/file", &candidates), TV_E_DATA, "nothing of that name");
}

static void good_candidates_keep_every_byte(void **state) {
    (void)state;
    static const char lines[] = ITEM("7") "\r\n  \n" ITEM("\"b\\u00e9\"");
    tv_candidates *candidates = NULL;
    assert_ok(tv_candidates_read_bytes(lines, sizeof lines - 1, "f.jsonl", &candidates));
    assert_int_equal(tv_candidates_count(candidates), 2);
    const tv_item *item = tv_candidates_item(candidates, tv_candidates_find(candidates, "b\xc3\xa9"));
    assert_int_equal(item->line, 4);
    assert_int_equal(item->responses[1].text.size, 3);
    assert_memory_equal(item->responses[1].text.data, "b\0\xff", 3);
    assert_string_equal(tv_candidates_item(candidates, 0)->id, "7");
    assert_int_equal(tv_candidates_find(candidates, "c"), UINT64_MAX);
    tv_candidates_destroy(&candidates);
}

static void letters(const char *text, uint32_t k, const char *expected) {
    uint8_t rank[TV_MAX_RESPONSES];
    tv_status status = tv_rank_of_letters(text, k, rank);
    if (expected[0] < '0' || expected[0] > '9') {
        assert_int_equal(status, TV_E_USAGE);
        if (!strstr(tv_last_error(), expected))
            fail_msg("expected \"%s\", found \"%s\"", expected, tv_last_error());
        return;
    }
    assert_ok(status);
    for (uint32_t i = 0; i < k; i++)
        assert_int_equal(rank[i], expected[i] - '0');
}

static void rankings_by_letters(void **state) {
    (void)state;
    letters("b>a=c>d", 4, "1012");
    letters(" B > A ", 2, "10");
    letters("a=b=c", 3, "000");
    letters("i>h>g>f>e>d>c>b>a", 9, "876543210");
    letters("a>b", 3, "answer c is missing");
    letters("a>b>a", 3, "answer a is named twice");
    letters("a>d", 2, "there is no answer d; the answers are a to b");
    letters("a>>b", 2, "expected a letter");
    letters("ab", 2, "expected > or =");
    letters("a>b>", 2, "expected a letter at the end");
    letters("", 2, "expected a letter at the end");
    letters("a<b", 2, "expected > or =");
    letters("\x1b", 2, "found \"?\"");
}

static tv_status by_ids(const char *json, const tv_item *item, uint8_t *rank) {
    cJSON *groups = cJSON_Parse(json);
    tv_status status = tv_rank_of_ids(groups, item, "x", rank);
    cJSON_Delete(groups);
    return status;
}

static tv_status by_positions(const char *json, uint32_t k, uint8_t *rank) {
    cJSON *groups = cJSON_Parse(json);
    tv_status status = tv_rank_of_positions(groups, k, rank);
    cJSON_Delete(groups);
    return status;
}

static void rankings_by_ids_and_positions(void **state) {
    (void)state;
    const tv_response responses[] = {{.id = "r0"}, {.id = "r1"}, {.id = "7"}};
    const tv_item item = {.id = "a", .responses = responses, .count = 3};
    uint8_t rank[TV_MAX_RESPONSES];
    assert_ok(by_ids("[[\"r1\"],[7,\"r0\"]]", &item, rank));
    assert_true(rank[0] == 1 && rank[1] == 0 && rank[2] == 1);
    assert_ok(by_ids("[\"7\",\"r0\",\"r1\"]", &item, rank));
    assert_true(rank[0] == 1 && rank[1] == 2 && rank[2] == 0);
    static const char *const bad[] = {"[[\"r1\"],[\"r0\"]]",
                                      "[[\"r1\",\"r1\",\"r0\",\"7\"]]",
                                      "[[\"r9\"]]",
                                      "[[]]",
                                      "7",
                                      "{}",
                                      "[[\"r1\"],[\"r0\"],[\"7\"],[]]",
                                      "[[null]]",
                                      "[]"};
    for (uint64_t i = 0; i < TV_COUNT(bad); i++)
        assert_int_equal(by_ids(bad[i], &item, rank), TV_E_DATA);
    assert_ok(by_positions("[[2],[0,1]]", 3, rank));
    assert_true(rank[0] == 1 && rank[1] == 1 && rank[2] == 0);
    static const char *const wrong[] = {"[[2],[0]]", "[[2],[0,1,2]]", "[[3],[0,1,2]]", "[[-1]]",
                                        "[[0.5]]",   "[0,1,2]",       "[[]]",          "null"};
    for (uint64_t i = 0; i < TV_COUNT(wrong); i++)
        assert_int_equal(by_positions(wrong[i], 3, rank), TV_E_USAGE);
}

static void a_line_comes_back_as_it_was(void **state) {
    (void)state;
    static const char line[] =
        "{\"id\":\"a\",\"prompt\":[{\"role\":\"user\",\"content\":\"h\\u0000\"}]," RESPONSES
        ",\"order\":[\"r1\",\"r0\"],\"ranking\":[[\"r1\"],[\"r0\"]],\"annotator\":\"kim\",\"t_shown\":"
        "1700000000.125,"
        "\"t_done\":1700000001.500,\"confidence\":3,\"flags\":[\"repeat\",\"mine\"],\"comment\":\"so "
        "\\\"so\\\"\","
        "\"tool_version\":\"v\"}";
    tv_arena *arena = NULL;
    tv_ranking ranking;
    tv_text text = {0};
    assert_ok(tv_arena_create(&arena));
    assert_ok(tv_ranking_parse((tv_slice){line, sizeof line - 1}, "x", arena, &ranking));
    assert_true(ranking.repeat && !ranking.skipped && !ranking.all_bad);
    assert_int_equal(ranking.order[0], 1);
    assert_int_equal(ranking.rank[0], 1);
    assert_ok(tv_ranking_print(&ranking, &text));
    assert_ok(tv_text_append(&text, "", 1));
    assert_string_equal((const char *)text.data, line);
    tv_text_free(&text);
    tv_arena_destroy(&arena);
}

static void expect_bad_ranking(const char *members, const char *sentence) {
    char *line = tv_format("{\"id\":\"a\",\"prompt\":\"p\"," RESPONSES "%s}\n", members);
    char *lines = tv_format("%s\n%s", "", line);
    tv_rankings *rankings = NULL;
    assert_int_equal(tv_rankings_read_bytes(lines, strlen(lines), "r.jsonl", &rankings), TV_E_DATA);
    if (!strstr(tv_last_error(), sentence) || !strstr(tv_last_error(), "r.jsonl line 2"))
        fail_msg("expected \"%s\", found \"%s\"", sentence, tv_last_error());
    free(line);
    free(lines);
}

static void bad_rankings_are_refused(void **state) {
    (void)state;
    expect_bad_ranking("", "under \"ranking\", found no such member");
    expect_bad_ranking(",\"ranking\":5", "found no list");
    expect_bad_ranking(",\"ranking\":[[\"r0\"]]", "does not name the response \"r1\"");
    expect_bad_ranking(",\"ranking\":null,\"order\":[\"r0\"]", "\"order\"");
    expect_bad_ranking(",\"ranking\":null,\"order\":[[\"r0\",\"r1\"]]", "found a list in it");
    expect_bad_ranking(",\"ranking\":null,\"annotator\":5", "expected a text for \"annotator\"");
    expect_bad_ranking(",\"ranking\":null,\"confidence\":9", "\"confidence\"");
    expect_bad_ranking(",\"ranking\":null,\"flags\":\"skip\"", "\"flags\"");
    expect_bad_ranking(",\"ranking\":null,\"t_done\":\"now\"", "\"t_done\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_candidates_are_refused),  cmocka_unit_test(good_candidates_keep_every_byte),
        cmocka_unit_test(rankings_by_letters),         cmocka_unit_test(rankings_by_ids_and_positions),
        cmocka_unit_test(a_line_comes_back_as_it_was), cmocka_unit_test(bad_rankings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
