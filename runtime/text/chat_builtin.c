/* The built-in templates: see chat_builtin.h. */
#include "text/chat_builtin.h"

#include <string.h>

static tv_status put(tv_text *out, const char *text) {
    return tv_text_append(out, text, strlen(text));
}

/* A token within quotes of Jinja. */
static tv_status put_token(const tv_tokenizer *tokenizer, uint32_t id, tv_text *out) {
    const tv_token *token = tv_tokenizer_token(tokenizer, id);
    for (uint32_t i = 0; token && i < token->length; i++) {
        if (token->bytes[i] == '\'' || token->bytes[i] == '\\')
            TV_RETURN_IF_FAILED(put(out, "\\"));
        TV_RETURN_IF_FAILED(tv_text_append(out, token->bytes + i, 1));
    }
    return TV_OK;
}

static tv_status put_begin(const tv_tokenizer *tokenizer, tv_text *out) {
    const tv_tokenizer_info *info = tv_tokenizer_info_of(tokenizer);
    if (info->begin_count == 0)
        return TV_OK;
    TV_RETURN_IF_FAILED(put(out, "{{ '"));
    for (uint32_t i = 0; i < info->begin_count; i++)
        TV_RETURN_IF_FAILED(put_token(tokenizer, info->begin[i], out));
    return put(out, "' }}");
}

static tv_status put_plain(const tv_tokenizer *tokenizer, uint32_t end, tv_text *out) {
    TV_RETURN_IF_FAILED(put(out, "{% for message in messages %}{{ message['role'] | capitalize + ':\\n' + "
                                 "message['content'] }}{% if message['role'] == 'assistant' %}{{ '"));
    TV_RETURN_IF_FAILED(put_token(tokenizer, end, out));
    return put(out,
               "' }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:\\n' }}"
               "{% endif %}");
}

tv_status tv_chat_builtin(const tv_tokenizer *tokenizer, tv_text *jinja, const char **name) {
    static const char start[] = TV_TOKEN_IM_START, end[] = TV_TOKEN_IM_END;
    uint32_t end_of_text = tv_tokenizer_info_of(tokenizer)->end_of_text;
    bool chatml = tv_tokenizer_find(tokenizer, start, sizeof start - 1) != TV_NO_TOKEN &&
                  tv_tokenizer_find(tokenizer, end, sizeof end - 1) != TV_NO_TOKEN;
    *name = chatml ? "ChatML" : "plain text";
    if (!chatml && end_of_text == TV_NO_TOKEN)
        return tv_fail(TV_E_DATA, "expected a tokenizer with an end-of-text token, which ends answers, found "
                                  "none; set \"eos_token\" in its tokenizer_config.json");
    TV_RETURN_IF_FAILED(put_begin(tokenizer, jinja));
    if (chatml)
        TV_RETURN_IF_FAILED(put(jinja,
                                "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
                                "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if "
                                "add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"));
    else
        TV_RETURN_IF_FAILED(put_plain(tokenizer, end_of_text, jinja));
    return tv_text_append(jinja, "", 1);
}
