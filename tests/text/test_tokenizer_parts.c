/* Each part of a tokenizer.json by itself (normalizers, pre-tokenizers, added tokens' flags, unknown
 * characters, decoders) on short texts: ids and decoded texts are those of Hugging Face tokenizers, the
 * library in Rust (fixtures of tests/golden/make_tokenizer_parts.py). */
#include "text_cases.h"

#define DATA TRIVIUM_SOURCE_DIR "/tests/text/data"

static void hex_text(const char *hex, tv_text *text) {
    text->size = 0;
    for (; *hex; hex += 2) {
        uint8_t byte = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
        assert_ok(tv_text_append(text, &byte, 1));
    }
}

static void expect_case(tv_tokenizer *tokenizer, const char *name, const cJSON *item) {
    tv_text text = {0}, expected = {0}, back = {0};
    tv_ids ids = {0};
    hex_text(tv_json_get(item, "hex")->valuestring, &text);
    assert_ok(tv_tokenizer_encode(tokenizer, text.data, text.size, true, &ids));
    const cJSON *list = tv_json_get(item, "ids"), *id = list->child, *decoded = tv_json_get(item, "decoded");
    for (uint64_t i = 0; i < ids.size || id; i++, id = id ? id->next : NULL)
        if (i >= ids.size || !id || ids.data[i] != (uint32_t)id->valueint)
            fail_msg("%s: \"%.*s\": id %llu of %llu is %u, expected %d of %d", name, (int)text.size,
                     (const char *)text.data, (unsigned long long)i, (unsigned long long)ids.size,
                     i < ids.size ? ids.data[i] : 0, id ? id->valueint : -1, cJSON_GetArraySize(list));
    if (cJSON_IsString(decoded)) {
        hex_text(decoded->valuestring, &expected);
        assert_ok(tv_tokenizer_decode(tokenizer, ids.data, ids.size, false, &back));
        if (back.size != expected.size || (back.size && memcmp(back.data, expected.data, back.size) != 0))
            fail_msg("%s: \"%.*s\" is decoded as \"%.*s\", expected \"%.*s\"", name, (int)text.size,
                     (const char *)text.data, (int)back.size, (const char *)back.data, (int)expected.size,
                     (const char *)expected.data);
    }
    tv_text_free(&text);
    tv_text_free(&expected);
    tv_text_free(&back);
    tv_ids_free(&ids);
}

static void parts_are_those_of_the_library(void **state) {
    (void)state;
    cJSON *metaspace = tv_test_json(DATA, "metaspace/tokenizer.json"),
          *gpt2 = tv_test_json(DATA, "gpt2/tokenizer.json");
    cJSON *cases = tv_test_json(DATA, "parts_cases.json");
    const cJSON *variant, *text;
    int count = 0;
    cJSON_ArrayForEach(variant, cases) {
        const char *base = tv_json_get(variant, "base")->valuestring,
                   *name = tv_json_get(variant, "name")->valuestring;
        tv_tokenizer *tokenizer = NULL;
        assert_ok(tv_test_changed(strcmp(base, "gpt2") == 0 ? gpt2 : metaspace,
                                  tv_json_get(variant, "changes"), &tokenizer));
        cJSON_ArrayForEach(text, tv_json_get(variant, "texts")) {
            expect_case(tokenizer, name, text);
            count++;
        }
        tv_tokenizer_destroy(&tokenizer);
    }
    assert_true(count > 600);
    cJSON_Delete(metaspace);
    cJSON_Delete(gpt2);
    cJSON_Delete(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(parts_are_those_of_the_library)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
