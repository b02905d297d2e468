/* A conversation with a model in its chat template: turns, what is forgotten, drawing an answer, saving.
 *
 * Promise: an answer is drawn from all turns that fit; the oldest leave first. Draws are addressed by the
 * seed and the turn's number since the conversation began, so that the same seed and messages give the same
 * answers.
 */
#ifndef TV_TOOLS_CONVERSATION_H
#define TV_TOOLS_CONVERSATION_H

#include "stages/sampling.h"
#include "tools/open_model.h"

typedef struct tv_conversation_options {
    uint64_t max_tokens; /* of an answer */
    uint64_t context;    /* tokens in all, at most what the model has positions for */
    tv_sampling sampling;
    bool seed_given;    /* false: every beginning draws a new seed */
    bool interruptible; /* Ctrl-C ends the answer */
} tv_conversation_options;

typedef struct tv_conversation tv_conversation;

/* `open` outlives it. It has no system message and is yet to begin. */
tv_status tv_conversation_create(const tv_open_model *open, const tv_conversation_options *options,
                                 tv_conversation **conversation);
void tv_conversation_destroy(tv_conversation **conversation);

/* Replaces the message of the system by a copy; NULL: none. It counts from the next beginning on. */
tv_status tv_conversation_set_system(tv_conversation *conversation, const char *text);
/* NULL: none. */
const char *tv_conversation_system(const tv_conversation *conversation);
uint64_t tv_conversation_context(const tv_conversation *conversation);

/* Empties it. */
tv_status tv_conversation_begin(tv_conversation *conversation);

/* Adds a message of the user, prints the answer as it comes and adds it too. What does not fit the context by
 * itself is left out with a warning. */
tv_status tv_conversation_say(tv_conversation *conversation, const void *text, uint64_t size);

/* Writes it to a new file as a line {"messages": [...]}, as demonstrations are; a file that was saved to
 * before is replaced, and any other is TV_E_USAGE. *messages: how many were written; 0: nothing was said
 * yet, and there is no file. */
tv_status tv_conversation_save(tv_conversation *conversation, const char *path, uint64_t *messages);

#endif
