/* stages/sampling: which tokens end a text, and the bytes of what was drawn. No device.
 *
 * Seen to fail with the end token left in the text.
 */
#include "support/support.h"

#include <string.h>

#include "stages/sampling.h"
#include "text/tokenizer_json.h"

#define TOKENIZER TRIVIUM_SOURCE_DIR "/tests/text/data/trained"

static tv_tokenizer *load(void) {
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_tokenizer_load(TOKENIZER, &tokenizer));
    return tokenizer;
}

static bool ends(const tv_decoder_settings *settings, uint32_t token) {
    bool found = false;
    for (uint32_t i = 0; i < settings->end_count; i++)
        found = found || settings->ends[i] == token;
    return found;
}

static void ends_come_from_config_tokenizer_and_template(void **state) {
    (void)state;
    tv_tokenizer *tokenizer = load();
    const tv_sampling sampling = {.seed = 7, .temperature = 0.5, .top_k = (uint64_t)1 << 40, .top_p = 0.9};
    tv_model_config config = {.vocab_size = 1000, .eos_token_id = 0};
    for (int i = 0; i < TV_MAX_MORE_EOS; i++)
        config.more_eos_token_ids[i] = -1;
    const uint32_t end_of_text = tv_tokenizer_info_of(tokenizer)->end_of_text;
    assert_int_equal(end_of_text, 0);
    tv_decoder_settings settings = tv_sampling_settings(&sampling, &config, tokenizer, NULL);
    assert_int_equal(settings.seed, 7);
    assert_true(settings.temperature == 0.5f && settings.top_p == 0.9f && settings.top_k == UINT32_MAX);
    assert_int_equal(settings.end_count, 1); /* the same token by three names */
    assert_true(ends(&settings, end_of_text));

    tv_chat_template chat;
    assert_ok(tv_chat_template_of(tokenizer, &chat));
    assert_int_equal(chat.end, tv_tokenizer_find(tokenizer, TV_TOKEN_IM_END, strlen(TV_TOKEN_IM_END)));
    settings = tv_sampling_settings(&sampling, &config, tokenizer, &chat);
    assert_int_equal(settings.end_count, 2);
    assert_true(ends(&settings, chat.end) && ends(&settings, end_of_text));

    /* More than a decoder takes: the template's is among those that stay. Ids over the vocabulary are none.
     */
    config.eos_token_id = 2000;
    for (int i = 0; i < TV_MAX_MORE_EOS; i++)
        config.more_eos_token_ids[i] = 100 + i;
    settings = tv_sampling_settings(&sampling, &config, tokenizer, &chat);
    assert_true(ends(&settings, chat.end) && ends(&settings, 100));
    assert_false(ends(&settings, 2000));
    tv_chat_template_free(&chat);
    tv_tokenizer_destroy(&tokenizer);
}

static void texts_are_what_was_drawn(void **state) {
    (void)state;
    tv_tokenizer *tokenizer = load();
    tv_ids ids = {0};
    const char *const prompt = "It was", *const answer = " a b\x80yte";
    assert_ok(tv_tokenizer_encode(tokenizer, prompt, strlen(prompt), false, &ids));
    const uint64_t prompt_length = ids.size;
    assert_ok(tv_tokenizer_encode(tokenizer, answer, strlen(answer), false, &ids));
    /* A special token, one that no tokenizer knows, and an end that is a common token. */
    const uint32_t more[] = {2, 4000000, ids.data[0]};
    assert_ok(tv_ids_append(&ids, more, 3));
    tv_decoder_row row = {.tokens = ids.data,
                          .length = ids.size,
                          .prompt_length = prompt_length,
                          .finished = TV_DECODE_END_OF_TEXT};
    tv_text text = {0};
    assert_ok(tv_sampling_text(tokenizer, &row, false, &text));
    assert_int_equal(text.size, strlen(answer));
    assert_memory_equal(text.data, answer, text.size);
    assert_string_equal(tv_sampling_finish(&row), "eos");
    text.size = 0;
    row.finished = TV_DECODE_LENGTH;
    assert_ok(tv_sampling_text(tokenizer, &row, false, &text));
    assert_true(text.size > strlen(answer));
    assert_string_equal(tv_sampling_finish(&row), "length");
    tv_text_free(&text);
    tv_ids_free(&ids);
    tv_tokenizer_destroy(&tokenizer);
}

/* A tokenizer that puts a space in front of texts: an answer is without it, what goes on from a prompt with.
 */
static void answers_stand_for_themselves(void **state) {
    (void)state;
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_tokenizer_load(TRIVIUM_SOURCE_DIR "/tests/text/data/metaspace", &tokenizer));
    tv_ids ids = {0};
    tv_text text = {0};
    assert_ok(tv_tokenizer_encode(tokenizer, "It", 2, false, &ids));
    const uint64_t prompt_length = ids.size;
    assert_ok(tv_tokenizer_encode(tokenizer, "was a", 5, false, &ids));
    const tv_decoder_row row = {.tokens = ids.data, .length = ids.size, .prompt_length = prompt_length};
    assert_ok(tv_sampling_text(tokenizer, &row, true, &text));
    assert_int_equal(text.size, 5);
    assert_memory_equal(text.data, "was a", 5);
    text.size = 0;
    assert_ok(tv_sampling_text(tokenizer, &row, false, &text));
    assert_int_equal(text.size, 6);
    assert_memory_equal(text.data, " was a", 6);
    tv_text_free(&text);
    tv_ids_free(&ids);
    tv_tokenizer_destroy(&tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_come_from_config_tokenizer_and_template),
        cmocka_unit_test(texts_are_what_was_drawn),
        cmocka_unit_test(answers_stand_for_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
