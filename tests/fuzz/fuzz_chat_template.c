/* Fuzz target: bytes as a chat template, and as the contents of a conversation in every kind of markup. The
 * contents must come back, and the markup must be there as often as it was written. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/tokenizer.h"
#include "text/chat_recognise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t occurrences(const tv_ids *ids, uint32_t id) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < ids->size; i++)
        count += ids->data[i] == id;
    return count;
}

static void encode(tv_tokenizer *tokenizer, const tv_chat_template *chat, const char *text, size_t size) {
    const tv_message messages[] = {{.role = TV_USER, .content = text, .length = size},
                                   {.role = TV_ASSISTANT, .content = text, .length = size}};
    tv_ids ids = {0};
    tv_text trained = {0}, back = {0};
    if (tv_chat_encode(tokenizer, chat, messages, 2, true, &ids, &trained) != TV_OK)
        abort();
    uint64_t turns = chat->kind == TV_CHAT_PLAIN ? 1 : chat->preamble ? 3 : 2;
    if (trained.size != ids.size || occurrences(&ids, chat->end) != turns)
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
    tv_text_free(&trained);
    tv_text_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_tokenizer *tokenizer = fuzz_tokenizer();
    tv_chat_template chat = {0};
    const char *why = NULL;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (tv_chat_recognise(text, &chat, &why) != TV_OK || strlen(chat.system) > chat.preamble)
        abort();
    if (why || chat.kind != TV_CHAT_CHATML)
        chat = (tv_chat_template){.kind = TV_CHAT_CHATML};
    chat.end = tv_tokenizer_find(tokenizer, TV_TOKEN_IM_END, strlen(TV_TOKEN_IM_END));
    encode(tokenizer, &chat, text, size);
    chat = (tv_chat_template){.kind = TV_CHAT_PLAIN, .end = tv_tokenizer_info_of(tokenizer)->end_of_text};
    encode(tokenizer, &chat, text, size);
    free(text);
    return 0;
}
