/* Conversations: messages, as lines of JSON have them. */
#ifndef TV_TEXT_MESSAGES_H
#define TV_TEXT_MESSAGES_H

#include "text/source.h"
#include "trivium/tokenizer.h"

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
