/* The merging of one piece: see bpe_encode.h. */
#include "text/bpe_encode.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* Merging takes 60 bytes of memory for each byte of a piece: 1 GB for the longest. */
enum { MOST_PIECE = 16 << 20 };

enum { CACHE_SLOTS = 32768, CACHE_BYTES = 24, CACHE_IDS = 8, NONE = -1 };

/* Words repeat: the encoding of a short piece is kept where its hash points, the newest wins. */
typedef struct cached_word {
    uint8_t length, count; /* length 0: empty */
    uint8_t bytes[CACHE_BYTES];
    uint32_t ids[CACHE_IDS];
} cached_word;

typedef struct pair_entry {
    uint64_t pair; /* left << 32 | right; EMPTY_PAIR */
    uint32_t rank, merged;
} pair_entry;
#define EMPTY_PAIR UINT64_MAX

typedef struct symbol {
    uint32_t id;
    int32_t previous, next; /* NONE at the ends */
} symbol;

/* A pair that could be merged; stale when the symbols at its place have changed. */
typedef struct candidate {
    uint64_t order; /* rank << 32 | position: lowest priority first, then leftmost */
    uint64_t pair;
    uint32_t merged;
} candidate;

struct tv_bpe {
    pair_entry *pairs;
    uint64_t pair_mask;
    uint32_t byte_ids[256];
    const tv_token_index *whole;
    const tv_token *tokens;
    cached_word *cache;
    symbol *symbols;
    candidate *heap;
    uint64_t symbol_capacity, heap_capacity, heap_size;
};

static pair_entry *pair_slot(const tv_bpe *bpe, uint64_t pair) {
    uint64_t hash = pair * UINT64_C(0x9e3779b97f4a7c15);
    for (uint64_t i = hash >> 20;; i++) {
        pair_entry *entry = &bpe->pairs[i & bpe->pair_mask];
        if (entry->pair == pair || entry->pair == EMPTY_PAIR)
            return entry;
    }
}

tv_status tv_bpe_create(const tv_merge *merges, uint64_t count, const uint32_t byte_ids[256],
                        const tv_token_index *whole, const tv_token *tokens, tv_bpe **out) {
    *out = NULL;
    tv_bpe *bpe = calloc(1, sizeof *bpe);
    if (!bpe)
        return tv_fail(TV_E_MEMORY, "out of host memory for a tokenizer");
    uint64_t slots = 64;
    while (slots < count * 2)
        slots *= 2;
    bpe->pair_mask = slots - 1;
    bpe->pairs = malloc(slots * sizeof *bpe->pairs);
    bpe->cache = calloc(CACHE_SLOTS, sizeof *bpe->cache);
    if (!bpe->pairs || !bpe->cache) {
        tv_bpe_destroy(&bpe);
        return tv_fail(TV_E_MEMORY, "out of host memory for a tokenizer");
    }
    memset(bpe->pairs, 0xff, slots * sizeof *bpe->pairs);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t pair = (uint64_t)merges[i].left << 32 | merges[i].right;
        *pair_slot(bpe, pair) = (pair_entry){pair, (uint32_t)i, merges[i].merged};
    }
    memcpy(bpe->byte_ids, byte_ids, sizeof bpe->byte_ids);
    bpe->whole = whole;
    bpe->tokens = tokens;
    *out = bpe;
    return TV_OK;
}

void tv_bpe_destroy(tv_bpe **bpe) {
    if (!bpe || !*bpe)
        return;
    free((*bpe)->pairs);
    free((*bpe)->cache);
    free((*bpe)->symbols);
    free((*bpe)->heap);
    free(*bpe);
    *bpe = NULL;
}

/* Room was made by the caller: a piece of N symbols begins with fewer than N candidates, and each of its
 * fewer than N merges takes one off and puts up to two on. */
static void push(tv_bpe *bpe, int32_t position) {
    if (position == NONE || bpe->symbols[position].next == NONE)
        return;
    uint64_t pair = (uint64_t)bpe->symbols[position].id << 32 | bpe->symbols[bpe->symbols[position].next].id;
    const pair_entry *entry = pair_slot(bpe, pair);
    if (entry->pair == EMPTY_PAIR)
        return;
    candidate added = {(uint64_t)entry->rank << 32 | (uint32_t)position, pair, entry->merged};
    uint64_t i = bpe->heap_size++;
    while (i > 0 && bpe->heap[(i - 1) / 2].order > added.order) {
        bpe->heap[i] = bpe->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    bpe->heap[i] = added;
}

static candidate pop(tv_bpe *bpe) {
    candidate top = bpe->heap[0], last = bpe->heap[--bpe->heap_size];
    uint64_t i = 0;
    for (uint64_t child; (child = 2 * i + 1) < bpe->heap_size; i = child) {
        if (child + 1 < bpe->heap_size && bpe->heap[child + 1].order < bpe->heap[child].order)
            child++;
        if (bpe->heap[child].order >= last.order)
            break;
        bpe->heap[i] = bpe->heap[child];
    }
    bpe->heap[i] = last;
    return top;
}

static tv_status merge_piece(tv_bpe *bpe, const uint8_t *piece, uint64_t length, tv_ids *ids) {
    if (length > MOST_PIECE)
        return tv_fail(TV_E_DATA,
                       "expected words of at most %d MiB, found %llu bytes without a break between words; is "
                       "it text?",
                       MOST_PIECE >> 20, (unsigned long long)length);
    void *symbols = bpe->symbols, *heap = bpe->heap;
    tv_status status = tv_grow(&symbols, &bpe->symbol_capacity, length, sizeof(symbol));
    bpe->symbols = symbols;
    TV_RETURN_IF_FAILED(status);
    status = tv_grow(&heap, &bpe->heap_capacity, 2 * length, sizeof(candidate));
    bpe->heap = heap;
    TV_RETURN_IF_FAILED(status);

    int32_t count = (int32_t)length;
    for (int32_t i = 0; i < count; i++)
        bpe->symbols[i] = (symbol){bpe->byte_ids[piece[i]], i - 1, i + 1 < count ? i + 1 : NONE};
    bpe->heap_size = 0;
    for (int32_t i = 0; i < count; i++)
        push(bpe, i);
    while (bpe->heap_size > 0) {
        candidate best = pop(bpe);
        int32_t position = (int32_t)(best.order & UINT32_MAX);
        symbol *left = &bpe->symbols[position];
        /* A symbol that was merged into its left neighbour has no next and is never a candidate again. */
        if (left->next == NONE || ((uint64_t)left->id << 32 | bpe->symbols[left->next].id) != best.pair)
            continue;
        symbol *right = &bpe->symbols[left->next];
        left->id = best.merged;
        left->next = right->next;
        right->next = NONE;
        if (left->next != NONE)
            bpe->symbols[left->next].previous = position;
        push(bpe, left->previous);
        push(bpe, position);
    }
    for (int32_t i = 0; i != NONE; i = bpe->symbols[i].next)
        TV_RETURN_IF_FAILED(tv_ids_append(ids, &bpe->symbols[i].id, 1));
    return TV_OK;
}

tv_status tv_bpe_encode(tv_bpe *bpe, const uint8_t *piece, uint64_t length, tv_ids *ids) {
    uint32_t id = bpe->whole ? tv_token_index_find(bpe->whole, bpe->tokens, piece, length) : TV_NO_TOKEN;
    if (id != TV_NO_TOKEN && bpe->tokens[id].added)
        id = TV_NO_TOKEN;
    if (length == 1)
        id = bpe->byte_ids[piece[0]];
    if (id != TV_NO_TOKEN)
        return tv_ids_append(ids, &id, 1);
    if (length > CACHE_BYTES)
        return merge_piece(bpe, piece, length, ids);
    cached_word *word = &bpe->cache[tv_hash_bytes(piece, length, 0) % CACHE_SLOTS];
    if (word->length == length && memcmp(word->bytes, piece, length) == 0)
        return tv_ids_append(ids, word->ids, word->count);
    uint64_t start = ids->size;
    TV_RETURN_IF_FAILED(merge_piece(bpe, piece, length, ids));
    uint64_t count = ids->size - start;
    if (count <= CACHE_IDS) {
        word->length = (uint8_t)length;
        word->count = (uint8_t)count;
        memcpy(word->bytes, piece, length);
        memcpy(word->ids, ids->data + start, count * sizeof *word->ids);
    }
    return TV_OK;
}
