/* text/multiple_choice: what stands in a line, where an ending begins, and what is refused.
 *
 * Seen to fail with: white space that stays with the text, a space between text and ending always, what is
 * too long cut at its end.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "text/multiple_choice.h"
#include "text/tokenizer_json.h"

static tv_tokenizer *tokenizer;

static int set_up(void **state) {
    (void)state;
    return tv_tokenizer_load(TRIVIUM_SOURCE_DIR "/tests/text/data/trained", &tokenizer) == TV_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    tv_tokenizer_destroy(&tokenizer);
    return 0;
}

static tv_status read_text(const char *lines, uint64_t max_tokens, tv_multiple_choice **set) {
    return tv_multiple_choice_read_bytes(
        (const uint8_t *)lines, strlen(lines), "q.jsonl",
        &(tv_multiple_choice_options){.tokenizer = tokenizer, .max_tokens = max_tokens}, set);
}

/* "text|ending" as its tokens spell it, cut where the ending's begin. */
static char *spelled(const tv_ending *ending) {
    tv_text text = {0};
    assert_ok(tv_tokenizer_decode(tokenizer, ending->ids, ending->first, true, &text));
    assert_ok(tv_text_append(&text, "|", 1));
    assert_ok(tv_tokenizer_decode(tokenizer, ending->ids + ending->first, ending->length - ending->first,
                                  true, &text));
    assert_ok(tv_text_append(&text, "", 1));
    return (char *)text.data;
}

static void keys_and_seams(void **state) {
    (void)state;
    static const struct {
        const char *line, *first, *last;
        uint32_t count, right;
        uint64_t bytes; /* of the last */
    } cases[] = {
        {"{\"ctx\": \"He is\", \"endings\": [\"here.\", \"there now.\"], \"label\": 1}", "He is| here.",
         "He is| there now.", 2, 1, 10},
        {"{\"query\": \"He is \", \"choices\": [\"a\", \" b\", \"c\"], \"gold\": \"2\"}", "He is| a",
         "He is| c", 3, 2, 1},
        {"{\"prompt\": \"He is\", \"choices\": [\" a\", \"\\nb\"], \"answer\": 0}", "He is| a", "He is|\nb",
         2, 0, 2},
        {"{\"question\": \"2 + 2 =\\n\", \"choices\": [\"4\", \"5\"], \"label\": 0, \"id\": 7}",
         "2 + 2 =|\n4", "2 + 2 =|\n5", 2, 0, 1},
        {"{\"ctx\": \"\", \"endings\": [\"a\", \"b c\"], \"label\": 0}", "|a", "|b c", 2, 0, 3},
        {"{\"ctx\": \"\\u00e9\\u0000\", \"endings\": [\"\\u00fc\", \"b\"], \"label\": 0}", NULL, NULL, 2, 0,
         1},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        tv_multiple_choice *set = NULL;
        assert_ok(read_text(cases[i].line, 0, &set));
        assert_int_equal(set->count, 1);
        assert_int_equal(set->questions[0].count, cases[i].count);
        assert_int_equal(set->questions[0].right, cases[i].right);
        assert_int_equal(set->ending_count, cases[i].count);
        assert_int_equal(set->endings[cases[i].count - 1].bytes, cases[i].bytes);
        for (int last = 0; cases[i].first && last < 2; last++) {
            char *found = spelled(&set->endings[last ? cases[i].count - 1 : 0]);
            assert_string_equal(found, last ? cases[i].last : cases[i].first);
            free(found);
        }
        tv_multiple_choice_destroy(&set);
    }
}

/* Of what is too long the text loses its beginning, and the ending nothing. */
static void beginnings_are_cut(void **state) {
    (void)state;
    static const char line[] =
        "{\"ctx\": \"one two three four five six\", \"endings\": [\"x\", \"seven\"], \"label\": 0}\n";
    tv_multiple_choice *whole = NULL, *cut = NULL;
    assert_ok(read_text(line, 0, &whole));
    assert_int_equal(whole->cut, 0);
    uint64_t limit = whole->longest - 2;
    assert_ok(read_text(line, limit, &cut));
    assert_int_equal(cut->longest, limit);
    assert_true(cut->cut >= 1);
    const tv_ending *a = &whole->endings[1], *b = &cut->endings[1];
    assert_int_equal(b->length, limit);
    assert_int_equal(a->length - a->first, b->length - b->first);
    assert_memory_equal(a->ids + (a->length - limit), b->ids, limit * sizeof *b->ids);
    uint64_t ending = b->length - b->first;
    tv_multiple_choice_destroy(&cut);
    assert_fails(read_text(line, ending, &cut), TV_E_FIT, "q.jsonl line 1: expected endings of fewer than");
    assert_null(cut);
    tv_multiple_choice_destroy(&whole);
}

static void broken_lines_are_named(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "expected JSON lines"},
        {"{\"endings\": [\"a\", \"b\"], \"label\": 0}",
         "line 1: expected a text under \"ctx\", found no such key"},
        {"{\"ctx\": 1, \"endings\": [\"a\", \"b\"], \"label\": 0}", "a number"},
        {"{\"ctx\": \"a\", \"endings\": [\"a\"], \"label\": 0}",
         "2 to 64 texts under \"endings\", found a shorter one"},
        {"{\"ctx\": \"a\", \"choices\": \"a\", \"label\": 0}", "under \"choices\", found a text"},
        {"{\"ctx\": \"a\", \"label\": 0}", "found no such key"},
        {"{\"ctx\": \"a\", \"endings\": [\"a\", \"\"], \"label\": 0}", "endings, found an empty one"},
        {"{\"ctx\": \"a\", \"endings\": [\"a\", 3], \"label\": 0}", "endings, found a number"},
        {"{\"ctx\": \"a\", \"endings\": [\"a\", \"b\"]}", "under \"label\", found no such key"},
        {"{\"ctx\": \"a\", \"endings\": [\"a\", \"b\"], \"label\": 2}",
         "right one of 2 endings, from 0, under \"label\", "
         "found another number"},
        {"{\"ctx\": \"a\", \"endings\": [\"a\", \"b\"], \"label\": 0.5}", "another number"},
        {"{\"ctx\": \"a\", \"endings\": [\"a\", \"b\"], \"label\": -1}", "another number"},
        {"{\"ctx\": \"a\", \"endings\": [\"a\", \"b\"], \"label\": \"\"}", "found an empty text"},
        {"{\"ctx\": \"a\", \"endings\": [\"a\", \"b\"], \"gold\": \"b\"}", "under \"gold\", found a text"},
        {"{\"ctx\": \"a\", \"endings\": [\"a\", \"b\"], \"label\": 0}\n{\"ctx\": \"a\"}",
         "line 2: expected a list"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        tv_multiple_choice *set = NULL;
        assert_fails(read_text(cases[i][0], 0, &set), TV_E_DATA, cases[i][1]);
        assert_non_null(strstr(tv_last_error(), "q.jsonl"));
        assert_null(set);
    }
}

static void questions_are_recognised(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    static const struct {
        const char *name, *text;
        bool found;
    } cases[] = {
        {"a.jsonl", "\n{\"ctx\": \"a\", \"endings\": [1]}\nbroken", true},
        {"b.json", "[{\"query\": \"a\", \"choices\": []}]", true},
        {"c.jsonl", "{\"text\": \"a\", \"choices\": []}", false},
        {"d.jsonl", "{\"ctx\": \"a\", \"text\": \"b\"}", false},
        {"e.txt", "{\"ctx\": \"a\", \"endings\": []}", false},
        {"f.jsonl", "", false},
        {"g.jsonl", "{\"ctx\": ", false},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *path = tv_format("%s/%s", dir, cases[i].name);
        assert_ok(tv_write_file(path, cases[i].text, strlen(cases[i].text)));
        if (tv_multiple_choice_found(path) != cases[i].found)
            fail_msg("%s", cases[i].text);
        free(path);
    }
    assert_false(tv_multiple_choice_found("/nonexistent.jsonl"));
    assert_false(tv_multiple_choice_found(dir));
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_seams),
        cmocka_unit_test(beginnings_are_cut),
        cmocka_unit_test(broken_lines_are_named),
        cmocka_unit_test(questions_are_recognised),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
