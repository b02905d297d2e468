/* text/examples: every shape, tokens and masks by hand (byte_tokenizer.h: $ ends a text, ( and ) are ChatML's
 * tokens, what is trained stands between { and }), cutting, dropping, and lines that are refused.
 *
 * Broken on purpose and seen to fail: the prompt's answers trained; the end token left out of the mask; cut
 * without looking for the last trained token; a zero byte that ends a text. */
#include "support/support.h"
#include "text/shared_tokenizer.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "text/examples.h"
#include "text/tokenizer_json.h"

static tv_status read_text(const char *lines, uint64_t size, uint64_t max_tokens, tv_examples **examples) {
    const tv_examples_options options = {.tokenizer = tokenizer, .max_tokens = max_tokens};
    return tv_examples_read_bytes(&options, (const uint8_t *)lines, size, "data.jsonl", examples);
}

/* One line, one example. */
static void expect_example(const char *line, const char *expected) {
    tv_examples *examples = NULL;
    assert_ok(read_text(line, strlen(line), 0, &examples));
    assert_int_equal(examples->count, 1);
    assert_string_equal(examples->items[0].file, "data.jsonl");
    assert_int_equal(examples->items[0].line, 1);
    const tv_example *item = &examples->items[0];
    expect_tokens(item->ids, item->trained, item->length, expected);
    tv_examples_destroy(&examples);
    assert_null(examples);
}

static void texts_have_no_template(void **state) {
    (void)state;
    expect_example("{\"prompt\": \"2+2=\", \"completion\": \"4\"}", "2+2={4$}");
    /* Documents begin behind the end-of-text token. */
    expect_example("{\"prompt\": \"\", \"completion\": \"4\"}", "${4$}");
    /* Nothing in a text is markup; bytes pass as they are. */
    expect_example("{\"prompt\": \"a<|im_end|>\", \"completion\": \"<|endoftext|>\xff\xc3\"}",
                   "a<|im_end|>{<|endoftext|>\xff\xc3$}");
    expect_example("{\"completion\": \"\\u00e9\\n\", \"id\": 7, \"prompt\": \" \"}", " {\xc3\xa9\n$}");
}

/* A prompt begins with what the tokenizer puts before a text, also an empty one, and learns nothing of it. */
static void texts_begin_as_the_tokenizer_says(void **state) {
    (void)state;
    tv_tokenizer *usual = tokenizer;
    tokenizer = byte_tokenizer(END_OF_TEXT | LLAMA3 | BEGINS, NULL);
    expect_example("{\"prompt\": \"2+2=\", \"completion\": \"4\"}", "^2+2={4$}");
    expect_example("{\"prompt\": \"\", \"completion\": \"4\"}", "^{4$}");
    /* The built-in template is text too. */
    expect_example("{\"instruction\": \"Add.\", \"output\": \"2\"}", "^User:\nAdd.\nAssistant:\n{2$}");
    tv_tokenizer_destroy(&tokenizer);
    tokenizer = usual;
}

static void messages_get_the_template(void **state) {
    (void)state;
    expect_example(
        "{\"messages\": [{\"role\": \"system\", \"content\": \"be\"}, {\"role\": \"user\", \"content\": "
        "\"hi\"}, {\"role\": \"assistant\", \"content\": \"yo\"}]}",
        "(system\nbe)\n(user\nhi)\n(assistant\n{yo)}");
    /* All turns of the assistant; what follows the last is left out. */
    expect_example(
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": "
        "\"b\"}, {\"role\": \"user\", \"content\": \"c\"}, {\"role\": \"assistant\", \"content\": \"d\"}, "
        "{\"role\": \"user\", \"content\": \"e\"}]}",
        "(user\na)\n(assistant\n{b)}\n(user\nc)\n(assistant\n{d)}");
    /* In a prompt the assistant's turns are context. */
    expect_example(
        "{\"prompt\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": "
        "\"b\"}, {\"role\": \"user\", \"content\": \"c\"}], \"completion\": [{\"role\": \"assistant\", "
        "\"content\": \"d\"}]}",
        "(user\na)\n(assistant\nb)\n(user\nc)\n(assistant\n{d)}");
    expect_example("{\"instruction\": \"Add.\", \"input\": \"1 1\", \"output\": \"2\"}",
                   "(user\nAdd.\n\n1 1)\n(assistant\n{2)}");
    expect_example("{\"instruction\": \"Add.\", \"input\": \"\", \"output\": \"2\"}",
                   "(user\nAdd.)\n(assistant\n{2)}");
    expect_example("{\"instruction\": \"Add.\", \"output\": \"2\"}", "(user\nAdd.)\n(assistant\n{2)}");
    expect_example(
        "{\"conversations\": [{\"from\": \"system\", \"value\": \"s\"}, {\"from\": \"human\", \"value\": "
        "\"h\"}, {\"from\": \"gpt\", \"value\": \"g\"}]}",
        "(system\ns)\n(user\nh)\n(assistant\n{g)}");
}

#define TURN(role, text) "{\"role\": \"" role "\", \"content\": \"" text "\"}"

/* "system" in every shape that has turns, "history" of the instruction's. */
static void known_keys_are_honoured(void **state) {
    (void)state;
    expect_example(
        "{\"system\": \"be\", \"messages\": [" TURN("user", "hi") ", " TURN("assistant", "yo") "]}",
        "(system\nbe)\n(user\nhi)\n(assistant\n{yo)}");
    expect_example(
        "{\"conversations\": [{\"from\": \"human\", \"value\": \"h\"}, {\"from\": \"gpt\", \"value\": "
        "\"g\"}], \"system\": \"s\"}",
        "(system\ns)\n(user\nh)\n(assistant\n{g)}");
    expect_example(
        "{\"prompt\": [" TURN("user", "a") "], \"completion\": [" TURN("assistant", "b") "], "
                                                                                         "\"system\": \"s\"}",
        "(system\ns)\n(user\na)\n(assistant\n{b)}");
    expect_example(
        "{\"instruction\": \"Add.\", \"input\": \"1 1\", \"output\": \"2\", \"system\": \"s\", "
        "\"history\": [[\"q\", \"a\"], [\"r\", \"b\"]]}",
        "(system\ns)\n(user\nq)\n(assistant\n{a)}\n(user\nr)\n(assistant\n{b)}\n(user\nAdd.\n\n1 1)\n"
        "(assistant\n{2)}");
    /* Empty ones are none. */
    expect_example("{\"instruction\": \"Add.\", \"output\": \"2\", \"system\": \"\", \"history\": []}",
                   "(user\nAdd.)\n(assistant\n{2)}");
    expect_example("{\"instruction\": \"Add.\", \"output\": \"2\", \"system\": null, \"history\": null}",
                   "(user\nAdd.)\n(assistant\n{2)}");
    expect_example("{\"system\": \"\", \"messages\": [" TURN("system", "t") ", " TURN("assistant", "yo") "]}",
                   "(system\nt)\n(assistant\n{yo)}");
}

/* A turn of weight 0 is context, whatever it says. */
static void weights_decide_what_is_trained(void **state) {
    (void)state;
    expect_example(
        "{\"messages\": [" TURN(
            "user", "a") ", {\"role\": \"assistant\", \"content\": \"b\", "
                         "\"weight\": 0}, " TURN(
                             "user", "c") ", {\"role\": \"assistant\", \"content\": \"d\", \"weight\": 1}]}",
        "(user\na)\n(assistant\nb)\n(user\nc)\n(assistant\n{d)}");
    expect_example(
        "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"\", "
        "\"weight\": 0.0}, {\"from\": \"gpt\", \"value\": \"d\", \"weight\": null}]}",
        "(user\na)\n(assistant\n)\n(assistant\n{d)}");
    expect_example("{\"prompt\": [" TURN(
                       "user", "a") "], \"completion\": [{\"role\": \"assistant\", \"content\": \"b\", "
                                    "\"weight\": 0}, " TURN("user", "c") ", " TURN("assistant", "d") "]}",
                   "(user\na)\n(assistant\nb)\n(user\nc)\n(assistant\n{d)}");
    static const struct {
        const char *line, *sentence;
    } broken[] = {
        {"{\"messages\": [{\"role\": \"assistant\", \"content\": \"b\", \"weight\": 0.5}]}",
         "line 1: expected 0 or 1 for \"weight\" of message 1 in \"messages\", found another number"},
        {"{\"messages\": [{\"role\": \"assistant\", \"content\": \"b\", \"weight\": \"0\"}]}",
         "found no number"},
        {"{\"messages\": [" TURN("system", "s") ", " TURN("assistant", "b") "], \"system\": \"t\"}",
         "line 1: expected one message of the system"},
        {"{\"messages\": [" TURN("assistant", "b") "], \"system\": 7}", "expected a text for \"system\""},
        {"{\"instruction\": \"a\", \"output\": \"b\", \"history\": \"x\"}",
         "expected a list of turns for \"history\""},
        {"{\"instruction\": \"a\", \"output\": \"b\", \"history\": [[\"x\"]]}",
         "as each turn of \"history\""},
        {"{\"instruction\": \"a\", \"output\": \"b\", \"history\": [[\"x\", 1]]}",
         "as each turn of \"history\""},
    };
    for (size_t i = 0; i < TV_COUNT(broken); i++) {
        tv_examples *examples = NULL;
        if (read_text(broken[i].line, strlen(broken[i].line), 0, &examples) != TV_E_DATA)
            fail_msg("taken: %s", broken[i].line);
        if (!strstr(tv_last_error(), broken[i].sentence))
            fail_msg("\"%s\" lacks \"%s\"", tv_last_error(), broken[i].sentence);
    }
}

static void zero_bytes_are_kept(void **state) {
    (void)state;
    static const char line[] = "{\"prompt\": \"a\\u0000b\", \"completion\": \"\\u0000\"}";
    tv_examples *examples = NULL;
    assert_ok(read_text(line, sizeof line - 1, 0, &examples));
    assert_int_equal(examples->items[0].length, 5);
    assert_int_equal(examples->items[0].ids[1], FIRST_BYTE);
    assert_int_equal(examples->items[0].ids[3], FIRST_BYTE);
    assert_int_equal(examples->items[0].trained[3], 1);
    tv_examples_destroy(&examples);
}

/* "ab" and "cdef" with its end are 7 tokens. */
static void long_examples_are_cut_or_dropped(void **state) {
    (void)state;
    static const char lines[] = "{\"prompt\": \"ab\", \"completion\": \"cdef\"}\n"
                                "\n"
                                "{\"prompt\": \"a\", \"completion\": \"b\"}\n"
                                "{\"prompt\": \"abcdefgh\", \"completion\": \"c\"}\n";
    static const struct {
        uint64_t max_tokens, count, truncated, dropped;
        const char *first;
    } cases[] = {{0, 3, 0, 0, "ab{cdef$}"}, {10, 3, 0, 0, "ab{cdef$}"}, {7, 2, 0, 1, "ab{cdef$}"},
                 {6, 2, 1, 1, "ab{cdef}"},  {3, 2, 1, 1, "ab{c}"},      {2, 1, 1, 2, "a{b}"}};
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        tv_examples *examples = NULL;
        assert_ok(read_text(lines, sizeof lines - 1, cases[i].max_tokens, &examples));
        assert_int_equal(examples->count, cases[i].count);
        assert_int_equal(examples->truncated, cases[i].truncated);
        assert_int_equal(examples->dropped, cases[i].dropped);
        const tv_example *item = &examples->items[0];
        expect_tokens(item->ids, item->trained, item->length, cases[i].first);
        uint64_t tokens = 0, trained = 0;
        for (uint64_t e = 0; e < examples->count; e++) {
            tokens += examples->items[e].length;
            for (uint64_t t = 0; t < examples->items[e].length; t++)
                trained += examples->items[e].trained[t];
            assert_true(examples->items[e].trained[examples->items[e].length - 1]);
        }
        assert_int_equal(examples->tokens, tokens);
        assert_int_equal(examples->trained_tokens, trained);
        tv_examples_destroy(&examples);
    }
    tv_examples *examples = NULL;
    assert_int_equal(read_text(lines, sizeof lines - 1, 1, &examples), TV_E_FIT);
    assert_null(examples);
    assert_non_null(strstr(tv_last_error(), "none among 3"));
    /* A second turn that is cut away leaves the first. */
    static const char turns[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": "
        "\"b\"}, "
        "{\"role\": \"user\", \"content\": \"c\"}, {\"role\": \"assistant\", \"content\": \"d\"}]}";
    assert_ok(read_text(turns, sizeof turns - 1, 35, &examples));
    expect_tokens(examples->items[0].ids, examples->items[0].trained, examples->items[0].length,
                  "(user\na)\n(assistant\n{b)}");
    assert_int_equal(examples->truncated, 1);
    tv_examples_destroy(&examples);
}

static void bad_lines_are_refused(void **state) {
    (void)state;
#define GOOD "{\"prompt\": \"a\", \"completion\": \"b\"}\n"
    static const struct {
        const char *lines, *sentence;
    } broken[] = {
        {"", "expected JSON lines"},
        {"\n \n", "expected JSON lines"},
        {GOOD "{\"prompt\": \"a\", \"completion\": \"\"}",
         "data.jsonl line 2: expected an answer to learn from in \"completion\""},
        {GOOD "\n{\"prompt\": \"a\"}", "line 3: expected {\"prompt\", \"completion\"} as in the file's first "
                                       "line, found no \"completion\""},
        {GOOD "{\"prompt\": \"a\", \"completion\": null}", "null for \"completion\""},
        {GOOD "{\"prompt\": \"a\", \"completion\": 3}", "both texts or both lists"},
        {GOOD "{\"prompt\": \"a\", \"completion\": [{\"role\": \"assistant\", \"content\": \"b\"}]}",
         "both texts or both lists"},
        {GOOD "{\"prompt\": \"a\", ", "line 2: expected valid JSON"},
        {GOOD "plain text", "line 2: expected valid JSON"},
        {GOOD "[1]", "line 2: expected a JSON object, found an array"},
        {"[\n" GOOD, "the file was cut short"},
        {"[\n" GOOD ",{\"prompt\": 1}]", "line 3, item 2: "},
        {"{\n\"prompt\": \"a\"}", "`jq -c .` writes lines"},
        {"7", "expected a JSON object, found a number"},
        {"{}", "found an empty object"},
        {"{\"text\": \"a\", \"source\": 1}", "found the keys text, source"},
        {"{\"messages\": []}", "a list of messages for \"messages\", found an empty one"},
        {"{\"messages\": \"a\"}", "for \"messages\", found something else"},
        {"{\"messages\": [1]}", "system, user or assistant for \"role\" of message 1"},
        {"{\"messages\": [{\"role\": \"tool\", \"content\": \"a\"}]}",
         "message 1 in \"messages\", found tool"},
        {"{\"messages\": [{\"role\": \"user\"}]}",
         "a text for \"content\" of message 1 in \"messages\", found no such key"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": [\"a\"]}]}", "found something else"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}",
         "expected a message of the assistant in \"messages\""},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": "
         "\"\"}]}",
         "found an empty one"},
        {"{\"conversations\": [{\"role\": \"user\", \"content\": \"a\"}]}",
         "system, human or gpt for \"from\""},
        {"{\"conversations\": [{\"from\": \"bing\", \"value\": \"a\"}]}", "found bing"},
        {"{\"instruction\": \"a\", \"output\": \"\"}", "in \"output\", found an empty one"},
        {"{\"instruction\": 3, \"output\": \"b\"}", "a text for \"instruction\""},
        {"{\"instruction\": \"a\", \"input\": 3, \"output\": \"b\"}", "a text for \"input\""},
        {"{\"prompt\": [], \"completion\": []}", "for \"prompt\", found an empty one"},
        {"{\"prompt\": [{\"role\": \"user\", \"content\": \"a\"}], \"completion\": [{\"role\": \"user\", "
         "\"content\": \"a\"}]}",
         "a message of the assistant in \"completion\""},
    };
    for (size_t i = 0; i < TV_COUNT(broken); i++) {
        tv_examples *examples = NULL;
        if (read_text(broken[i].lines, strlen(broken[i].lines), 0, &examples) != TV_E_DATA)
            fail_msg("taken: %s", broken[i].lines);
        assert_null(examples);
        if (!strstr(tv_last_error(), broken[i].sentence) || !strstr(tv_last_error(), "data.jsonl"))
            fail_msg("\"%s\" lacks \"%s\" or the name", tv_last_error(), broken[i].sentence);
    }
    /* A byte 0 in the line, and nesting without end. */
    static const char zero[] = "{\"prompt\": \"a\0b\", \"completion\": \"c\"}";
    tv_examples *examples = NULL;
    assert_fails(read_text(zero, sizeof zero - 1, 0, &examples), TV_E_DATA,
                 "line 1: expected valid JSON, found a byte 0");
    tv_text deep = {0};
    assert_ok(tv_text_append(&deep, "{\"messages\": ", 13));
    for (int i = 0; i < 100000; i++)
        assert_ok(tv_text_append(&deep, "[", 1));
    assert_fails(read_text((const char *)deep.data, deep.size, 0, &examples), TV_E_DATA,
                 "line 1: expected valid JSON");
    tv_text_free(&deep);
}

/* Shapes belong to files; a name ends with each example, whatever the order of the folder. */
static void files_may_have_different_shapes(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *data = tv_format("%s/data", dir), *other = tv_format("%s/other.txt", dir);
    char *a = tv_format("%s/a.jsonl", data), *b = tv_format("%s/b.ndjson", data),
         *c = tv_format("%s/c.md", data);
    assert_ok(tv_make_dirs(data));
    assert_ok(tv_write_file(a, GOOD, strlen(GOOD)));
    static const char returns[] = "\n{\"instruction\": \"x\", \"output\": \"y\"}\r\n";
    assert_ok(tv_write_file(b, returns, sizeof returns - 1));
    assert_ok(tv_write_file(c, "no data", 7));
    assert_ok(tv_write_file(other, GOOD GOOD, 2 * strlen(GOOD)));
    const char *paths[] = {data, other};
    const tv_examples_options options = {.paths = paths, .path_count = 2, .tokenizer = tokenizer};
    tv_examples *examples = NULL;
    assert_ok(tv_examples_read(&options, &examples));
    assert_int_equal(examples->count, 4);
    const char *const files[] = {a, b, other, other};
    const uint64_t lines[] = {1, 2, 1, 2};
    for (int i = 0; i < 4; i++) {
        assert_string_equal(examples->items[i].file, files[i]);
        assert_int_equal(examples->items[i].line, lines[i]);
    }
    expect_tokens(examples->items[1].ids, examples->items[1].trained, examples->items[1].length,
                  "(user\nx)\n(assistant\n{y)}");
    tv_examples_destroy(&examples);
    const char *missing[] = {data, "/nonexistent.jsonl"};
    const tv_examples_options wrong = {.paths = missing, .path_count = 2, .tokenizer = tokenizer};
    assert_fails(tv_examples_read(&wrong, &examples), TV_E_DATA,
                 "/nonexistent.jsonl: expected a file of JSON lines");
    tv_free_all(data, other, a, b, c);
    tv_test_dir_remove(&dir);
}

/* With merges: no token crosses the seam, so the mask begins where the completion does. */
static void prompt_and_completion_are_tokenized_apart(void **state) {
    (void)state;
    tv_tokenizer *trained = NULL;
    assert_ok(tv_tokenizer_load("tests/text/data/trained", &trained));
    const tv_examples_options options = {.tokenizer = trained};
    static const char line[] = "{\"prompt\": \"the th\", \"completion\": \"e the\"}";
    tv_examples *examples = NULL;
    tv_ids prompt = {0}, completion = {0}, joined = {0};
    assert_ok(tv_examples_read_bytes(&options, (const uint8_t *)line, sizeof line - 1, "x", &examples));
    assert_ok(tv_tokenizer_encode(trained, "the th", 6, false, &prompt));
    assert_ok(tv_tokenizer_encode(trained, "e the", 5, false, &completion));
    assert_ok(tv_tokenizer_encode(trained, "the the the", 11, false, &joined));
    assert_true(joined.size < prompt.size + completion.size);
    const tv_example *item = &examples->items[0];
    assert_int_equal(item->length, prompt.size + completion.size + 1);
    assert_memory_equal(item->ids, prompt.data, prompt.size * sizeof *prompt.data);
    assert_memory_equal(item->ids + prompt.size, completion.data, completion.size * sizeof *prompt.data);
    assert_int_equal(item->ids[item->length - 1], 0);
    for (uint64_t i = 0; i < item->length; i++)
        assert_int_equal(item->trained[i], i >= prompt.size);
    tv_ids_free(&prompt);
    tv_ids_free(&completion);
    tv_ids_free(&joined);
    tv_examples_destroy(&examples);
    tv_tokenizer_destroy(&trained);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_have_no_template),
        cmocka_unit_test(texts_begin_as_the_tokenizer_says),
        cmocka_unit_test(messages_get_the_template),
        cmocka_unit_test(known_keys_are_honoured),
        cmocka_unit_test(weights_decide_what_is_trained),
        cmocka_unit_test(zero_bytes_are_kept),
        cmocka_unit_test(long_examples_are_cut_or_dropped),
        cmocka_unit_test(bad_lines_are_refused),
        cmocka_unit_test(files_may_have_different_shapes),
        cmocka_unit_test(prompt_and_completion_are_tokenized_apart),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
