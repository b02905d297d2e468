/* Fuzz target: bytes as the contents of a conversation in ChatML and in plain text. The contents must come
 * back, and the markup must be there as often as it was written. Templates themselves are fuzzed by
 * fuzz_jinja. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fuzz/tokenizer.h"
#include "text/chat_template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t occurrences(const tv_ids *ids, uint32_t id) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < ids->size; i++)
        count += ids->data[i] == id;
    return count;
}

static void encode(tv_tokenizer *tokenizer, const tv_chat_template *chat, uint64_t turns, const char *text,
                   size_t size) {
    const tv_message messages[] = {{.role = TV_USER, .content = text, .length = size},
                                   {.role = TV_ASSISTANT, .content = text, .length = size}};
    tv_ids ids = {0}, answer = {0};
    tv_text trained = {0}, back = {0};
    if (tv_chat_encode(tokenizer, chat, messages, 2, true, &ids, &trained) != TV_OK ||
        tv_chat_encode_answer(tokenizer, chat, text, size, &answer) != TV_OK)
        abort();
    if (trained.size != ids.size || occurrences(&ids, chat->end) != turns ||
        occurrences(&answer, chat->end) != 1)
        abort();
    uint64_t first = 0, end = ids.size;
    while (first < ids.size && !trained.data[first])
        first++;
    while (end > 0 && !trained.data[end - 1])
        end--;
    if (first >= end || ids.data[end - 1] != chat->end ||
        tv_tokenizer_decode(tokenizer, ids.data + first, end - 1 - first, false, &back) != TV_OK ||
        back.size != size || (size && memcmp(back.data, text, size) != 0))
        abort();
    tv_ids_free(&ids);
    tv_ids_free(&answer);
    tv_text_free(&trained);
    tv_text_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static tv_chat_template templates[2]; /* ChatML and plain text */
    tv_tokenizer *tokenizer = fuzz_tokenizer();
    tv_log_set_level(TV_LOG_ERROR);
    if (!templates[0].jinja) {
        tv_tokenizer_info info = *tv_tokenizer_info_of(tokenizer);
        if (tv_chat_template_of(tokenizer, &templates[0]) != TV_OK)
            abort();
        info.chat_template =
            "{% for m in messages %}{{ m.role + ':\n' + m.content }}{% if m.role == 'assistant' "
            "%}<|endoftext|>{% endif %}{{ '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}";
        if (tv_tokenizer_describe(tokenizer, &info) != TV_OK ||
            tv_chat_template_of(tokenizer, &templates[1]) != TV_OK)
            abort();
    }
    encode(tokenizer, &templates[0], 2, (const char *)data, size);
    encode(tokenizer, &templates[1], 1, (const char *)data, size);
    return 0;
}
