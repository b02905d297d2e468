/* A tokenizer whose tokens are single bytes and the markup of chat templates, so that tests can write tokens
 * and masks by hand: each token is shown as one sign. */
#ifndef TV_TESTS_BYTE_TOKENIZER_H
#define TV_TESTS_BYTE_TOKENIZER_H

#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "text/tokenizer.h"

/* Which markup tokens there are; BEGINS (with LLAMA3): texts begin with <|begin_of_text|>. */
enum { END_OF_TEXT = 1, CHATML = 2, LLAMA3 = 4, NOT_SPECIAL = 8, BEGINS = 16 };

/* The sign that stands for each markup token, by id. Texts of tests do without them. */
static const char SIGNS[] = "$()^[]%";
enum { FIRST_BYTE = 16 };

static inline tv_tokenizer *byte_tokenizer(int markup, const char *chat_template) {
    static const char *const names[] = {"<|endoftext|>",     "<|im_start|>",        "<|im_end|>",
                                        "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                        "<|eot_id|>"};
    static const int groups[] = {END_OF_TEXT, CHATML, CHATML, LLAMA3, LLAMA3, LLAMA3, LLAMA3};
    static uint8_t bytes[256];
    tv_token tokens[256 + 7];
    uint64_t count = 0;
    for (uint32_t i = 0; i < 7; i++)
        if (markup & groups[i])
            tokens[count++] = (tv_token){.bytes = (const uint8_t *)names[i],
                                         .length = (uint32_t)strlen(names[i]),
                                         .id = i,
                                         .added = true,
                                         .special = !(markup & NOT_SPECIAL)};
    for (uint32_t i = 0; i < 256; i++) {
        bytes[i] = (uint8_t)i;
        tokens[count++] = (tv_token){.bytes = &bytes[i], .length = 1, .id = FIRST_BYTE + i};
    }
    tv_pretokenizer *pretokenizer = NULL;
    assert_ok(tv_pretokenizer_create(&pretokenizer));
    tv_tokenizer_parts parts = {.tokens = tokens, .token_count = count, .pretokenizer = &pretokenizer};
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_tokenizer_create(&parts, "bytes", &tokenizer));
    tv_tokenizer_info info = *tv_tokenizer_info_of(tokenizer);
    info.chat_template = chat_template;
    info.config = markup & LLAMA3 ? "{\"bos_token\": \"<|begin_of_text|>\"}" : NULL;
    info.begin_count = markup & BEGINS ? 1 : 0;
    info.begin[0] = 3;
    assert_ok(tv_tokenizer_describe(tokenizer, &info));
    return tokenizer;
}

static inline char sign_of(uint32_t id) {
    return id < 7 ? SIGNS[id] : (char)(uint8_t)(id - FIRST_BYTE);
}

/* Tokens as signs, byte for byte as expected; what is trained stands between { and }. */
static inline void expect_tokens(const uint32_t *ids, const uint8_t *trained, uint64_t count,
                                 const char *expected) {
    char shown[4096];
    uint64_t at = 0;
    assert_true(count < sizeof shown / 2);
    for (uint64_t i = 0; i < count; i++) {
        assert_true(!trained || trained[i] <= 1);
        if (trained && trained[i] && (i == 0 || !trained[i - 1]))
            shown[at++] = '{';
        shown[at++] = sign_of(ids[i]);
        if (trained && trained[i] && (i + 1 == count || !trained[i + 1]))
            shown[at++] = '}';
    }
    shown[at] = '\0';
    if (at != strlen(expected) || memcmp(shown, expected, at) != 0)
        fail_msg("tokens:\n%s\nexpected:\n%s", shown, expected);
}

#endif
