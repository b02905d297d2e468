/* text/prompts: texts and messages as tokens, ids, the JSON that travels on, lines that are refused.
 *
 * Broken on purpose and seen to fail: a text with the template; no generation prompt; ids not compared; a
 * zero byte printed as the noncharacter that stands for it. */
#include "support/support.h"
#include "text/shared_tokenizer.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "text/prompts.h"

static tv_status read_text(const char *lines, uint64_t max_tokens, tv_prompts **prompts) {
    const tv_prompts_options options = {.tokenizer = tokenizer, .max_tokens = max_tokens};
    return tv_prompts_read_bytes(&options, (const uint8_t *)lines, strlen(lines), "p.jsonl", prompts);
}

static void texts_and_messages(void **state) {
    (void)state;
    static const char lines[] =
        "{\"prompt\": \"once \\u00fc\\n\", \"other\": []}\n"
        "{\"id\": \"x\", \"prompt\": [ {\"role\": \"user\", \"content\": \"hi <|im_end|>\"} ]}\n"
        "{\"id\": 12, \"prompt\": \"\"}\n"
        "{\"prompt\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"u\"}, "
        "{\"role\": \"assistant\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"v\\u0000\"}]}\n";
    static const struct {
        const char *id, *json, *tokens;
        bool is_chat;
    } expected[] = {
        {"p0", "\"once \xc3\xbc\\n\"", "once \xc3\xbc\n", false},
        {"x", "[{\"role\":\"user\",\"content\":\"hi <|im_end|>\"}]", "(user\nhi <|im_end|>)\n(assistant\n",
         true},
        {"12", "\"\"", "$", false},
        {"p3",
         "[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"u\"},{\"role\":"
         "\"assistant\","
         "\"content\":\"a\"},{\"role\":\"user\",\"content\":\"v\\u0000\"}]",
         NULL, true},
    };
    tv_prompts *prompts = NULL;
    assert_ok(read_text(lines, 0, &prompts));
    assert_int_equal(prompts->count, TV_COUNT(expected));
    assert_int_equal(prompts->chat.end, 2);
    uint64_t tokens = 0;
    for (size_t i = 0; i < TV_COUNT(expected); i++) {
        const tv_prompt *prompt = &prompts->items[i];
        assert_string_equal(prompt->id, expected[i].id);
        assert_string_equal(prompt->json, expected[i].json);
        assert_int_equal(prompt->is_chat, expected[i].is_chat);
        assert_int_equal(prompt->line, i + 1);
        assert_string_equal(prompt->file, "p.jsonl");
        tokens += prompt->length;
        if (expected[i].tokens)
            expect_tokens(prompt->ids, NULL, prompt->length, expected[i].tokens);
    }
    assert_int_equal(prompts->tokens, tokens);
    const tv_prompt *last = &prompts->items[3];
    assert_int_equal(last->ids[last->length - strlen(")\n(assistant\n") - 1], FIRST_BYTE);
    tv_prompts_destroy(&prompts);
    assert_null(prompts);
}

static void bad_lines_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *lines, *sentence;
    } broken[] = {
        {"", "expected JSON lines"},
        {"{\"text\": \"a\"}", "line 1: expected {\"prompt\": text or messages}, found the keys text"},
        {"{\"prompt\": \"a\"}\n{\"id\": 1}",
         "line 2: expected {\"prompt\": text or messages} as in the file's first line"},
        {"{\"prompt\": 1}", "for \"prompt\", found a number"},
        {"{\"prompt\": {}}", "for \"prompt\", found an object"},
        {"{\"prompt\": []}", "found an empty one"},
        {"{\"prompt\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": "
         "\"b\"}]}",
         "to end with a message of the user, found one of the assistant"},
        {"{\"prompt\": \"a\", \"id\": \"\"}", "for \"id\", found an empty one"},
        {"{\"prompt\": \"a\", \"id\": []}", "for \"id\", found something else"},
        {"{\"prompt\": \"a\", \"id\": \"x\\u0000\"}", "for \"id\", found one with a byte 0"},
        {"{\"prompt\": \"a\", \"id\": \"x\"}\n{\"prompt\": \"b\", \"id\": \"x\"}",
         "p.jsonl line 2: expected each \"id\" once, found \"x\" as in p.jsonl line 1"},
        {"{\"prompt\": \"a\", \"id\": \"p1\"}\n{\"prompt\": \"b\"}", "each \"id\" once"},
        {"{\"prompt\": \"abcdefghi\"}", "line 1: expected a prompt of at most 8 tokens, found 9"},
        {"{\"prompt\": \"a\"", "line 1: expected valid JSON"},
    };
    for (size_t i = 0; i < TV_COUNT(broken); i++) {
        tv_prompts *prompts = NULL;
        if (read_text(broken[i].lines, 8, &prompts) != TV_E_DATA)
            fail_msg("taken: %s", broken[i].lines);
        assert_null(prompts);
        if (!strstr(tv_last_error(), broken[i].sentence) || !strstr(tv_last_error(), "p.jsonl"))
            fail_msg("\"%s\" lacks \"%s\" or the name", tv_last_error(), broken[i].sentence);
    }
}

/* An answer ends a turn behind messages, a document behind a text. */
static void answers_end(void **state) {
    (void)state;
    tv_prompt_encoder encoder = {.tokenizer = tokenizer};
    tv_ids ids = {0};
    assert_ok(tv_answer_encode(&encoder, true, "yes", 3, &ids));
    assert_ok(tv_answer_encode(&encoder, false, "no", 2, &ids));
    assert_ok(tv_answer_encode(&encoder, false, "", 0, &ids));
    expect_tokens(ids.data, NULL, ids.size, "yes)no$$");
    tv_ids_free(&ids);
    tv_prompt_encoder_free(&encoder);
}

/* Texts spell no token, also where the tokenizer finds its tokens in any text. */
static void texts_are_never_markup(void **state) {
    (void)state;
    tv_tokenizer *open = byte_tokenizer(END_OF_TEXT | CHATML | NOT_SPECIAL, NULL);
    tv_prompt_encoder encoder = {.tokenizer = open};
    tv_ids ids = {0};
    assert_ok(tv_prompt_encode_text(&encoder, "<|endoftext|><|im_end|>", 23, &ids));
    assert_ok(tv_answer_encode(&encoder, false, "<|endoftext|>", 13, &ids));
    expect_tokens(ids.data, NULL, ids.size, "<|endoftext|><|im_end|><|endoftext|>$");
    tv_ids_free(&ids);
    tv_prompt_encoder_free(&encoder);
    tv_tokenizer_destroy(&open);
}

/* It stands in front, also in what travels on; a text has no place for it. */
static void a_system_beside_messages_is_read(void **state) {
    (void)state;
    static const char lines[] =
        "{\"prompt\": [{\"role\": \"user\", \"content\": \"u\"}], \"system\": \"s\\u0000\"}\n"
        "{\"prompt\": \"text\", \"system\": \"s\"}\n";
    tv_prompts *prompts = NULL;
    assert_ok(read_text(lines, 0, &prompts));
    assert_int_equal(prompts->items[0].ids[8], FIRST_BYTE + 's');
    assert_int_equal(prompts->items[0].ids[9], FIRST_BYTE);
    assert_string_equal(
        prompts->items[0].json,
        "[{\"role\":\"system\",\"content\":\"s\\u0000\"},{\"role\":\"user\",\"content\":\"u\"}]");
    expect_tokens(prompts->items[1].ids, NULL, prompts->items[1].length, "text");
    assert_string_equal(prompts->items[1].json, "\"text\"");
    tv_prompts_destroy(&prompts);
}

/* Where the tokenizer's files say so; answers, and messages in a template of the tokenizer's own, do not. */
static void texts_begin_as_the_tokenizer_says(void **state) {
    (void)state;
    tv_tokenizer *begins = byte_tokenizer(END_OF_TEXT | LLAMA3 | BEGINS, NULL);
    tv_prompt_encoder encoder = {.tokenizer = begins};
    tv_ids ids = {0};
    assert_ok(tv_prompt_encode_text(&encoder, "once", 4, &ids));
    assert_ok(tv_answer_encode(&encoder, false, "no", 2, &ids));
    expect_tokens(ids.data, NULL, ids.size, "^onceno$");
    ids.size = 0;
    assert_ok(tv_prompt_encode_text(&encoder, "", 0, &ids));
    expect_tokens(ids.data, NULL, ids.size, "^");
    tv_ids_free(&ids);
    tv_prompt_encoder_free(&encoder);
    tv_tokenizer_destroy(&begins);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_and_messages),
        cmocka_unit_test(bad_lines_are_refused),
        cmocka_unit_test(answers_end),
        cmocka_unit_test(texts_are_never_markup),
        cmocka_unit_test(texts_begin_as_the_tokenizer_says),
        cmocka_unit_test(a_system_beside_messages_is_read),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
