/* Prompt sets for sampling and PPO: {"prompt": text or messages} (+ optional "id") JSON lines.
 *
 * Promise: texts are encoded as they are, without a template, behind what the tokenizer puts before a text;
 * an empty one is that alone, or the end-of-text token, behind which documents begin. Lists of messages get
 * the chat template and the header of the assistant's turn; a "system" beside them is put in front. Ids are
 * unique: a line without "id" gets "p" and its number in the set, from 0. Other keys are named once in the
 * log. Mistakes, and prompts over `max_tokens`, are TV_E_DATA with file and line.
 */
#ifndef TV_TEXT_PROMPTS_H
#define TV_TEXT_PROMPTS_H

#include "base/arena.h"
#include "text/chat_template.h"

/* The tokens that end answers, for each kind of them; TV_NO_TOKEN: there are none of the kind. */
typedef struct tv_answer_ends {
    uint32_t turn;     /* behind messages */
    uint32_t document; /* behind texts */
} tv_answer_ends;

typedef struct tv_prompt {
    const char *id;
    const char *json;   /* the value of "prompt" as it was read, as JSON */
    const char *answer; /* "answer", a text or a number, where the options ask for it; NULL: none */
    const char *fields; /* the line's other members, `,"KEY":VALUE` each, where the options ask for them */
    const uint32_t *ids;
    uint64_t length; /* at least 1 */
    bool is_chat;    /* a list of messages: an answer ends a turn, not a document */
    const char *file;
    uint64_t line;
} tv_prompt;

typedef struct tv_prompts_options {
    const char *const *paths;
    uint64_t path_count;
    tv_tokenizer *tokenizer;
    uint64_t max_tokens; /* the longest prompt; 0: no limit */
    bool answers;        /* each line has an "answer" that is right, or is TV_E_DATA */
    bool fields;         /* every other member is kept, and none is named as unused */
} tv_prompts_options;

typedef struct tv_prompts {
    tv_prompt *items;
    uint64_t count, tokens;
    tv_chat_template chat; /* where an item is_chat */
    tv_answer_ends ends;   /* of answers to them */
    tv_arena *arena;       /* what the items point into */
} tv_prompts;

tv_status tv_prompts_read(const tv_prompts_options *options, tv_prompts **prompts);
/* One file's bytes; `paths` of the options is not looked at. */
tv_status tv_prompts_read_bytes(const tv_prompts_options *options, const uint8_t *bytes, uint64_t size,
                                const char *name, tv_prompts **prompts);
void tv_prompts_destroy(tv_prompts **prompts);

/* How prompts and answers become tokens, everywhere: one for each reading. */
typedef struct tv_prompt_encoder {
    tv_tokenizer *tokenizer;
    tv_chat_template chat;
    bool chat_known;      /* set with `chat` by the first list of messages */
    bool texts;           /* set by the first text */
    tv_messages messages; /* scratch */
    tv_messages whole;    /* scratch */
    tv_text text;         /* scratch */
} tv_prompt_encoder;

/* Appends the tokens of a prompt, text or messages, the member "prompt" of the line. */
tv_status tv_prompt_encode(tv_prompt_encoder *encoder, const tv_json_line *line, const cJSON *prompt,
                           tv_ids *ids, bool *is_chat);
/* The same for a text, and for messages that end with the user's, behind the line's "system". */
tv_status tv_prompt_encode_text(tv_prompt_encoder *encoder, const void *text, uint64_t length, tv_ids *ids);
tv_status tv_prompt_encode_messages(tv_prompt_encoder *encoder, const tv_json_line *line,
                                    const tv_messages *messages, tv_ids *ids);
/* Finds encoder->chat, once. */
tv_status tv_prompt_template(tv_prompt_encoder *encoder);
/* Appends the tokens of an answer to it: content and the token that ends a turn or a document. */
tv_status tv_answer_encode(tv_prompt_encoder *encoder, bool is_chat, const void *content, uint64_t length,
                           tv_ids *ids);
/* Of all that was encoded so far. */
tv_answer_ends tv_prompt_ends(const tv_prompt_encoder *encoder);
void tv_prompt_encoder_free(tv_prompt_encoder *encoder);

#endif
