/* A conversation rendered by a Jinja template, with the place of each message in it.
 *
 * Promise: the variables are those that transformers gives a template: messages (role and content),
 * add_generation_prompt, tools and documents (none), and the names of the tokenizer's special tokens.
 */
#ifndef TV_TEXT_CHAT_RENDER_H
#define TV_TEXT_CHAT_RENDER_H

#include "text/buffers.h"
#include "text/jinja.h"
#include "trivium/tokenizer.h"

/* What the tokenizer says to a template; names are NULL where it has none. */
typedef struct tv_chat_names {
    char *bos, *eos, *unk, *pad;
    int64_t date; /* that is today, in seconds since 1970 */
} tv_chat_names;

/* Zero-initialised it is empty. */
typedef struct tv_chat_rendered {
    tv_text text;
    uint32_t *origins; /* of each byte: 0 the template's, otherwise the number of its message from 1 */
    tv_text generated; /* of each byte: 1 where {% generation %} wrote it, otherwise 0 */
    uint64_t capacity;
} tv_chat_rendered;

/* Replaces *rendered. */
tv_status tv_chat_render(const tv_jinja *jinja, const tv_chat_names *names, const tv_message *messages,
                         uint64_t count, bool add_generation_prompt, tv_chat_rendered *rendered);
void tv_chat_rendered_free(tv_chat_rendered *rendered);

/* Where the content of message `number` (from 1) lies: its last stretch that no other message interrupts,
 * from its first to behind its last byte. False where it has no byte. */
bool tv_chat_find(const tv_chat_rendered *rendered, uint32_t number, uint64_t *begin, uint64_t *end);

#endif
