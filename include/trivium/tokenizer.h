/* Tokenizers and chat templates: text to token ids and back, conversations to token ids.
 *
 * Promise: decoding the ids of a text gives its bytes back, but for what the tokenizer's files change in it
 * (Unicode's normal forms, a sign that stands for spaces); contents of messages never become special tokens,
 * whatever they spell. Needs no device. A tokenizer serves one thread at a time (it caches words); threads
 * each load their own. A chat template is read only and serves any.
 */
#ifndef TRIVIUM_TOKENIZER_H
#define TRIVIUM_TOKENIZER_H

#include <stdbool.h>

#include "trivium/buffers.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tv_tokenizer tv_tokenizer;

/* No such token. */
#define TV_NO_TOKEN UINT32_MAX

/* From a directory with tokenizer.json and, if they are there, tokenizer_config.json and chat_template.jinja,
 * whose template goes before that of the configuration. TV_E_DATA names the key of what would tokenize
 * differently here than in the tokenizers library.
 * Blocks: reads files. Cost: a second for a vocabulary of 128,000. */
tv_status tv_tokenizer_load(const char *directory, tv_tokenizer **tokenizer);
/* Writes the files that were read into the directory, which is made when missing. Blocks: until they are
 * durable. */
tv_status tv_tokenizer_save(const tv_tokenizer *tokenizer, const char *directory);
/* Accepts NULL and clears the pointer. */
void tv_tokenizer_destroy(tv_tokenizer **tokenizer);

/* Appends the ids of the text. With `special`, special tokens written in the text become their ids; without,
 * they are text like any other. Cost: n log n in the longest piece. */
tv_status tv_tokenizer_encode(tv_tokenizer *tokenizer, const void *text, uint64_t length, bool special,
                              tv_ids *ids);
/* Appends what a text begins with, by the tokenizer's files; often nothing. tv_tokenizer_encode never does.
 */
tv_status tv_tokenizer_begin_text(const tv_tokenizer *tokenizer, tv_ids *ids);
/* Appends the bytes of the ids, which may end within a character; `skip_special` leaves special tokens out.
 * An unknown id is TV_E_DATA. */
tv_status tv_tokenizer_decode(const tv_tokenizer *tokenizer, const uint32_t *ids, uint64_t count,
                              bool skip_special, tv_text *text);
/* The same for ids that go on from others, as they are drawn one by one: where the tokenizer puts a space in
 * front of a text (Llama 2, Mistral) tv_tokenizer_decode takes it off again, and this does not. */
tv_status tv_tokenizer_decode_next(const tv_tokenizer *tokenizer, const uint32_t *ids, uint64_t count,
                                   bool skip_special, tv_text *text);

/* For terminals: moves what `text` holds to the end of `shown`, escape sequences, control characters, marks
 * of direction and bytes that are no UTF-8 as visible escapes (\x1b, \u202e). A character whose rest is still
 * to come stays in `text`, but for the `last` piece. */
tv_status tv_text_show(tv_text *text, bool last, tv_text *shown);

/* One more than the highest id. A model's vocabulary may be larger, never smaller. */
uint32_t tv_tokenizer_vocab_size(const tv_tokenizer *tokenizer);
/* The id of exactly these bytes, added tokens included; TV_NO_TOKEN when there is none. */
uint32_t tv_tokenizer_find(const tv_tokenizer *tokenizer, const void *bytes, uint64_t length);
/* What ends a document; TV_NO_TOKEN when the files name nothing. */
uint32_t tv_tokenizer_end_of_text(const tv_tokenizer *tokenizer);

/* ---- conversations ---- */

typedef struct tv_chat_template tv_chat_template;

typedef enum tv_role { TV_SYSTEM, TV_USER, TV_ASSISTANT } tv_role;

typedef struct tv_message {
    tv_role role;
    const char *content; /* bytes, not zero-terminated */
    uint64_t length;
    bool untrained; /* of the assistant's: context, and no target */
} tv_message;

/* The tokenizer's own template (Jinja), else a built-in one: ChatML where <|im_start|> and <|im_end|> are
 * tokens, plain text otherwise. Logs which it is. TV_E_DATA, with the template's line, where it does not run,
 * and where there is no token to end a turn with. A template is a stranger's program: it is bounded in steps
 * and memory and sees nothing but the messages and the date. */
tv_status tv_chat_template_load(tv_tokenizer *tokenizer, tv_chat_template **chat);
/* Accepts NULL and clears the pointer. */
void tv_chat_template_destroy(tv_chat_template **chat);
/* The token that ends a turn of the assistant. */
uint32_t tv_chat_template_end(const tv_chat_template *chat);

/* Appends the tokens of the messages and, with `add_generation_prompt`, the header of the assistant's next
 * turn. `trained` (or NULL) gets a byte for each: 1 for what the assistant says in a turn, up to its end
 * token, but for untrained ones. `chat` is of this tokenizer. A conversation that the template refuses is
 * TV_E_DATA. */
tv_status tv_chat_encode(tv_tokenizer *tokenizer, const tv_chat_template *chat, const tv_message *messages,
                         uint64_t count, bool add_generation_prompt, tv_ids *ids, tv_text *trained);

#ifdef __cplusplus
}
#endif

#endif
