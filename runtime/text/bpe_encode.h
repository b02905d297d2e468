/* The merging of one piece: pairs by priority, from a heap, with a cache of words. Used by tokenizer.c alone.
 *
 * Promise: the result of applying the merges one after another, leftmost first, in time n log n.
 */
#ifndef TV_TEXT_BPE_ENCODE_H
#define TV_TEXT_BPE_ENCODE_H

#include "text/buffers.h"
#include "text/vocabulary.h"

typedef struct tv_bpe tv_bpe;

/* `whole` (NULL: none), an index over `tokens`, is asked first for a token that is the whole piece
 * (ignore_merges); both must outlive the merging. */
tv_status tv_bpe_create(const tv_merge *merges, uint64_t count, const uint32_t byte_ids[256],
                        const tv_token_index *whole, const tv_token *tokens, tv_bpe **bpe);
void tv_bpe_destroy(tv_bpe **bpe);
tv_status tv_bpe_encode(tv_bpe *bpe, const uint8_t *piece, uint64_t length, tv_ids *ids);

#endif
