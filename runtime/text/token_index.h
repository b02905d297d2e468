/* Finds a token by its bytes: an open-addressing table over an array of tokens that its owner keeps.
 *
 * Promise: nothing moves; the table holds places in the array, so both are freed by their owners.
 */
#ifndef TV_TEXT_TOKEN_INDEX_H
#define TV_TEXT_TOKEN_INDEX_H

#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "text/tokenizer.h"

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

/* The slot of these bytes: 0 in it when no token has them, and then the place + 1 may be stored there. */
static inline uint32_t *tv_token_index_slot(const tv_token_index *index, const tv_token *tokens,
                                            const void *bytes, uint64_t length) {
    for (uint64_t i = tv_hash_bytes(bytes, length, 0);; i++) {
        uint32_t *slot = &index->slots[i & index->mask];
        if (*slot == 0)
            return slot;
        const tv_token *token = &tokens[*slot - 1];
        if (token->length == length && memcmp(token->bytes, bytes, length) == 0)
            return slot;
    }
}

#endif
