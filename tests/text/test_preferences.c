/* text/preferences: every shape as tokens written by hand (byte_tokenizer.h), ranks, ties, margins, what is
 * dropped and what is refused. "|" in an expectation stands where the prompt ends.
 *
 * Broken on purpose and seen to fail: the higher rank taken as better; ties given ranks of their own; a
 * prompt that ends within a word; groups over the limit cut; lists compared by length alone. */
#include "support/support.h"
#include "text/shared_tokenizer.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "text/preferences.h"

static tv_status read_text(const char *lines, uint64_t max_tokens, tv_preferences **set) {
    const tv_preferences_options options = {.tokenizer = tokenizer, .max_tokens = max_tokens};
    return tv_preferences_read_bytes(&options, (const uint8_t *)lines, strlen(lines), "d.jsonl", set);
}

static void expect_response(const tv_preference_response *response, const char *expected) {
    const char *bar = strchr(expected, '|');
    assert_non_null(bar);
    char *tokens = tv_format("%.*s%s", (int)(bar - expected), expected, bar + 1);
    expect_tokens(response->ids, NULL, response->length, tokens);
    assert_int_equal(response->prompt_length, bar - expected);
    free(tokens);
}

/* A line with two answers, the better one first. */
static void expect_pair(const char *line, const char *chosen, const char *rejected) {
    tv_preferences *set = NULL;
    assert_ok(read_text(line, 0, &set));
    assert_int_equal(set->count, 1);
    assert_int_equal(set->groups[0].count, 2);
    expect_response(&set->groups[0].responses[0], chosen);
    expect_response(&set->groups[0].responses[1], rejected);
    assert_int_equal(set->groups[0].responses[0].rank, 0);
    assert_int_equal(set->groups[0].responses[1].rank, 1);
    tv_preferences_destroy(&set);
}

#define USER(text)      "{\"role\": \"user\", \"content\": \"" text "\"}"
#define ASSISTANT(text) "{\"role\": \"assistant\", \"content\": \"" text "\"}"

static void pairs(void **state) {
    (void)state;
    expect_pair("{\"prompt\": \"a?\", \"chosen\": \" b\", \"rejected\": \"c\"}", "a?| b$", "a?|c$");
    expect_pair("{\"prompt\": \"\", \"chosen\": \"b\", \"rejected\": \"\"}", "$|b$", "$|$");
    expect_pair("{\"prompt\": [" USER("q") "], \"chosen\": \"b\", \"rejected\": \"c\"}",
                "(user\nq)\n(assistant\n|b)", "(user\nq)\n(assistant\n|c)");
    expect_pair(
        "{\"prompt\": [" USER("q") "], \"chosen\": [" ASSISTANT("b") "], \"rejected\": [" ASSISTANT("c") "]}",
        "(user\nq)\n(assistant\n|b)", "(user\nq)\n(assistant\n|c)");
    /* A system beside them stands in front, whichever way the conversation is there. */
    expect_pair("{\"system\": \"s\", \"prompt\": [" USER("q") "], \"chosen\": \"b\", \"rejected\": \"c\"}",
                "(system\ns)\n(user\nq)\n(assistant\n|b)", "(system\ns)\n(user\nq)\n(assistant\n|c)");
    expect_pair("{\"system\": \"s\", \"prompt\": \"q\", \"chosen\": [" ASSISTANT(
                    "b") "], \"rejected\": [" ASSISTANT("c") "]}",
                "(system\ns)\n(user\nq)\n(assistant\n|b)", "(system\ns)\n(user\nq)\n(assistant\n|c)");
    expect_pair("{\"system\": \"s\", \"chosen\": [" USER("q") ", " ASSISTANT("b") "], \"rejected\": [" USER(
                    "q") ", " ASSISTANT("c") "]}",
                "(system\ns)\n(user\nq)\n(assistant\n|b)", "(system\ns)\n(user\nq)\n(assistant\n|c)");
    /* The prompt's messages may stand in the answers again. */
    expect_pair("{\"prompt\": [" USER("q") "], \"chosen\": [" USER("q") ", " ASSISTANT(
                    "b") "], \"rejected\": [" USER("q") ", " ASSISTANT("c") "]}",
                "(user\nq)\n(assistant\n|b)", "(user\nq)\n(assistant\n|c)");
    expect_pair("{\"prompt\": \"q\", \"chosen\": [" ASSISTANT("b") "], \"rejected\": [" ASSISTANT("c") "]}",
                "(user\nq)\n(assistant\n|b)", "(user\nq)\n(assistant\n|c)");
    expect_pair("{\"prompt\": \"q\", \"chosen\": [" USER("q") ", " ASSISTANT("b") "], \"rejected\": [" USER(
                    "q") ", " ASSISTANT("c") "]}",
                "(user\nq)\n(assistant\n|b)", "(user\nq)\n(assistant\n|c)");
}

static void implicit_pairs(void **state) {
    (void)state;
    expect_pair(
        "{\"chosen\": [" USER("q") ", " ASSISTANT("x") ", " USER("r") ", " ASSISTANT(
            "b") "], \"rejected\": [" USER("q") ", " ASSISTANT("x") ", " USER("r") ", " ASSISTANT("c") "]}",
        "(user\nq)\n(assistant\nx)\n(user\nr)\n(assistant\n|b)",
        "(user\nq)\n(assistant\nx)\n(user\nr)\n(assistant\n|c)");
    expect_pair("{\"chosen\": \"\\n\\nHuman: hi\\n\\nAssistant: yes sir\", \"rejected\": \"\\n\\nHuman: "
                "hi\\n\\nAssistant: yes\"}",
                "\n\nHuman: hi\n\nAssistant:| yes sir$", "\n\nHuman: hi\n\nAssistant:| yes$");
    /* Before the first word that differs; no word is cut, no answer is empty. */
    expect_pair("{\"chosen\": \"one two three\", \"rejected\": \"one two thick\"}", "one two| three$",
                "one two| thick$");
    expect_pair("{\"chosen\": \"one two\", \"rejected\": \"one two three\"}", "one| two$", "one| two three$");
    expect_pair("{\"chosen\": \"one  two\", \"rejected\": \"one  ten\"}", "one|  two$", "one|  ten$");
    expect_pair("{\"chosen\": \"yes\", \"rejected\": \"no\"}", "$|yes$", "$|no$");
    expect_pair("{\"chosen\": \"\\u00e9\", \"rejected\": \"\\u00e8\"}", "$|\xc3\xa9$", "$|\xc3\xa8$");
    expect_pair("{\"chosen\": \"\", \"rejected\": \"no\"}", "$|$", "$|no$");
    expect_pair("{\"chosen\": \"\\n\\nAssistant:\", \"rejected\": \"\\n\\nAssistant: x\"}",
                "$|\n\nAssistant:$", "$|\n\nAssistant: x$");
}

static void ranked_answers(void **state) {
    (void)state;
    tv_preferences *set = NULL;
    assert_ok(
        read_text("{\"prompt\": \"q\", \"answers\": [{\"answer\": \"c\", \"rank\": 3}, {\"answer\": \"a\", "
                  "\"rank\": -1.5}, {\"answer\": \"d\", \"rank\": 3}, {\"answer\": \"b\", \"rank\": 0}]}\n"
                  "{\"prompt\": [" USER("q") "], \"answers\": [{\"answer\": [" ASSISTANT(
                      "y") "], \"rank\": 2}, {\"answer\": [" ASSISTANT("x") "], \"rank\": 1}]}",
                  0, &set));
    assert_int_equal(set->count, 2);
    assert_int_equal(set->most, 4);
    assert_int_equal(set->responses, 6);
    assert_int_equal(set->longest, strlen("(user\nq)\n(assistant\nx)"));
    const char *const expected[] = {"q|a$", "q|b$", "q|c$", "q|d$"};
    const uint32_t ranks[] = {0, 1, 2, 2};
    for (int i = 0; i < 4; i++) {
        expect_response(&set->groups[0].responses[i], expected[i]);
        assert_int_equal(set->groups[0].responses[i].rank, ranks[i]);
    }
    expect_response(&set->groups[1].responses[0], "(user\nq)\n(assistant\n|x)");
    assert_int_equal(set->groups[1].line, 2);
    assert_true(set->groups[0].prompt_hash != set->groups[1].prompt_hash);
    tv_preferences_destroy(&set);
}

static void margins_ties_and_prompts(void **state) {
    (void)state;
    tv_preferences *set = NULL;
    assert_ok(read_text(
        "{\"prompt\": \"q\", \"chosen\": \"a\", \"rejected\": \"b\", \"margin\": 0.5}\n"
        "{\"prompt\": \"q\", \"chosen\": \"a\", \"rejected\": \"c\", \"tie\": true}\n"
        "{\"prompt\": \"r\", \"chosen\": \"a\", \"rejected\": \"b\", \"margin\": null, \"tie\": false}\n",
        0, &set));
    assert_int_equal(set->count, 3);
    assert_near(set->groups[0].margin, 0.5, 0);
    assert_near(set->groups[1].margin, 0, 0);
    assert_int_equal(set->groups[1].responses[1].rank, 0);
    assert_int_equal(set->groups[2].responses[1].rank, 1);
    assert_true(set->groups[0].prompt_hash == set->groups[1].prompt_hash);
    assert_true(set->groups[0].prompt_hash != set->groups[2].prompt_hash);
    tv_preferences_destroy(&set);
}

/* Answers by themselves, where they are wanted. */
static void labelled_answers(void **state) {
    (void)state;
    static const char lines[] =
        "{\"prompt\": \"q\", \"completion\": \"a\", \"label\": true}\n"
        "{\"prompt\": [" USER("q") "], \"completion\": [" ASSISTANT("b") "], \"label\": 0}\n";
    tv_preferences_options options = {.tokenizer = tokenizer, .unpaired = true};
    tv_preferences *set = NULL;
    assert_ok(tv_preferences_read_bytes(&options, (const uint8_t *)lines, sizeof lines - 1, "d.jsonl", &set));
    assert_int_equal(set->count, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(set->groups[i].count, 1);
        assert_true(set->groups[i].desirable == (i == 0));
        expect_response(&set->groups[i].responses[0], i ? "(user\nq)\n(assistant\n|b)" : "q|a$");
    }
    tv_preferences_destroy(&set);
    static const char wrong[] = "{\"prompt\": \"q\", \"completion\": \"a\", \"label\": \"good\"}";
    assert_fails(
        tv_preferences_read_bytes(&options, (const uint8_t *)wrong, sizeof wrong - 1, "d.jsonl", &set),
        TV_E_DATA, "true or false for \"label\"");
    assert_fails(read_text(lines, 0, &set), TV_E_USAGE, "line 1: expected answers that are compared");
}

static void long_and_equal_ones_are_dropped(void **state) {
    (void)state;
    static const char lines[] = "{\"prompt\": \"q\", \"chosen\": \"abc\", \"rejected\": \"b\"}\n"
                                "{\"prompt\": \"q\", \"chosen\": \"same\", \"rejected\": \"same\"}\n"
                                "{\"prompt\": \"q\", \"chosen\": \"a\", \"rejected\": \"abcd\"}\n"
                                "{\"prompt\": \"questions\", \"chosen\": \"a\", \"rejected\": \"b\"}\n";
    static const struct {
        uint64_t max_tokens, count, too_long, same;
    } cases[] = {{0, 3, 0, 1}, {11, 3, 0, 1}, {10, 2, 1, 1}, {6, 2, 1, 1}, {5, 1, 3, 0}};
    tv_preferences *set = NULL;
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        assert_ok(read_text(lines, cases[i].max_tokens, &set));
        assert_int_equal(set->count, cases[i].count);
        assert_int_equal(set->too_long, cases[i].too_long);
        assert_int_equal(set->same, cases[i].same);
        tv_preferences_destroy(&set);
    }
    assert_fails(read_text(lines, 4, &set), TV_E_FIT, "of 4 lines 4 are longer than 4 tokens");
    assert_null(set);
}

static void bad_lines_are_refused(void **state) {
    (void)state;
#define GOOD "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n"
    static const struct {
        const char *lines, *sentence;
    } broken[] = {
        {"", "expected JSON lines"},
        {"{\"prompt\": \"a\", \"chosen\": \"b\"}", "line 1: expected {\"prompt\", \"answers\""},
        {GOOD "{\"chosen\": \"b\", \"rejected\": \"c\"}",
         "line 2: expected {\"prompt\", \"chosen\", \"rejected\"} as in the file's first line, found no "
         "\"prompt\""},
        {GOOD "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": null}", "found null for \"rejected\""},
        {GOOD "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": 1}",
         "a list of messages for \"rejected\", found a number"},
        {GOOD "{\"prompt\": 1, \"chosen\": \"b\", \"rejected\": \"c\"}", "for \"prompt\", found a number"},
        {GOOD "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": [" ASSISTANT("c") "]}",
         "all texts or all lists"},
        {GOOD "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\", \"margin\": \"1\"}",
         "a finite number for \"margin\""},
        {GOOD "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\", \"tie\": 1}",
         "true or false for \"tie\""},
        {GOOD
         "{\"prompt\": [" USER("a") "], \"chosen\": [" USER("b") "], \"rejected\": [" ASSISTANT("c") "]}",
         "\"chosen\" to end with a message of the assistant"},
        {GOOD "{\"prompt\": [" USER("a") "], \"chosen\": [" USER("b") ", " ASSISTANT(
             "c") "], \"rejected\": [" USER("b") ", " ASSISTANT("d") "]}",
         "begin with those of \"prompt\""},
        {GOOD "{\"prompt\": [" ASSISTANT("a") "], \"chosen\": \"b\", \"rejected\": \"c\"}",
         "to end with a message of the user"},
        {"{\"chosen\": [" ASSISTANT("b") "], \"rejected\": [" ASSISTANT("c") "]}", "found no message"},
        {"{\"chosen\": [" USER("q") ", " ASSISTANT("b") "], \"rejected\": [" USER("r") ", " ASSISTANT(
             "c") "]}",
         "line 1: expected the same messages before the last one"},
        {"{\"chosen\": [" USER("q") ", " ASSISTANT("b") "], \"rejected\": [" ASSISTANT("c") "]}",
         "found others in \"rejected\""},
        {"{\"prompt\": \"a\", \"answers\": [{\"answer\": \"b\", \"rank\": 1}]}",
         "at least two answers for \"answers\", found a shorter one"},
        {"{\"prompt\": \"a\", \"answers\": 3}", "found a number"},
        {"{\"prompt\": \"a\", \"answers\": [{\"answer\": \"b\", \"rank\": 1}, {\"answer\": \"c\"}]}",
         "\"rank\" of answer 2 in \"answers\", found no such key"},
        {"{\"prompt\": \"a\", \"answers\": [{\"answer\": \"b\", \"rank\": 1}, {\"rank\": 2}]}",
         "for \"answer\", found no such key"},
        {"{\"prompt\": \"a\", \"answers\": [1, 2]}", "\"rank\" of answer 1"},
        {"{\"chosen\": \"a\", \"rejected\": \"a\"}",
         "of 1 lines 0 are longer than 0 tokens, 1 have the same answer twice"},
        {"[", "the file was cut short"},
        {"{", "`jq -c .` writes lines"},
    };
    for (size_t i = 0; i < TV_COUNT(broken); i++) {
        tv_preferences *set = NULL;
        if (read_text(broken[i].lines, 0, &set) != TV_E_DATA)
            fail_msg("taken: %s", broken[i].lines);
        assert_null(set);
        if (!strstr(tv_last_error(), broken[i].sentence) || !strstr(tv_last_error(), "d.jsonl"))
            fail_msg("\"%s\" lacks \"%s\" or the name", tv_last_error(), broken[i].sentence);
    }
    tv_preferences *set = NULL;
    assert_fails(
        read_text("{\"id\": \"p\", \"prompt\": \"a\", \"ranking\": [[\"r1\"]], \"responses\": []}", 0, &set),
        TV_E_USAGE, "d.jsonl line 1: expected preferences, found a ranking");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs),
        cmocka_unit_test(implicit_pairs),
        cmocka_unit_test(ranked_answers),
        cmocka_unit_test(margins_ties_and_prompts),
        cmocka_unit_test(labelled_answers),
        cmocka_unit_test(long_and_equal_ones_are_dropped),
        cmocka_unit_test(bad_lines_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
