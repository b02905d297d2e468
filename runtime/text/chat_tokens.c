/* Ids of rendered text: see chat_tokens.h. */
#include "text/chat_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* ---- marks ---- */

/* What bars special tokens, and what bars any token (tv_tokenizer_encode_marked). */
enum { TEMPLATE = 0, CONTENT = 1, BARRED = 2 };

static bool any_content(const tv_text *literal, uint64_t begin, uint64_t length) {
    for (uint64_t i = begin; i < begin + length; i++)
        if (literal->data[i] != TEMPLATE)
            return true;
    return false;
}

/* Open markup that is not the template's alone is barred at its first byte. */
static void bar_spelled(const tv_tokenizer *tokenizer, const tv_ids *open, const tv_text *text,
                        tv_text *literal) {
    for (uint64_t k = 0; k < open->size; k++) {
        const tv_token *token = tv_tokenizer_token(tokenizer, open->data[k]);
        for (uint64_t i = 0; token && i + token->length <= text->size; i++)
            if (text->data[i] == token->bytes[0] &&
                memcmp(text->data + i, token->bytes, token->length) == 0 &&
                any_content(literal, i, token->length))
                literal->data[i] = BARRED;
    }
}

static tv_status mark(const tv_tokenizer *tokenizer, const tv_ids *open, const tv_chat_rendered *rendered,
                      tv_text *literal) {
    literal->size = 0;
    for (uint64_t i = 0; i < rendered->text.size; i++) {
        uint8_t value = rendered->origins[i] ? CONTENT : TEMPLATE;
        TV_RETURN_IF_FAILED(tv_text_append(literal, &value, 1));
    }
    bar_spelled(tokenizer, open, &rendered->text, literal);
    return TV_OK;
}

tv_status tv_encode_spelled(tv_tokenizer *tokenizer, const tv_ids *open, const void *text, uint64_t length,
                            tv_ids *ids) {
    tv_text copy = {0}, literal = {0};
    tv_status status;
    const uint8_t value = CONTENT;
    TV_TRY(tv_text_append(&copy, text, length));
    for (uint64_t i = 0; i < length; i++)
        TV_TRY(tv_text_append(&literal, &value, 1));
    bar_spelled(tokenizer, open, &copy, &literal);
    TV_TRY(tv_tokenizer_encode_marked(tokenizer, copy.data, length, literal.data, ids));
done:
    tv_text_free(&copy);
    tv_text_free(&literal);
    return status;
}

/* ---- places ---- */

static bool is_here(const tv_text *text, uint64_t at, const uint8_t *bytes, uint64_t length) {
    return length <= text->size - at && (length == 0 || memcmp(text->data + at, bytes, length) == 0);
}

/* Goes through the text with the bytes of the ids. A token may have a space in front that the text has not,
 * and added tokens take blanks along. */
static bool place(const tv_tokenizer *tokenizer, const tv_text *text, tv_chat_tokens *tokens) {
    uint64_t at = 0;
    for (uint64_t k = 0; k < tokens->ids.size; k++) {
        const tv_token *token = tv_tokenizer_token(tokenizer, tokens->ids.data[k]);
        const uint8_t *bytes = token->bytes;
        uint64_t length = token->length;
        if (!is_here(text, at, bytes, length) && token->lstrip)
            at = tv_utf8_space_after(text->data, at, text->size);
        if (!is_here(text, at, bytes, length) && length && bytes[0] == ' ') {
            bytes++;
            length--;
        }
        if (!is_here(text, at, bytes, length))
            return false;
        tokens->begins[k] = at;
        tokens->ends[k] = at += length;
        if (token->rstrip)
            at = tv_utf8_space_after(text->data, at, text->size);
    }
    return at == text->size;
}

tv_status tv_chat_tokens_encode(tv_tokenizer *tokenizer, const tv_ids *open, const tv_chat_rendered *rendered,
                                tv_chat_tokens *tokens) {
    tokens->ids.size = 0;
    TV_RETURN_IF_FAILED(mark(tokenizer, open, rendered, &tokens->literal));
    TV_RETURN_IF_FAILED(tv_tokenizer_encode_marked(tokenizer, rendered->text.data, rendered->text.size,
                                                   tokens->literal.data, &tokens->ids));
    void *begins = tokens->begins, *ends = tokens->ends;
    uint64_t capacity = tokens->capacity;
    TV_RETURN_IF_FAILED(tv_grow(&begins, &capacity, tokens->ids.size + 1, sizeof(uint64_t)));
    tokens->begins = begins;
    TV_RETURN_IF_FAILED(tv_grow(&ends, &tokens->capacity, tokens->ids.size + 1, sizeof(uint64_t)));
    tokens->ends = ends;
    tokens->placed = place(tokenizer, &rendered->text, tokens);
    return TV_OK;
}

void tv_chat_tokens_free(tv_chat_tokens *tokens) {
    tv_ids_free(&tokens->ids);
    tv_text_free(&tokens->literal);
    free(tokens->begins);
    free(tokens->ends);
    *tokens = (tv_chat_tokens){0};
}

/* *same: how many ids the text up to `at` has in common with the whole, *rest: the bytes of its others,
 * *count: their number. */
static tv_status encode_beginning(tv_tokenizer *tokenizer, const tv_chat_tokens *tokens,
                                  const tv_chat_rendered *rendered, uint64_t at, uint64_t *same,
                                  uint64_t *rest, uint64_t *count) {
    tv_ids ids = {0};
    tv_status status;
    *same = *rest = 0;
    TV_TRY(tv_tokenizer_encode_marked(tokenizer, rendered->text.data, at, tokens->literal.data, &ids));
    while (*same < ids.size && *same < tokens->ids.size && ids.data[*same] == tokens->ids.data[*same])
        ++*same;
    for (uint64_t k = *same; k < ids.size; k++)
        *rest += tv_tokenizer_token(tokenizer, ids.data[k])->length;
    *count = ids.size - *same;
done:
    tv_ids_free(&ids);
    return status;
}

tv_status tv_chat_tokens_from(tv_tokenizer *tokenizer, const tv_chat_tokens *tokens,
                              const tv_chat_rendered *rendered, uint64_t at, uint64_t *first, bool *exact) {
    uint64_t k = 0, rest, count;
    if (tokens->placed) {
        while (k < tokens->ids.size && tokens->begins[k] < at)
            k++;
        *exact = k == 0 || tokens->ends[k - 1] <= at;
        *first = k;
        return TV_OK;
    }
    TV_RETURN_IF_FAILED(encode_beginning(tokenizer, tokens, rendered, at, &k, &rest, &count));
    *exact = count == 0;
    for (; rest > 0 && k < tokens->ids.size; k++)
        rest -= tv_min_u64(rest, tv_tokenizer_token(tokenizer, tokens->ids.data[k])->length);
    *first = k;
    return TV_OK;
}

tv_status tv_chat_tokens_until(tv_tokenizer *tokenizer, const tv_chat_tokens *tokens,
                               const tv_chat_rendered *rendered, uint64_t at, uint64_t *count) {
    uint64_t rest, others;
    if (at == rendered->text.size) {
        *count = tokens->ids.size;
        return TV_OK;
    }
    if (!tokens->placed)
        return encode_beginning(tokenizer, tokens, rendered, at, count, &rest, &others);
    *count = 0;
    while (*count < tokens->ids.size && tokens->ends[*count] <= at && tokens->begins[*count] < at)
        ++*count; /* a space that the text has not, at `at`, is of what follows */
    return TV_OK;
}
