/* Text with parts that spell no token: ids, and where each lies in the text.
 *
 * Promise: the ids are those of the whole text, but no special token, and none of `open`, holds a byte that
 * is not the template's (origin other than 0).
 */
#ifndef TV_TEXT_CHAT_TOKENS_H
#define TV_TEXT_CHAT_TOKENS_H

#include "text/chat_render.h"
#include "text/tokenizer.h"

/* Zero-initialised it is empty. */
typedef struct tv_chat_tokens {
    tv_ids ids;
    tv_text literal;         /* marks of the text's bytes (tv_tokenizer_encode_marked) */
    uint64_t *begins, *ends; /* of each id in the text, where `placed` */
    uint64_t capacity;
    bool placed; /* false: a normalizer changed the text, and places are found by encoding its beginnings */
} tv_chat_tokens;

/* Replaces *tokens. */
tv_status tv_chat_tokens_encode(tv_tokenizer *tokenizer, const tv_ids *open, const tv_chat_rendered *rendered,
                                tv_chat_tokens *tokens);
void tv_chat_tokens_free(tv_chat_tokens *tokens);

/* *first: the first id that holds nothing of the text before `at`; *exact: no id lies across it. */
tv_status tv_chat_tokens_from(tv_tokenizer *tokenizer, const tv_chat_tokens *tokens,
                              const tv_chat_rendered *rendered, uint64_t at, uint64_t *first, bool *exact);
/* *count: how many ids hold nothing of the text behind `at`. */
tv_status tv_chat_tokens_until(tv_tokenizer *tokenizer, const tv_chat_tokens *tokens,
                               const tv_chat_rendered *rendered, uint64_t at, uint64_t *count);

/* Appends the ids of a text that is nobody's template. `open` as above. */
tv_status tv_encode_spelled(tv_tokenizer *tokenizer, const tv_ids *open, const void *text, uint64_t length,
                            tv_ids *ids);

#endif
