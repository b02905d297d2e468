/* Finding added tokens: see added_tokens.h. */
#include "text/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "text/utf8.h"

static int by_text(const void *a, const void *b) {
    const tv_added_token *left = a, *right = b;
    int order = memcmp(left->text, right->text, tv_min_u64(left->length, right->length));
    if (order == 0 && left->length != right->length)
        order = left->length < right->length ? -1 : 1;
    if (order == 0 && left->token->id != right->token->id)
        order = left->token->id < right->token->id ? -1 : 1;
    return order;
}

void tv_added_tokens_index(tv_added_tokens *set) {
    if (set->count)
        qsort(set->items, set->count, sizeof *set->items, by_text);
    uint32_t next = 0;
    for (uint32_t byte = 0; byte < 257; byte++) {
        while (next < set->count && set->items[next].text[0] < byte)
            next++;
        set->first[byte] = next;
    }
}

/* In [low, high), whose texts agree up to `depth` and are longer: where those with at least `byte` next
 * begin. */
static uint32_t lower_bound(const tv_added_tokens *set, uint32_t low, uint32_t high, uint64_t depth,
                            uint32_t byte) {
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (set->items[middle].text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether any of the marks bars what is special, or any token. */
static bool is_barred(const uint8_t *literal, uint64_t length, bool special) {
    for (uint64_t i = 0; literal && i < length; i++)
        if (literal[i] >= (special ? 1 : 2))
            return true;
    return false;
}

static const tv_token *longest_at(const tv_added_tokens *set, const uint8_t *text, uint64_t available,
                                  bool special, const uint8_t *literal, uint64_t *taken) {
    const tv_token *found = NULL;
    uint32_t low = set->first[text[0]], high = set->first[text[0] + 1];
    for (uint64_t depth = 1; low < high; depth++) {
        uint32_t shorter = low;
        while (low < high && set->items[low].length == depth)
            low++;
        if (low > shorter) {
            const tv_token *token = set->items[shorter].token;
            if ((special || !token->special) && !is_barred(literal, depth, token->special)) {
                found = token;
                *taken = depth;
            }
        }
        if (depth == available)
            break;
        low = lower_bound(set, low, high, depth, text[depth]);
        high = lower_bound(set, low, high, depth, text[depth] + 1u);
    }
    return found;
}

static bool word_before(const uint8_t *text, uint64_t end) {
    uint64_t start = end;
    while (start > 0 && end - start < 4) {
        start--;
        if ((text[start] & 0xc0) != 0x80)
            break;
    }
    uint32_t used, c = start < end ? tv_utf8_decode(text + start, end - start, &used) : 0;
    return start < end && used == end - start && tv_utf8_is_word(c);
}

static bool word_after(const uint8_t *text, uint64_t start, uint64_t length) {
    uint32_t used;
    return start < length && tv_utf8_is_word(tv_utf8_decode(text + start, length - start, &used));
}

bool tv_added_tokens_next(const tv_added_tokens *set, const uint8_t *text, uint64_t length, uint64_t from,
                          bool special, const uint8_t *literal, tv_added_match *match) {
    uint64_t taken = 0;
    for (uint64_t at = from; set->count && at < length; at++) {
        if (set->first[text[at]] == set->first[text[at] + 1])
            continue;
        const tv_token *token =
            longest_at(set, text + at, length - at, special, literal ? literal + at : NULL, &taken);
        if (!token)
            continue;
        if (token->single_word && (word_before(text, at) || word_after(text, at + taken, length))) {
            at += taken - 1; /* as in tokenizers, nothing within it is looked for */
            continue;
        }
        match->token = token;
        match->start = token->lstrip ? tv_utf8_space_before(text, from, at) : at;
        match->end = token->rstrip ? tv_utf8_space_after(text, at + taken, length) : at + taken;
        return true;
    }
    return false;
}
