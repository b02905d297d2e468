/* Conversations as tokens: ChatML, Llama 3, or plain text with names in front.
 *
 * Promise: the markup is written with the tokenizer's special tokens; contents never become special tokens,
 * whatever they spell. Between special tokens the text is encoded as a whole, so that the ids are those of
 * the rendered template. The tokens of a prompt are the beginning of the tokens of the conversation, except
 * where an answer begins with blanks that the tokenizer joins with the newline of the header; a token that
 * holds any of the header is no target, because behind a generation prompt the header is there already. A
 * template is recognised by what it renders (its literals and the order of role and content), never by its
 * hash, and only where it renders as this file does; otherwise the built-in one is used and the log says why.
 *
 *   ChatML   <|im_start|>ROLE\n CONTENT <|im_end|> \n
 *   Llama 3  <|begin_of_text|> once, then <|start_header_id|>ROLE<|end_header_id|>\n\n CONTENT <|eot_id|>;
 *            white space around contents is cut off, as in the published template
 *   plain    User:\n CONTENT \n, with the end-of-text token behind each content of the assistant
 */
#ifndef TV_TEXT_CHAT_TEMPLATE_H
#define TV_TEXT_CHAT_TEMPLATE_H

#include "text/source.h"
#include "text/tokenizer.h"

typedef enum tv_chat_kind { TV_CHAT_CHATML, TV_CHAT_LLAMA3, TV_CHAT_PLAIN } tv_chat_kind;

enum { TV_MAX_CHAT_PREAMBLE = 1023 };

struct tv_chat_template {
    tv_chat_kind kind;
    bool own;     /* the tokenizer's own; otherwise the built-in */
    bool begins;  /* its own: with <|begin_of_text|> (Llama 3); the built-in: as any text of the tokenizer */
    uint32_t end; /* the token that ends a turn of the assistant: where generation stops */
    uint32_t preamble; /* bytes of `system` */
    /* ChatML: the system message of conversations that have none. Llama 3.1 and later: what stands before
     * each system message, which is then always written. */
    char system[TV_MAX_CHAT_PREAMBLE + 1];
};

/* The tokenizer's own template where it is known, else the built-in: ChatML where <|im_start|> and <|im_end|>
 * are tokens, plain text otherwise. Logs which it is and, when its own was not taken, why. Plain text needs
 * an end-of-text token; without one it is TV_E_DATA. */
tv_status tv_chat_template_of(const tv_tokenizer *tokenizer, tv_chat_template *chat);
/* "ChatML", "Llama 3", "plain text". */
const char *tv_chat_kind_name(tv_chat_kind kind);

/* Appends a content as it stands within a turn. */
tv_status tv_chat_encode_content(tv_tokenizer *tokenizer, const tv_chat_template *chat, const void *content,
                                 uint64_t length, tv_ids *ids);
/* Appends what the assistant answers behind a generation prompt: content and end token. */
tv_status tv_chat_encode_answer(tv_tokenizer *tokenizer, const tv_chat_template *chat, const void *content,
                                uint64_t length, tv_ids *ids);

/* Messages of a line of JSON. Zero-initialised it is empty. */
typedef struct tv_messages {
    tv_message *items;
    uint64_t count, capacity;
    tv_text contents;
} tv_messages;

typedef enum tv_message_keys {
    TV_ROLE_CONTENT, /* {"role": "system|user|assistant", "content": s, "weight": 0 or 1} */
    TV_FROM_VALUE /* {"from": "system|human|gpt", "value": s, ...}; user and assistant are known there too */
} tv_message_keys;

/* Replaces *messages by those of `list`, the member `key` of the line; a weight of 0 makes one untrained. No
 * list, an empty one, a role that is not known, a content that is no text, or another weight is TV_E_DATA
 * with file, line and key. */
tv_status tv_messages_from_json(const tv_json_line *line, const cJSON *list, const char *key,
                                tv_message_keys keys, tv_messages *messages);
/* Puts the member "system" of the line in front, where it is a text with anything in it. Beside another
 * message of the system it is TV_E_DATA. */
tv_status tv_messages_add_system(const tv_json_line *line, tv_messages *messages);
/* Appends a copy of one. */
tv_status tv_messages_add(tv_messages *messages, tv_role role, const void *content, uint64_t length);
void tv_messages_free(tv_messages *messages);

#endif
