/* GPT-2's whole vocabulary on 20,000 lines, where make_tokenizer_cases.mjs --full has made the cases; skipped
 * otherwise. */
#include "text_cases.h"

#include <stdio.h>

static void every_line_has_its_ids(void **state) {
    const char *directory = *state;
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_tokenizer_load(directory, &tokenizer));
    assert_int_equal(tv_tokenizer_vocab_size(tokenizer), 50257);
    cJSON *cases = tv_test_json(directory, "cases.json");
    const cJSON *item;
    cJSON_ArrayForEach(item, cases) {
        tv_test_case(tokenizer, item, "GPT-2");
    }
    cJSON_Delete(cases);
    tv_tokenizer_destroy(&tokenizer);
}

int main(void) {
    char *directory = getenv("TRIVIUM_GPT2_DIR");
    if (!directory) {
        puts(
            "skipped: TRIVIUM_GPT2_DIR names no folder made by tests/golden/make_tokenizer_cases.mjs --full");
        return TV_TEST_SKIPPED;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(every_line_has_its_ids, directory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
