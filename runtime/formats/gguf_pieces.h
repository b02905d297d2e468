/* Every way to cut a piece of a vocabulary into two other pieces: the merges that SentencePiece's BPE has
 * without naming them.
 *
 * Promise: pieces are cut between characters; the order of the result is that of the wholes' ids. Time and
 * memory follow the bytes of the vocabulary.
 */
#ifndef TV_FORMATS_GGUF_PIECES_H
#define TV_FORMATS_GGUF_PIECES_H

#include <stdint.h>

#include "base/status.h"

/* What a token is, in the format's numbers. */
enum {
    TV_GGUF_NORMAL = 1,
    TV_GGUF_UNKNOWN = 2,
    TV_GGUF_CONTROL = 3,
    TV_GGUF_USER_DEFINED = 4,
    TV_GGUF_UNUSED = 5,
    TV_GGUF_BYTE = 6
};

typedef struct tv_gguf_cut {
    uint32_t whole, left, right;
} tv_gguf_cut;

typedef struct tv_gguf_cuts {
    tv_gguf_cut *items;
    uint64_t count, capacity;
} tv_gguf_cuts;

/* Wholes and parts are normal tokens; `types` NULL: all are. The caller frees `cuts->items`. */
tv_status tv_gguf_find_cuts(const char *const *tokens, const int32_t *types, uint64_t count,
                            tv_gguf_cuts *cuts);

#endif
