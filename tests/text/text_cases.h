/* Case files of make_tokenizer_cases.mjs: texts as hexadecimal bytes with the ids that another implementation
 * gives. */
#ifndef TV_TESTS_TEXT_CASES_H
#define TV_TESTS_TEXT_CASES_H

#include "support/support.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/json.h"
#include "text/tokenizer_json.h"

/* Of this process's own time, so that a busy machine changes no figure. */
static inline double tv_test_cpu_seconds(void) {
    return (double)clock() / CLOCKS_PER_SEC;
}

static inline cJSON *tv_test_json(const char *directory, const char *name) {
    char *path = tv_format("%s/%s", directory, name);
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(path, &root));
    free(path);
    return root;
}

/* A tokenizer of `base` with the members of `changes`, those of "model" one by one. */
static inline tv_status tv_test_changed(const cJSON *base, const cJSON *changes, tv_tokenizer **tokenizer) {
    cJSON *root = cJSON_Duplicate(base, true);
    const cJSON *change, *part;
    cJSON_ArrayForEach(change, changes) {
        cJSON *model = cJSON_GetObjectItemCaseSensitive(root, change->string);
        if (strcmp(change->string, "model") == 0 && cJSON_IsObject(change) && !tv_json_get(change, "vocab")) {
            cJSON_ArrayForEach(part, change) {
                cJSON_DeleteItemFromObjectCaseSensitive(model, part->string);
                cJSON_AddItemToObject(model, part->string, cJSON_Duplicate(part, true));
            }
            continue;
        }
        cJSON_DeleteItemFromObjectCaseSensitive(root, change->string);
        cJSON_AddItemToObject(root, change->string, cJSON_Duplicate(change, true));
    }
    char *line = NULL;
    assert_ok(tv_json_print_line(root, &line));
    tv_status status = tv_tokenizer_parse(line, strlen(line), "changed", tokenizer);
    free(line);
    cJSON_Delete(root);
    return status;
}

/* The same with a chat template. */
static inline tv_tokenizer *tv_test_chat_tokenizer(const cJSON *base, const cJSON *changes,
                                                   const char *chat_template) {
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_test_changed(base, changes, &tokenizer));
    tv_tokenizer_info info = *tv_tokenizer_info_of(tokenizer);
    info.chat_template = chat_template;
    info.config = "{\"bos_token\": \"<|begin_of_text|>\"}";
    assert_ok(tv_tokenizer_describe(tokenizer, &info));
    return tokenizer;
}

/* What is wrong with a file that is `base` with these members, and words of the sentence. */
typedef struct tv_test_refusal {
    const char *changes, *sentence;
} tv_test_refusal;

static inline void tv_test_refused(const cJSON *base, const tv_test_refusal *refusal) {
    cJSON *changes = NULL;
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_json_parse(refusal->changes, strlen(refusal->changes), "change", &changes));
    if (tv_test_changed(base, changes, &tokenizer) != TV_E_DATA)
        fail_msg("accepted: %s", refusal->changes);
    if (!strstr(tv_last_error(), refusal->sentence) || !strstr(tv_last_error(), "changed"))
        fail_msg("%s\n gives: %s\n without \"%s\"", refusal->changes, tv_last_error(), refusal->sentence);
    assert_null(tokenizer);
    cJSON_Delete(changes);
}

static inline unsigned hex_digit(char c) {
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Encodes the case's text and compares ids; decodes and compares bytes when the tokenizer is reversible. */
static inline void tv_test_case(tv_tokenizer *tokenizer, const cJSON *item, const char *name) {
    const char *hex = tv_json_get(item, "hex")->valuestring;
    tv_text text = {0}, back = {0};
    tv_ids ids = {0};
    for (; *hex; hex += 2) {
        uint8_t byte = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
        assert_ok(tv_text_append(&text, &byte, 1));
    }
    assert_ok(tv_tokenizer_encode(tokenizer, text.data, text.size, cJSON_IsTrue(tv_json_get(item, "special")),
                                  &ids));
    uint64_t i = 0;
    const cJSON *id;
    cJSON_ArrayForEach(id, tv_json_get(item, "ids")) {
        if (i >= ids.size || ids.data[i] != (uint32_t)id->valueint)
            fail_msg("%s: \"%.*s\": id %llu is %u, expected %d", name, (int)text.size,
                     (const char *)text.data, (unsigned long long)i, i < ids.size ? ids.data[i] : 0,
                     id->valueint);
        i++;
    }
    if (ids.size != i)
        fail_msg("%s: \"%.*s\": %llu ids, expected %llu", name, (int)text.size, (const char *)text.data,
                 (unsigned long long)ids.size, (unsigned long long)i);
    if (tv_tokenizer_is_reversible(tokenizer)) {
        assert_ok(tv_tokenizer_decode(tokenizer, ids.data, ids.size, false, &back));
        assert_int_equal(back.size, text.size);
        if (text.size)
            assert_memory_equal(back.data, text.data, text.size);
    }
    tv_text_free(&text);
    tv_text_free(&back);
    tv_ids_free(&ids);
}

#endif
