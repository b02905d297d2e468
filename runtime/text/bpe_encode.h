/* The merging of one piece: pairs by priority, from a heap, with a cache of words. Used by tokenizer.c alone.
 *
 * Promise: the result of applying the merges one after another, leftmost first, in time n log n. Pieces of
 * characters are first cut where no token holds both neighbours, which changes nothing: so a text that is one
 * piece, as in vocabularies with a sign for spaces, costs what its words cost. No piece becomes a special
 * token.
 */
#ifndef TV_TEXT_BPE_ENCODE_H
#define TV_TEXT_BPE_ENCODE_H

#include "text/buffers.h"
#include "text/vocabulary.h"

typedef struct tv_bpe tv_bpe;

/* What it stands on; everything that is pointed to must outlive the merging. */
typedef struct tv_bpe_parts {
    const tv_merge *merges;
    uint64_t merge_count;
    const tv_token *tokens; /* by id */
    const tv_token_index *index;
    uint32_t byte_ids[256]; /* the token of a byte, or TV_NO_TOKEN */
    bool ignore_merges;     /* a token that is the whole piece is asked for first */
    /* Merging begins with characters, not with bytes. One without a token is its bytes' tokens, where all of
     * them are there, else `unknown`, else nothing; neighbours of that kind are one with fuse_unknown. */
    bool characters;
    uint32_t unknown; /* or TV_NO_TOKEN */
    bool fuse_unknown;
} tv_bpe_parts;

tv_status tv_bpe_create(const tv_bpe_parts *parts, tv_bpe **bpe);
void tv_bpe_destroy(tv_bpe **bpe);
tv_status tv_bpe_encode(tv_bpe *bpe, const uint8_t *piece, uint64_t length, tv_ids *ids);

#endif
