/* text/chat_template: ids and masks of conversations against other programs, @huggingface/jinja with
 * @huggingface/tokenizers, and transformers.
 *
 * Broken on purpose and seen to fail: of generation blocks: not looked at, the token across a block's
 * beginning left out, the last one left out.
 */
#include "support/support.h"
#include "text/text_cases.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "text/chat_template.h"
#include "text/tokenizer_json.h"

static int set_up(void **state) {
    (void)state;
    tv_log_set_level(TV_LOG_ERROR);
    return 0;
}

static void expect_list(const cJSON *item, const char *key, const void *found, uint64_t count, bool bytes) {
    const cJSON *list = tv_json_get(item, key), *value;
    uint64_t i = 0;
    char *messages = NULL;
    assert_ok(tv_json_print_line(tv_json_get(item, "messages"), &messages));
    if ((uint64_t)cJSON_GetArraySize(list) != count)
        fail_msg("%s: %s: %llu %s, expected %d", tv_json_get(item, "name")->valuestring, messages,
                 (unsigned long long)count, key, cJSON_GetArraySize(list));
    cJSON_ArrayForEach(value, list) {
        uint32_t is = bytes ? ((const uint8_t *)found)[i] : ((const uint32_t *)found)[i];
        if (is != (uint32_t)value->valueint)
            fail_msg("%s: %s: %s[%llu] is %u, expected %d", tv_json_get(item, "name")->valuestring, messages,
                     key, (unsigned long long)i, is, value->valueint);
        i++;
    }
    free(messages);
}

/* Prompt and answer, each on its own, are the conversation up to the answer's end: to the id where no token
 * holds the end of the header and the beginning of the answer, and to the letter otherwise. */
static void expect_parts(tv_tokenizer *tokenizer, const tv_chat_template *chat, const tv_message *messages,
                         uint64_t count) {
    tv_ids ids = {0}, parts = {0};
    tv_text trained = {0}, there = {0}, here = {0};
    assert_ok(tv_chat_encode(tokenizer, chat, messages, count, false, &ids, &trained));
    uint64_t end = trained.size, first;
    while (end > 0 && !trained.data[end - 1])
        end--;
    for (first = end; first > 0 && trained.data[first - 1];)
        first--;
    assert_ok(tv_chat_encode(tokenizer, chat, messages, count - 1, true, &parts, NULL));
    bool apart = parts.size == first && memcmp(parts.data, ids.data, first * sizeof *ids.data) == 0;
    assert_ok(tv_chat_encode_answer(tokenizer, chat, messages[count - 1].content, messages[count - 1].length,
                                    &parts));
    assert_ok(tv_tokenizer_decode(tokenizer, ids.data, end, false, &there));
    assert_ok(tv_tokenizer_decode(tokenizer, parts.data, parts.size, false, &here));
    if (here.size != there.size || memcmp(here.data, there.data, here.size) != 0)
        fail_msg("prompt and answer are\n%.*s\nexpected\n%.*s", (int)here.size, (char *)here.data,
                 (int)there.size, (char *)there.data);
    if (apart && (parts.size != end || memcmp(parts.data, ids.data, end * sizeof *ids.data) != 0))
        fail_msg("prompt and answer have %llu ids, expected %llu", (unsigned long long)parts.size,
                 (unsigned long long)end);
    tv_ids_free(&ids);
    tv_ids_free(&parts);
    tv_text_free(&trained);
    tv_text_free(&there);
    tv_text_free(&here);
}

/* Conversations of a file of figures: ids and masks. `parts`: prompts and answers apart as well. */
static void expect_cases(const char *file, bool parts) {
    static const char folder[] = TRIVIUM_SOURCE_DIR "/tests/text/data";
    cJSON *base = tv_test_json(folder, "gpt2/tokenizer.json"), *cases = tv_test_json(folder, file);
    tv_tokenizer *tokenizer = NULL;
    const cJSON *item, *turn;
    cJSON_ArrayForEach(item, cases) {
        const char *name = tv_json_get(item, "name")->valuestring;
        if (tv_json_get(item, "changes")) {
            tv_tokenizer_destroy(&tokenizer);
            tokenizer = tv_test_chat_tokenizer(base, tv_json_get(item, "changes"),
                                               tv_json_get(item, "template")->valuestring);
        }
        tv_message messages[4];
        uint64_t count = 0;
        cJSON_ArrayForEach(turn, tv_json_get(item, "messages")) {
            const char *role = tv_json_get(turn, "role")->valuestring;
            const char *content = tv_json_get(turn, "content")->valuestring;
            messages[count++] = (tv_message){.role = *role == 's'   ? TV_SYSTEM
                                                     : *role == 'u' ? TV_USER
                                                                    : TV_ASSISTANT,
                                             .content = content,
                                             .length = strlen(content)};
        }
        tv_chat_template chat;
        tv_ids ids = {0};
        tv_text trained = {0};
        assert_ok(tv_chat_template_of(tokenizer, &chat));
        assert_true(chat.own);
        assert_ok(tv_chat_encode(tokenizer, &chat, messages, count, cJSON_IsTrue(tv_json_get(item, "prompt")),
                                 &ids, &trained));
        expect_list(item, "ids", ids.data, ids.size, false);
        expect_list(item, "trained", trained.data, trained.size, true);
        /* But for a space in front of what begins, and for markup that takes the header's newline along. */
        for (uint64_t end = 2; end <= count; end++)
            if (parts && messages[end - 1].role == TV_ASSISTANT && strcmp(name, "prefix space") != 0 &&
                strcmp(name, "strips") != 0)
                expect_parts(tokenizer, &chat, messages, end);
        tv_chat_template_free(&chat);
        tv_ids_free(&ids);
        tv_text_free(&trained);
    }
    tv_tokenizer_destroy(&tokenizer);
    cJSON_Delete(base);
    cJSON_Delete(cases);
}

/* The ids of the rendered template in @huggingface/jinja and @huggingface/tokenizers (make_chat_cases.mjs),
 * for contents with blanks at their ends and normalizers; a token that holds any of the header is no target.
 */
static void ids_are_those_of_the_rendered_template(void **state) {
    (void)state;
    expect_cases("chat_cases.json", true);
}

/* Templates with {% generation %} say what is trained: masks by transformers (make_generation_cases.py). */
static void masks_are_those_of_generation_blocks(void **state) {
    (void)state;
    expect_cases("generation_cases.json", false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_those_of_the_rendered_template),
        cmocka_unit_test(masks_are_those_of_generation_blocks),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
