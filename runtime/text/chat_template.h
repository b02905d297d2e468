/* Conversations as tokens, by the chat template that comes with a tokenizer, or by a built-in one.
 *
 * Promise: the ids are those of the rendered template (text/jinja.h) as the tokenizer encodes it, but that
 * what a message spells never becomes a special token, nor a token that the template writes as markup. What
 * is trained is what a model has to say itself behind a generation prompt: from where that ends to the token
 * that ends the turn. Turns are found by where each byte came from, never by what the text looks like. A
 * token that holds any of the header is no target, because behind a generation prompt the header is there
 * already. A template with {% generation %} says itself what is trained: each token that holds any of what is
 * written within, as transformers' return_assistant_tokens_mask has it.
 *
 * A tokenizer without a template gets the built-in one: ChatML where <|im_start|> and <|im_end|> are tokens,
 * otherwise plain text with names in front. It is a Jinja template too, and is what tokenizers trained here
 * have.
 */
#ifndef TV_TEXT_CHAT_TEMPLATE_H
#define TV_TEXT_CHAT_TEMPLATE_H

#include "text/chat_render.h"
#include "text/messages.h"
#include "text/tokenizer.h"

struct tv_chat_template {
    bool own;     /* the tokenizer's own; otherwise the built-in */
    uint32_t end; /* the token that ends a turn of the assistant: where generation stops */
    bool ends;    /* the template writes it */
    tv_jinja *jinja;
    tv_chat_names names;
    /* What the template writes behind a question with a generation prompt, and of it what the generation
     * prompt alone adds. */
    tv_text question_end, prompt;
    tv_ids open; /* its markup that is not marked as special */
};

/* The tokenizer's own template, else the built-in. Logs which it is. A template that does not run, or leaves
 * out what the assistant says, is TV_E_DATA with its line; so is a tokenizer that has nothing to end answers
 * with. Freed by tv_chat_template_free. */
tv_status tv_chat_template_of(tv_tokenizer *tokenizer, tv_chat_template *chat);
/* Zero-initialised, it may be freed too. */
void tv_chat_template_free(tv_chat_template *chat);

/* Appends what the assistant answers behind a generation prompt, with its end token: the ids that the
 * rendered conversation has there, unless the tokenizer joins the answer's beginning with the prompt's end.
 */
tv_status tv_chat_encode_answer(tv_tokenizer *tokenizer, const tv_chat_template *chat, const void *content,
                                uint64_t length, tv_ids *ids);

#endif
