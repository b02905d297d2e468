/* The merging of one piece: see bpe_encode.h. */
#include "text/bpe_encode.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "text/token_text.h"
#include "text/utf8.h"

/* Merging takes 60 bytes of memory for each byte of a piece: 1 GB for the longest. */
enum { MOST_PIECE = 16 << 20 };

enum { CACHE_SLOTS = 32768, CACHE_BYTES = 24, CACHE_IDS = 8, NONE = -1 };

/* Neighbours are looked up for every character: those of ASCII and the usual sign for spaces in a table. */
enum { SPACE_SIGN = 0x2581, NEAR = 129 };
#define NOT_UTF8 0x110000u

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
    tv_bpe_parts parts;
    pair_entry *pairs;
    uint64_t pair_mask;
    uint64_t longest; /* spelling */
    bool joins_all;   /* what tokens hold side by side says nothing about merging */
    uint8_t near[NEAR][NEAR];
    uint64_t *far; /* other pairs of characters that a token holds side by side, + 1; open addressing */
    uint64_t far_mask;
    cached_word *cache;
    symbol *symbols;
    candidate *heap;
    uint64_t symbol_capacity, heap_capacity, heap_size;
};

static tv_status out_of_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory for a tokenizer");
}

static uint64_t spread(uint64_t key) {
    return key * UINT64_C(0x9e3779b97f4a7c15) >> 20;
}

static pair_entry *pair_slot(const tv_bpe *bpe, uint64_t pair) {
    for (uint64_t i = spread(pair);; i++) {
        pair_entry *entry = &bpe->pairs[i & bpe->pair_mask];
        if (entry->pair == pair || entry->pair == EMPTY_PAIR)
            return entry;
    }
}

static uint32_t near_class(uint32_t c) {
    return c < 128 ? c : c == SPACE_SIGN ? 128 : NEAR;
}

static uint64_t *far_slot(const tv_bpe *bpe, uint32_t before, uint32_t c) {
    uint64_t key = ((uint64_t)before << 32 | c) + 1;
    for (uint64_t i = spread(key);; i++) {
        uint64_t *slot = &bpe->far[i & bpe->far_mask];
        if (*slot == key || *slot == 0)
            return slot;
    }
}

static uint32_t next_character(const uint8_t *text, uint64_t available, uint32_t *length) {
    if (text[0] < 0x80) {
        *length = 1;
        return text[0];
    }
    uint32_t c = tv_utf8_decode(text, available, length);
    return c ? c : NOT_UTF8;
}

/* Notes which characters stand side by side in the tokens that merges make: no other two are ever merged. */
static tv_status note_neighbours(tv_bpe *bpe) {
    bool enough = false;
    for (uint64_t slots = 1 << 14; !enough; slots *= 4) {
        free(bpe->far);
        bpe->far = calloc(slots, sizeof *bpe->far);
        bpe->far_mask = slots - 1;
        if (!bpe->far)
            return out_of_memory();
        uint64_t count = 0;
        for (uint64_t i = 0; i < bpe->parts.merge_count && count <= slots / 2; i++) {
            const tv_token *token = &bpe->parts.tokens[bpe->parts.merges[i].merged];
            uint32_t before = NOT_UTF8, length;
            for (uint64_t at = 0; at < token->spelling_length; at += length) {
                uint32_t c = next_character(token->spelling + at, token->spelling_length - at, &length);
                if (at > 0 && near_class(before) < NEAR && near_class(c) < NEAR)
                    bpe->near[near_class(before)][near_class(c)] = 1;
                else if (at > 0) {
                    uint64_t *slot = far_slot(bpe, before, c);
                    count += *slot == 0;
                    *slot = ((uint64_t)before << 32 | c) + 1;
                }
                before = c;
            }
        }
        enough = count <= slots / 2;
    }
    return TV_OK;
}

static bool are_neighbours(const tv_bpe *bpe, uint32_t before, uint32_t c) {
    uint32_t left = near_class(before), right = near_class(c);
    return left < NEAR && right < NEAR ? bpe->near[left][right] : *far_slot(bpe, before, c) != 0;
}

/* Stands for a character that has no token, so that its spelling says nothing about its neighbours. */
static bool is_fallback(const tv_bpe *bpe, uint32_t id) {
    const tv_token *token = &bpe->parts.tokens[id];
    int byte = tv_byte_token(token->spelling, token->spelling_length);
    return id == bpe->parts.unknown || (byte >= 0 && bpe->parts.byte_ids[byte] == id);
}

tv_status tv_bpe_create(const tv_bpe_parts *parts, tv_bpe **out) {
    *out = NULL;
    tv_status status;
    tv_bpe *bpe = calloc(1, sizeof *bpe);
    if (!bpe)
        return out_of_memory();
    bpe->parts = *parts;
    uint64_t slots = 64;
    while (slots < parts->merge_count * 2)
        slots *= 2;
    bpe->pair_mask = slots - 1;
    bpe->pairs = malloc(slots * sizeof *bpe->pairs);
    bpe->cache = calloc(CACHE_SLOTS, sizeof *bpe->cache);
    if (!bpe->pairs || !bpe->cache) {
        status = out_of_memory();
        goto fail;
    }
    memset(bpe->pairs, 0xff, slots * sizeof *bpe->pairs);
    for (uint64_t i = 0; i < parts->merge_count; i++) {
        const tv_merge *merge = &parts->merges[i];
        const tv_token *merged = &parts->tokens[merge->merged];
        if (merged->special)
            continue;
        uint64_t pair = (uint64_t)merge->left << 32 | merge->right;
        *pair_slot(bpe, pair) = (pair_entry){pair, (uint32_t)i, merge->merged};
        bpe->longest = tv_max_u64(bpe->longest, merged->spelling_length);
        if (parts->characters)
            bpe->joins_all |= is_fallback(bpe, merge->left) || is_fallback(bpe, merge->right);
    }
    if (parts->characters)
        TV_TRY_OR_FAIL(note_neighbours(bpe));
    *out = bpe;
    return TV_OK;
fail:
    tv_bpe_destroy(&bpe);
    return status;
}

void tv_bpe_destroy(tv_bpe **bpe) {
    if (!bpe || !*bpe)
        return;
    free((*bpe)->pairs);
    free((*bpe)->far);
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

/* The token that is spelled so and may come out of text; TV_NO_TOKEN when there is none. */
static uint32_t find_token(const tv_bpe *bpe, const uint8_t *text, uint64_t length) {
    uint32_t id = tv_token_index_find(bpe->parts.index, bpe->parts.tokens, text, length);
    if (id == TV_NO_TOKEN)
        return id;
    const tv_token *token = &bpe->parts.tokens[id];
    return token->special || (token->added && !token->merges) ? TV_NO_TOKEN : id;
}

static tv_status make_room(tv_bpe *bpe, uint64_t length) {
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
    return status;
}

/* The tokens of a character: its own, or its bytes', or the unknown one. Returns how many symbols it gave. */
static int32_t put_character(tv_bpe *bpe, const uint8_t *text, uint32_t length, int32_t count) {
    uint32_t id = find_token(bpe, text, length);
    bool bytes = id == TV_NO_TOKEN;
    for (uint32_t i = 0; i < length; i++)
        bytes &= bpe->parts.byte_ids[text[i]] != TV_NO_TOKEN;
    for (uint32_t i = 0; bytes && i < length; i++)
        bpe->symbols[count + (int32_t)i].id = bpe->parts.byte_ids[text[i]];
    if (bytes)
        return (int32_t)length;
    if (id == TV_NO_TOKEN)
        id = bpe->parts.unknown;
    bool fused =
        id == bpe->parts.unknown && bpe->parts.fuse_unknown && count > 0 && bpe->symbols[count - 1].id == id;
    if (id == TV_NO_TOKEN || fused)
        return 0;
    bpe->symbols[count].id = id;
    return 1;
}

static int32_t put_symbols(tv_bpe *bpe, const uint8_t *piece, uint64_t length) {
    int32_t count = 0;
    if (!bpe->parts.characters) {
        for (; count < (int32_t)length; count++)
            bpe->symbols[count].id = bpe->parts.byte_ids[piece[count]];
    } else {
        uint32_t used;
        for (uint64_t at = 0; at < length; at += used) {
            (void)next_character(piece + at, length - at, &used);
            count += put_character(bpe, piece + at, used, count);
        }
    }
    for (int32_t i = 0; i < count; i++) {
        bpe->symbols[i].previous = i - 1;
        bpe->symbols[i].next = i + 1 < count ? i + 1 : NONE;
    }
    return count;
}

static tv_status merge_piece(tv_bpe *bpe, const uint8_t *piece, uint64_t length, tv_ids *ids) {
    TV_RETURN_IF_FAILED(make_room(bpe, length));
    int32_t count = put_symbols(bpe, piece, length);
    if (count == 0)
        return TV_OK;
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

static tv_status encode_word(tv_bpe *bpe, const uint8_t *piece, uint64_t length, tv_ids *ids) {
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
        if (count)
            memcpy(word->ids, ids->data + start, count * sizeof *word->ids);
    }
    return TV_OK;
}

/* Cuts where no merge reaches across. Unknown characters may be fused, or left out so that their neighbours
 * meet: there all stays together. */
static tv_status encode_characters(tv_bpe *bpe, const uint8_t *piece, uint64_t length, tv_ids *ids) {
    bool lost = bpe->parts.byte_ids[0] == TV_NO_TOKEN &&
                (bpe->parts.fuse_unknown || bpe->parts.unknown == TV_NO_TOKEN);
    bool keep = bpe->joins_all || lost;
    uint64_t start = 0;
    uint32_t before = NOT_UTF8, used;
    for (uint64_t at = 0; !keep && at < length; at += used) {
        uint32_t c = next_character(piece + at, length - at, &used);
        if (at > start && !are_neighbours(bpe, before, c)) {
            TV_RETURN_IF_FAILED(encode_word(bpe, piece + start, at - start, ids));
            start = at;
        }
        before = c;
    }
    return encode_word(bpe, piece + start, length - start, ids);
}

tv_status tv_bpe_encode(tv_bpe *bpe, const uint8_t *piece, uint64_t length, tv_ids *ids) {
    bool asks = bpe->parts.ignore_merges && length > 0;
    uint32_t id = asks ? find_token(bpe, piece, length) : TV_NO_TOKEN;
    if (length == 1 && !bpe->parts.characters)
        id = bpe->parts.byte_ids[piece[0]];
    if (id != TV_NO_TOKEN)
        return tv_ids_append(ids, &id, 1);
    return bpe->parts.characters ? encode_characters(bpe, piece, length, ids)
                                 : encode_word(bpe, piece, length, ids);
}
