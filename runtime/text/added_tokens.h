/* Finding added tokens in a text: those that are taken as a whole, before anything else looks at it.
 *
 * Promise: from left to right, the longest that begins at a place; white space and words around them as their
 * flags say. Time per byte grows with the longest token that begins there, not with their number.
 */
#ifndef TV_TEXT_ADDED_TOKENS_H
#define TV_TEXT_ADDED_TOKENS_H

#include "base/arena.h"
#include "text/vocabulary.h"

/* A token under the text by which it is found, which a normalizer may have changed. */
typedef struct tv_added_token {
    const uint8_t *text;
    uint32_t length;
    const tv_token *token;
} tv_added_token;

typedef struct tv_added_tokens {
    tv_added_token *items; /* by text */
    uint64_t count;
    uint32_t first[257]; /* where each first byte begins */
} tv_added_tokens;

/* Sorts `items`, which stay the caller's; of several with one text the first counts. */
void tv_added_tokens_index(tv_added_tokens *set);

typedef struct tv_added_match {
    const tv_token *token;
    uint64_t start, end; /* with the white space that it takes along */
} tv_added_match;

/* The next one that begins at `from` or later; false when there is none. Special ones count only where
 * `special` is set and, with `literal` (a byte for each of the text, or NULL), where it is 0 all over the
 * token; others where it is nowhere 2. */
bool tv_added_tokens_next(const tv_added_tokens *set, const uint8_t *text, uint64_t length, uint64_t from,
                          bool special, const uint8_t *literal, tv_added_match *match);

#endif
