/* Byte-level BPE training: see bpe_train.h. First words are counted, then pairs of neighbours in them are
 * merged from a max-heap whose entries are corrected when they surface (lazy updates). */
#include "text/bpe_train.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/log.h"
#include "text/utf8.h"
#include "text/vocabulary.h"

typedef struct word {
    uint64_t hash;
    uint64_t start; /* into `bytes` while counting, into `symbols` while merging */
    uint64_t count;
    uint32_t length;
} word;

typedef struct pair_state {
    uint64_t pair; /* left << 32 | right */
    int64_t count;
    uint32_t *words; /* where it occurs or occurred; may name a word twice */
    uint64_t word_count, word_capacity;
} pair_state;

/* `count` may be out of date: the true one stands in the pair. */
typedef struct heap_entry {
    int64_t count;
    uint64_t pair;
    uint64_t index; /* of the pair */
} heap_entry;

struct tv_bpe_trainer {
    uint64_t vocab_size;
    int64_t min_count;
    tv_pretokenizer *pretokenizer;
    tv_text bytes; /* of the unique words */
    word *words;
    uint64_t word_count, word_capacity;
    uint32_t *word_slots; /* word + 1 */
    uint64_t word_mask, total_bytes;

    uint32_t *symbols;
    pair_state *pairs;
    uint64_t pair_count, pair_capacity;
    uint64_t *pair_slots; /* pair + 1 */
    uint64_t pair_mask;
    heap_entry *heap;
    uint64_t heap_size, heap_capacity;
    uint64_t *changed; /* pairs that gained occurrences in this merge */
    uint64_t changed_count, changed_capacity;

    tv_arena *arena;
    tv_token *tokens;
    uint32_t token_count;
    tv_token_index token_index;
    tv_merge *merges;
    uint64_t merge_count, merge_capacity;
};

static tv_status out_of_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory while training a tokenizer; give it less text");
}

tv_status tv_bpe_trainer_create(uint64_t vocab_size, uint64_t min_count, tv_bpe_trainer **out) {
    *out = NULL;
    if (vocab_size < TV_MIN_VOCAB_SIZE || vocab_size > TV_MAX_VOCAB_SIZE)
        return tv_fail(
            TV_E_USAGE,
            "expected a vocabulary size from %d (256 bytes and 4 reserved tokens) to %d, found %llu",
            TV_MIN_VOCAB_SIZE, TV_MAX_VOCAB_SIZE, (unsigned long long)vocab_size);
    tv_status status;
    tv_bpe_trainer *trainer = calloc(1, sizeof *trainer);
    if (!trainer)
        return out_of_memory();
    trainer->vocab_size = vocab_size;
    trainer->min_count = min_count ? (int64_t)tv_min_u64(min_count, INT64_MAX) : 2;
    trainer->word_mask = 65535;
    trainer->word_slots = calloc(trainer->word_mask + 1, sizeof *trainer->word_slots);
    if (!trainer->word_slots) {
        status = out_of_memory();
        goto fail;
    }
    TV_TRY_OR_FAIL(tv_arena_create(&trainer->arena));
    TV_TRY_OR_FAIL(tv_pretokenizer_create(&trainer->pretokenizer));
    TV_TRY_OR_FAIL(tv_pretokenizer_add_regex(trainer->pretokenizer, TV_GPT2_PATTERN, TV_SPLIT_ISOLATED, false,
                                             "the GPT-2 pattern"));
    *out = trainer;
    return TV_OK;
fail:
    tv_bpe_trainer_destroy(&trainer);
    return status;
}

void tv_bpe_trainer_destroy(tv_bpe_trainer **handle) {
    if (!handle || !*handle)
        return;
    tv_bpe_trainer *trainer = *handle;
    tv_pretokenizer_destroy(&trainer->pretokenizer);
    tv_text_free(&trainer->bytes);
    for (uint64_t i = 0; i < trainer->pair_count; i++)
        free(trainer->pairs[i].words);
    free(trainer->words);
    free(trainer->word_slots);
    free(trainer->symbols);
    free(trainer->pairs);
    free(trainer->pair_slots);
    free(trainer->heap);
    free(trainer->changed);
    free(trainer->merges);
    tv_arena_destroy(&trainer->arena);
    free(trainer);
    *handle = NULL;
}

/* Counting words. */

static tv_status grow_word_slots(tv_bpe_trainer *trainer) {
    uint64_t mask = trainer->word_mask * 2 + 1;
    uint32_t *slots = calloc(mask + 1, sizeof *slots);
    if (!slots)
        return out_of_memory();
    for (uint64_t w = 0; w < trainer->word_count; w++) {
        uint64_t i = trainer->words[w].hash;
        while (slots[i & mask])
            i++;
        slots[i & mask] = (uint32_t)w + 1;
    }
    free(trainer->word_slots);
    trainer->word_slots = slots;
    trainer->word_mask = mask;
    return TV_OK;
}

static tv_status count_word(void *context, const uint8_t *bytes, uint64_t length) {
    tv_bpe_trainer *trainer = context;
    uint64_t hash = tv_hash_bytes(bytes, length, 0), i = hash;
    for (uint32_t slot; (slot = trainer->word_slots[i & trainer->word_mask]); i++) {
        word *known = &trainer->words[slot - 1];
        if (known->hash == hash && known->length == length &&
            memcmp(trainer->bytes.data + known->start, bytes, length) == 0) {
            known->count++;
            return TV_OK;
        }
    }
    if (length > INT32_MAX || trainer->word_count >= INT32_MAX)
        return tv_fail(TV_E_DATA,
                       "expected words below 2 GiB and fewer than 2^31 different ones to train on");
    void *words = trainer->words;
    TV_RETURN_IF_FAILED(tv_grow(&words, &trainer->word_capacity, trainer->word_count + 1, sizeof(word)));
    trainer->words = words;
    uint64_t start = trainer->bytes.size;
    TV_RETURN_IF_FAILED(tv_text_append(&trainer->bytes, bytes, length));
    trainer->words[trainer->word_count++] = (word){hash, start, 1, (uint32_t)length};
    trainer->word_slots[i & trainer->word_mask] = (uint32_t)trainer->word_count;
    return trainer->word_count * 2 > trainer->word_mask ? grow_word_slots(trainer) : TV_OK;
}

tv_status tv_bpe_trainer_add(void *context, const uint8_t *text, uint64_t length) {
    tv_bpe_trainer *trainer = context;
    trainer->total_bytes += length;
    return tv_pretokenizer_split(trainer->pretokenizer, text, length, true, count_word, trainer);
}

/* Tokens. */

/* Two different merges can join to the same bytes: they share the token. */
static tv_status add_token(tv_bpe_trainer *trainer, const uint8_t *bytes, uint64_t length, bool special,
                           uint32_t *id) {
    uint32_t *slot = tv_token_index_slot(&trainer->token_index, trainer->tokens, bytes, length);
    if (*slot == 0) {
        uint8_t *copy = (uint8_t *)tv_arena_copy(trainer->arena, (const char *)bytes, length);
        if (!copy)
            return out_of_memory();
        trainer->tokens[trainer->token_count] = (tv_token){.bytes = copy,
                                                           .spelling = copy,
                                                           .length = (uint32_t)length,
                                                           .spelling_length = (uint32_t)length,
                                                           .id = trainer->token_count,
                                                           .added = special,
                                                           .special = special};
        *slot = ++trainer->token_count;
    }
    *id = *slot - 1;
    return TV_OK;
}

static tv_status join_tokens(tv_bpe_trainer *trainer, uint32_t left, uint32_t right, uint32_t *id) {
    const tv_token *a = &trainer->tokens[left], *b = &trainer->tokens[right];
    tv_text joined = {0};
    tv_status status;
    TV_TRY(tv_text_append(&joined, a->bytes, a->length));
    TV_TRY(tv_text_append(&joined, b->bytes, b->length));
    TV_TRY(add_token(trainer, joined.data, joined.size, false, id));
done:
    tv_text_free(&joined);
    return status;
}

static tv_status add_first_tokens(tv_bpe_trainer *trainer, uint32_t byte_ids[256]) {
    trainer->tokens = tv_arena_alloc(trainer->arena, trainer->vocab_size, sizeof *trainer->tokens);
    if (!trainer->tokens)
        return out_of_memory();
    TV_RETURN_IF_FAILED(tv_token_index_create(trainer->arena, trainer->vocab_size, &trainer->token_index));
    const char *const reserved[] = {TV_TOKEN_END_OF_TEXT, TV_TOKEN_IM_START, TV_TOKEN_IM_END, TV_TOKEN_PAD};
    for (uint32_t i = 0; i < TV_COUNT(reserved); i++) {
        uint32_t id;
        TV_RETURN_IF_FAILED(add_token(trainer, (const uint8_t *)reserved[i], strlen(reserved[i]), true, &id));
    }
    for (uint32_t character = 0; character <= 0x143; character++) {
        int value = tv_character_to_byte(character);
        uint8_t byte = (uint8_t)value;
        if (value >= 0)
            TV_RETURN_IF_FAILED(add_token(trainer, &byte, 1, false, &byte_ids[byte]));
    }
    return TV_OK;
}

/* Pairs and their heap. */

static bool comes_first(const heap_entry *a, const heap_entry *b) {
    return a->count != b->count ? a->count > b->count : a->pair < b->pair;
}

static tv_status push(tv_bpe_trainer *trainer, heap_entry added) {
    void *heap = trainer->heap;
    TV_RETURN_IF_FAILED(tv_grow(&heap, &trainer->heap_capacity, trainer->heap_size + 1, sizeof added));
    trainer->heap = heap;
    uint64_t i = trainer->heap_size++;
    for (; i > 0 && comes_first(&added, &trainer->heap[(i - 1) / 2]); i = (i - 1) / 2)
        trainer->heap[i] = trainer->heap[(i - 1) / 2];
    trainer->heap[i] = added;
    return TV_OK;
}

static heap_entry pop(tv_bpe_trainer *trainer) {
    heap_entry *heap = trainer->heap;
    heap_entry top = heap[0], last = heap[--trainer->heap_size];
    uint64_t i = 0;
    for (uint64_t child; (child = 2 * i + 1) < trainer->heap_size; i = child) {
        if (child + 1 < trainer->heap_size && comes_first(&heap[child + 1], &heap[child]))
            child++;
        if (!comes_first(&heap[child], &last))
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

static uint64_t pair_place(const tv_bpe_trainer *trainer, uint64_t pair) {
    uint64_t i = (pair * UINT64_C(0x9e3779b97f4a7c15)) >> 20;
    for (; trainer->pair_slots[i & trainer->pair_mask]; i++)
        if (trainer->pairs[trainer->pair_slots[i & trainer->pair_mask] - 1].pair == pair)
            break;
    return i & trainer->pair_mask;
}

static tv_status find_pair(tv_bpe_trainer *trainer, uint32_t left, uint32_t right, uint64_t *index) {
    uint64_t pair = (uint64_t)left << 32 | right;
    if (trainer->pair_count * 2 >= trainer->pair_mask) {
        uint64_t mask = trainer->pair_mask ? trainer->pair_mask * 2 + 1 : 65535;
        free(trainer->pair_slots);
        trainer->pair_mask = mask;
        trainer->pair_slots = calloc(mask + 1, sizeof *trainer->pair_slots);
        if (!trainer->pair_slots)
            return out_of_memory();
        for (uint64_t p = 0; p < trainer->pair_count; p++)
            trainer->pair_slots[pair_place(trainer, trainer->pairs[p].pair)] = p + 1;
    }
    uint64_t place = pair_place(trainer, pair);
    if (!trainer->pair_slots[place]) {
        void *pairs = trainer->pairs;
        TV_RETURN_IF_FAILED(
            tv_grow(&pairs, &trainer->pair_capacity, trainer->pair_count + 1, sizeof(pair_state)));
        trainer->pairs = pairs;
        trainer->pairs[trainer->pair_count++] = (pair_state){.pair = pair};
        trainer->pair_slots[place] = trainer->pair_count;
    }
    *index = trainer->pair_slots[place] - 1;
    return TV_OK;
}

static tv_status gain(tv_bpe_trainer *trainer, uint32_t left, uint32_t right, uint32_t in) {
    uint64_t index;
    TV_RETURN_IF_FAILED(find_pair(trainer, left, right, &index));
    pair_state *pair = &trainer->pairs[index];
    pair->count += (int64_t)trainer->words[in].count;
    if (pair->word_count == 0 || pair->words[pair->word_count - 1] != in) {
        void *words = pair->words;
        TV_RETURN_IF_FAILED(tv_grow(&words, &pair->word_capacity, pair->word_count + 1, sizeof in));
        pair->words = words;
        pair->words[pair->word_count++] = in;
    }
    if (trainer->changed_count && trainer->changed[trainer->changed_count - 1] == index)
        return TV_OK;
    void *changed = trainer->changed;
    TV_RETURN_IF_FAILED(
        tv_grow(&changed, &trainer->changed_capacity, trainer->changed_count + 1, sizeof index));
    trainer->changed = changed;
    trainer->changed[trainer->changed_count++] = index;
    return TV_OK;
}

static tv_status lose(tv_bpe_trainer *trainer, uint32_t left, uint32_t right, uint32_t in) {
    uint64_t index;
    TV_RETURN_IF_FAILED(find_pair(trainer, left, right, &index));
    trainer->pairs[index].count -= (int64_t)trainer->words[in].count;
    return TV_OK;
}

static int compare_indices(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* A pair that only loses is corrected when it surfaces; one that gains must be pushed anew. */
static tv_status push_changed(tv_bpe_trainer *trainer) {
    if (trainer->changed_count)
        qsort(trainer->changed, trainer->changed_count, sizeof *trainer->changed, compare_indices);
    for (uint64_t i = 0; i < trainer->changed_count; i++) {
        const pair_state *pair = &trainer->pairs[trainer->changed[i]];
        if ((i == 0 || trainer->changed[i] != trainer->changed[i - 1]) && pair->count >= trainer->min_count)
            TV_RETURN_IF_FAILED(push(trainer, (heap_entry){pair->count, pair->pair, trainer->changed[i]}));
    }
    trainer->changed_count = 0;
    return TV_OK;
}

static tv_status merge_word(tv_bpe_trainer *trainer, uint32_t index, const tv_merge *merge) {
    word *in = &trainer->words[index];
    uint32_t *symbols = trainer->symbols + in->start;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < in->length; i++) {
        if (symbols[i] != merge->left || i + 1 == in->length || symbols[i + 1] != merge->right) {
            symbols[kept++] = symbols[i];
            continue;
        }
        TV_RETURN_IF_FAILED(lose(trainer, merge->left, merge->right, index));
        if (kept > 0) {
            TV_RETURN_IF_FAILED(lose(trainer, symbols[kept - 1], merge->left, index));
            TV_RETURN_IF_FAILED(gain(trainer, symbols[kept - 1], merge->merged, index));
        }
        if (i + 2 < in->length) {
            TV_RETURN_IF_FAILED(lose(trainer, merge->right, symbols[i + 2], index));
            TV_RETURN_IF_FAILED(gain(trainer, merge->merged, symbols[i + 2], index));
        }
        symbols[kept++] = merge->merged;
        i++;
    }
    in->length = kept;
    return TV_OK;
}

static tv_status count_pairs(tv_bpe_trainer *trainer, const uint32_t byte_ids[256]) {
    trainer->symbols = malloc((trainer->bytes.size + 1) * sizeof *trainer->symbols);
    if (!trainer->symbols)
        return out_of_memory();
    for (uint64_t i = 0; i < trainer->bytes.size; i++)
        trainer->symbols[i] = byte_ids[trainer->bytes.data[i]];
    for (uint64_t w = 0; w < trainer->word_count; w++) {
        const uint32_t *symbols = trainer->symbols + trainer->words[w].start;
        for (uint32_t i = 0; i + 1 < trainer->words[w].length; i++)
            TV_RETURN_IF_FAILED(gain(trainer, symbols[i], symbols[i + 1], (uint32_t)w));
    }
    return push_changed(trainer);
}

static tv_status learn_merges(tv_bpe_trainer *trainer) {
    while (trainer->token_count < trainer->vocab_size && trainer->heap_size > 0) {
        heap_entry top = pop(trainer);
        int64_t count = trainer->pairs[top.index].count;
        if (count != top.count) {
            if (count >= trainer->min_count && count < top.count)
                TV_RETURN_IF_FAILED(push(trainer, (heap_entry){count, top.pair, top.index}));
            continue;
        }
        tv_merge merge = {(uint32_t)(top.pair >> 32), (uint32_t)top.pair, 0};
        TV_RETURN_IF_FAILED(join_tokens(trainer, merge.left, merge.right, &merge.merged));
        void *merges = trainer->merges;
        TV_RETURN_IF_FAILED(
            tv_grow(&merges, &trainer->merge_capacity, trainer->merge_count + 1, sizeof merge));
        trainer->merges = merges;
        trainer->merges[trainer->merge_count++] = merge;
        /* The list is taken away first: the pair itself can come back through a shared token. */
        uint32_t *words = trainer->pairs[top.index].words;
        uint64_t word_count = trainer->pairs[top.index].word_count;
        trainer->pairs[top.index].words = NULL;
        trainer->pairs[top.index].word_count = trainer->pairs[top.index].word_capacity = 0;
        tv_status status = TV_OK;
        for (uint64_t i = 0; i < word_count && status == TV_OK; i++)
            status = merge_word(trainer, words[i], &merge);
        free(words);
        TV_RETURN_IF_FAILED(status);
        TV_RETURN_IF_FAILED(push_changed(trainer));
    }
    return TV_OK;
}

tv_status tv_bpe_trainer_finish(tv_bpe_trainer *trainer, tv_tokenizer **tokenizer) {
    *tokenizer = NULL;
    if (trainer->total_bytes == 0)
        return tv_fail(TV_E_DATA, "expected text to train a tokenizer on, found none");
    uint32_t byte_ids[256];
    TV_RETURN_IF_FAILED(add_first_tokens(trainer, byte_ids));
    TV_RETURN_IF_FAILED(count_pairs(trainer, byte_ids));
    TV_RETURN_IF_FAILED(learn_merges(trainer));
    if (trainer->token_count < trainer->vocab_size)
        tv_warn("the text has pairs for a vocabulary of %u only, not %llu: no other pair occurs %lld times",
                trainer->token_count, (unsigned long long)trainer->vocab_size, (long long)trainer->min_count);
    const tv_tokenizer_parts parts = {.tokens = trainer->tokens,
                                      .token_count = trainer->token_count,
                                      .merges = trainer->merges,
                                      .merge_count = trainer->merge_count,
                                      .pretokenizer = &trainer->pretokenizer};
    return tv_tokenizer_create(&parts, "the trained tokenizer", tokenizer);
}
