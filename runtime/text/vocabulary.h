/* Tokens and merges, what a tokenizer and its merging both stand on; and a table that finds a token by its
 * spelling.
 *
 * Promise: nothing moves; the table (open addressing) holds places in an array of tokens that its owner
 * keeps, so both are freed by their owners.
 */
#ifndef TV_TEXT_VOCABULARY_H
#define TV_TEXT_VOCABULARY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "trivium/tokenizer.h"

typedef struct tv_token {
    const uint8_t *bytes;    /* the text that it stands for, within others */
    const uint8_t *spelling; /* by which vocabulary and merges know it: of byte-level tokens the same,
                                otherwise as tokenizer.json has it ("\u2581the", "<0x0A>") */
    uint32_t length, spelling_length, id;
    bool added;          /* found in text as a whole, before pre-tokenization */
    bool special;        /* an added token that is found only on request and left out of text on request */
    bool lstrip, rstrip; /* an added token that takes the white space before or after it along */
    bool single_word;    /* an added token that is none where it touches a word */
    bool normalized;     /* an added token that is found in the normalized text */
    bool merges;         /* an added token that is in the model's vocabulary as well */
    bool spelled;        /* tokenizer.json has the spelling itself, not its bytes in the byte alphabet */
} tv_token;

typedef struct tv_merge {
    uint32_t left, right, merged;
} tv_merge;

typedef struct tv_token_index {
    uint32_t *slots; /* place in the array + 1; 0: empty */
    uint64_t mask;
} tv_token_index;

/* Room for `capacity` tokens. */
static inline tv_status tv_token_index_create(tv_arena *arena, uint64_t capacity, tv_token_index *index) {
    uint64_t slots = 1024;
    while (slots < capacity * 2)
        slots *= 2;
    index->mask = slots - 1;
    index->slots = tv_arena_alloc(arena, slots, sizeof *index->slots);
    return index->slots ? TV_OK : TV_E_MEMORY;
}

/* The slot of this spelling: 0 in it when no token has it, and then the place + 1 may be stored there. */
static inline uint32_t *tv_token_index_slot(const tv_token_index *index, const tv_token *tokens,
                                            const void *bytes, uint64_t length) {
    for (uint64_t i = tv_hash_bytes(bytes, length, 0);; i++) {
        uint32_t *slot = &index->slots[i & index->mask];
        if (*slot == 0)
            return slot;
        const tv_token *token = &tokens[*slot - 1];
        if (token->spelling_length == length && memcmp(token->spelling, bytes, length) == 0)
            return slot;
    }
}

/* The place of the token that is spelled exactly so; TV_NO_TOKEN where none is. */
static inline uint32_t tv_token_index_find(const tv_token_index *index, const tv_token *tokens,
                                           const void *bytes, uint64_t length) {
    return *tv_token_index_slot(index, tokens, bytes, length) - 1u;
}

#endif
