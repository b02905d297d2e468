/* What the caches hold, which rows read it, and copies of it: see decoder_state.h. */
#include <string.h>

#include "kernels/cache_copy.h"
#include "model/decoder_state.h"

/* A copy is a launch a layer; so many tokens are worth it in any prompt, fewer in one that is over then. */
enum { LEAST_SHARED = 16 };

uint64_t tv_decoder_common(const uint32_t *a, const uint32_t *b, uint64_t most) {
    uint64_t same = 0;
    while (same < most && a[same] == b[same])
        same++;
    return same;
}

bool tv_decoder_worth_a_copy(uint64_t gain, uint64_t left) {
    return gain >= LEAST_SHARED || (gain > 0 && 2 * gain >= left);
}

uint64_t tv_decoder_held(const tv_decoder *decoder, uint64_t row, uint64_t prefix) {
    return tv_decoder_common(
        decoder->held + prefix * decoder->plan.prefix_tokens,
        decoder->tokens + row * decoder->options.max_tokens,
        tv_min_u64(decoder->prefixes[prefix].held, decoder->books[row].prompt_length - 1));
}

/* Free ones first, because the row may stand there. */
uint64_t tv_decoder_best_prefix(const tv_decoder *decoder, uint64_t row, uint64_t *held) {
    uint64_t best = 0;
    *held = 0;
    for (int used = 0; used < 2; used++)
        for (uint64_t i = 0; i < decoder->plan.prefix_count; i++) {
            if ((decoder->prefixes[i].rows > 0) != used || decoder->prefixes[i].held <= *held)
                continue;
            uint64_t there = tv_decoder_held(decoder, row, i);
            if (there > *held) {
                best = i;
                *held = there;
            }
        }
    return best;
}

/* One that has all of the prompt's tokens but the last, else the free one that has most of them. */
uint64_t tv_decoder_prefix_for(const tv_decoder *decoder, const tv_decoder_prompt *prompt, uint64_t *held) {
    uint64_t best = NO_SLOT;
    *held = 0;
    for (uint64_t i = 0; i < decoder->plan.prefix_count; i++) {
        const prefix_book *prefix = &decoder->prefixes[i];
        const uint64_t known = prefix->rows > 0 ? prefix->claimed : prefix->held;
        uint64_t there = tv_decoder_common(decoder->held + i * decoder->plan.prefix_tokens, prompt->tokens,
                                           tv_min_u64(known, prompt->length - 1));
        if (there == prompt->length - 1) {
            *held = there;
            return i;
        }
        if (prefix->rows == 0 && (best == NO_SLOT || there > *held)) {
            best = i;
            *held = there;
        }
    }
    return best;
}

void tv_decoder_claim(tv_decoder *decoder, uint64_t row, uint64_t prefix, uint64_t held) {
    row_book *book = &decoder->books[row];
    prefix_book *of = &decoder->prefixes[prefix];
    const uint64_t all = book->prompt_length - 1;
    book->prefix = prefix;
    book->length = 1 + held;
    decoder->tokens_shared += held;
    of->rows++;
    if (held == all)
        return;
    memcpy(decoder->held + prefix * decoder->plan.prefix_tokens,
           decoder->tokens + row * decoder->options.max_tokens, all * sizeof *decoder->held);
    of->held = held;
    of->claimed = all;
}

/* A launch a layer. */
static tv_status copy(tv_recorder *recorder, const tv_decoder *decoder, tv_cache_copy copies) {
    const tv_model_config *config = &tv_model_list(decoder->model)->config;
    copies.kv_heads = config->n_kv_head;
    copies.head_size = config->head_size;
    copies.before *= config->n_kv_head * config->head_size;
    for (uint64_t l = 0; l < config->n_layer; l++) {
        copies.k = decoder->k[l];
        copies.v = decoder->v[l];
        TV_RETURN_IF_FAILED(tv_cache_copy_record(recorder, &copies));
    }
    return TV_OK;
}

tv_status tv_decoder_copy_held(tv_recorder *recorder, tv_decoder *decoder, uint64_t from, uint64_t to,
                               uint64_t count) {
    uint64_t width = decoder->plan.prefix_tokens, first = decoder->prefixes[to].held;
    TV_RETURN_IF_FAILED(copy(recorder, decoder,
                             (tv_cache_copy){.slots = decoder->plan.prefix_count,
                                             .max_tokens = width,
                                             .from = from,
                                             .to = to,
                                             .first = first,
                                             .count = count - first}));
    memcpy(decoder->held + to * width, decoder->held + from * width, count * sizeof *decoder->held);
    decoder->prefixes[to].held = count;
    return TV_OK;
}

tv_status tv_decoder_take_held(tv_recorder *recorder, tv_decoder *decoder, uint64_t row) {
    row_book *book = &decoder->books[row];
    uint64_t left = tv_decoder_unread(book), before = book->length - 1, held;
    if (left == 0)
        return TV_OK;
    uint64_t best = tv_decoder_best_prefix(decoder, row, &held);
    if (held <= before || !tv_decoder_worth_a_copy(held - before, left))
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_decoder_copy_held(recorder, decoder, best, book->prefix, held));
    book->length = 1 + held;
    decoder->tokens_shared += held - before;
    return TV_OK;
}

tv_status tv_decoder_copy_own(tv_recorder *recorder, const tv_decoder *decoder, uint64_t from, uint64_t to,
                              uint64_t count) {
    const decoder_plan *plan = &decoder->plan;
    return copy(recorder, decoder,
                (tv_cache_copy){.slots = decoder->options.rows,
                                .max_tokens = plan->own_tokens,
                                .before = plan->prefix_count * plan->prefix_tokens,
                                .from = from,
                                .to = to,
                                .count = count});
}
