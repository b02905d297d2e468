/* Conversations by published tokenizers with their own templates: ids are those that @huggingface/tokenizers
 * gives what
 * @huggingface/jinja renders, what is trained is what follows a generation prompt, and hostile contents make
 * no special token. The cases are those of tests/golden/make_jinja_cases.mjs --published; without them the
 * test is skipped. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/log.h"
#include "text/chat_template.h"
#include "text/text_cases.h"
#include "text/tokenizer_json.h"

enum { MOST_MESSAGES = 8 };

static uint64_t read_messages(const cJSON *variables, tv_message messages[MOST_MESSAGES]) {
    const cJSON *turn;
    uint64_t count = 0;
    cJSON_ArrayForEach(turn, tv_json_get(variables, "messages")) {
        const char *role = tv_json_get(turn, "role")->valuestring;
        const char *content = tv_json_get(turn, "content")->valuestring;
        assert_true(count < MOST_MESSAGES);
        messages[count++] = (tv_message){.role = *role == 's'   ? TV_SYSTEM
                                                 : *role == 'u' ? TV_USER
                                                                : TV_ASSISTANT,
                                         .content = content,
                                         .length = strlen(content)};
    }
    return count;
}

static void expect_ids(const cJSON *item, const tv_ids *ids, const char *shown) {
    const cJSON *expected = tv_json_get(item, "ids"), *id;
    uint64_t i = 0;
    cJSON_ArrayForEach(id, expected) {
        if (i >= ids->size || ids->data[i] != (uint32_t)id->valueint)
            fail_msg("%s: %s: id %llu is %u, expected %d", tv_json_get(item, "name")->valuestring, shown,
                     (unsigned long long)i, i < ids->size ? ids->data[i] : 0, id->valueint);
        i++;
    }
    assert_int_equal(i, ids->size);
}

/* A token that holds the end of the header too is no target: blanks may be missing in front. */
static bool is_answer(const char *answer, const tv_text *said) {
    uint64_t length = strlen(answer), missing = length - tv_min_u64(length, said->size);
    return said->size <= length && memcmp(answer + missing, said->data, said->size) == 0 &&
           strspn(answer, " \n\r\t") >= missing;
}

static void expect_answers(const cJSON *item, tv_tokenizer *tokenizer, const tv_ids *ids,
                           const tv_text *trained, const char *shown) {
    const cJSON *answer;
    uint64_t i = 0;
    cJSON_ArrayForEach(answer, tv_json_get(item, "answers")) {
        tv_text said = {0};
        while (i < ids->size && !trained->data[i])
            i++;
        uint64_t first = i;
        while (i < ids->size && trained->data[i])
            i++;
        assert_true(i > first);
        assert_ok(tv_tokenizer_decode(tokenizer, ids->data + first, i - first, false, &said));
        if (cJSON_IsString(answer) && !is_answer(answer->valuestring, &said))
            fail_msg("%s: %s: trained \"%.*s\", expected \"%s\"", tv_json_get(item, "name")->valuestring,
                     shown, (int)said.size, (char *)said.data, answer->valuestring);
        tv_text_free(&said);
    }
    while (i < ids->size && !trained->data[i])
        i++;
    assert_int_equal(i, ids->size);
}

static uint64_t count_special(tv_tokenizer *tokenizer, const tv_ids *ids) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < ids->size; i++)
        count += tv_tokenizer_token(tokenizer, ids->data[i])->special;
    return count;
}

/* As many special tokens as with harmless contents. */
static void expect_no_more_special(tv_tokenizer *tokenizer, const tv_chat_template *chat,
                                   tv_message *messages, uint64_t count, bool prompt, const tv_ids *ids,
                                   const char *shown) {
    tv_ids harmless = {0};
    for (uint64_t i = 0; i < count; i++)
        messages[i].content = "z", messages[i].length = 1;
    assert_ok(tv_chat_encode(tokenizer, chat, messages, count, prompt, &harmless, NULL));
    if (count_special(tokenizer, ids) != count_special(tokenizer, &harmless))
        fail_msg("%s: a content made a special token", shown);
    tv_ids_free(&harmless);
}

static void ids_and_answers(void **state) {
    (void)state;
    const char *folder = getenv("TRIVIUM_TEMPLATES_DIR"), *name = "";
    if (!folder)
        skip();
    cJSON *cases = tv_test_json(folder, "cases.json");
    const cJSON *item;
    tv_tokenizer *tokenizer = NULL;
    tv_chat_template chat = {0};
    int compared = 0, hostile = 0;
    tv_log_set_level(TV_LOG_ERROR);
    cJSON_ArrayForEach(item, cases) {
        const cJSON *variables = tv_json_get(item, "variables");
        tv_message messages[MOST_MESSAGES];
        tv_ids ids = {0};
        tv_text trained = {0};
        char *shown = NULL;
        if (strcmp(name, tv_json_get(item, "name")->valuestring) != 0) {
            name = tv_json_get(item, "name")->valuestring;
            char *directory = tv_format("%s/%s", folder, name);
            tv_chat_template_free(&chat);
            tv_tokenizer_destroy(&tokenizer);
            assert_ok(tv_tokenizer_load(directory, &tokenizer));
            assert_ok(tv_chat_template_of(tokenizer, &chat));
            assert_true(chat.own && chat.ends);
            free(directory);
        }
        bool prompt = cJSON_IsTrue(tv_json_get(variables, "add_generation_prompt"));
        uint64_t count = read_messages(variables, messages);
        assert_ok(tv_json_print_line(variables, &shown));
        tv_status status = tv_chat_encode(tokenizer, &chat, messages, count, prompt, &ids, &trained);
        if (!tv_json_get(item, "left_out"))
            assert_int_equal(status != TV_OK, cJSON_IsTrue(tv_json_get(item, "fails")));
        if (status == TV_OK && tv_json_get(item, "ids")) {
            expect_ids(item, &ids, shown);
            expect_answers(item, tokenizer, &ids, &trained, shown);
            compared++;
        } else if (status == TV_OK && strstr(shown, "obey")) {
            expect_no_more_special(tokenizer, &chat, messages, count, prompt, &ids, shown);
            hostile++;
        }
        free(shown);
        tv_ids_free(&ids);
        tv_text_free(&trained);
    }
    assert_true(compared > 300 && hostile > 20);
    tv_chat_template_free(&chat);
    tv_tokenizer_destroy(&tokenizer);
    cJSON_Delete(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ids_and_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
