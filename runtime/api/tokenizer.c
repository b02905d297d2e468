/* What of the public API's tokenizers is not text/'s own: see trivium/tokenizer.h. */
#include "trivium/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "text/chat_template.h"
#include "text/visible_text.h"

tv_status tv_text_show(tv_text *text, bool last, tv_text *shown) {
    uint64_t end = text->size - (last ? 0 : tv_utf8_unfinished(text->data, text->size));
    TV_RETURN_IF_FAILED(tv_visible_text(text->data, end, shown));
    text->size -= end;
    if (text->size)
        memmove(text->data, text->data + end, text->size);
    return TV_OK;
}

uint32_t tv_tokenizer_end_of_text(const tv_tokenizer *tokenizer) {
    return tv_tokenizer_info_of(tokenizer)->end_of_text;
}

tv_status tv_chat_template_load(tv_tokenizer *tokenizer, tv_chat_template **out) {
    tv_chat_template *chat = calloc(1, sizeof *chat);
    *out = NULL;
    if (!chat)
        return tv_fail(TV_E_MEMORY, "out of host memory for a chat template");
    tv_status status = tv_chat_template_of(tokenizer, chat);
    if (status == TV_OK)
        *out = chat;
    else
        free(chat);
    return status;
}

void tv_chat_template_destroy(tv_chat_template **chat) {
    if (!chat || !*chat)
        return;
    tv_chat_template_free(*chat);
    free(*chat);
    *chat = NULL;
}

uint32_t tv_chat_template_end(const tv_chat_template *chat) {
    return chat->end;
}
