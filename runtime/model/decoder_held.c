/* What the slots' caches hold, and copies of it: see decoder_state.h. */
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

uint64_t tv_decoder_held(const tv_decoder *decoder, uint64_t row, uint64_t slot) {
    uint64_t width = decoder->options.max_tokens;
    return tv_decoder_common(decoder->held + slot * width, decoder->tokens + row * width,
                             tv_min_u64(decoder->slots[slot].held, decoder->books[row].prompt_length - 1));
}

/* Free ones first, because the row may stand there. */
uint64_t tv_decoder_best_slot(const tv_decoder *decoder, uint64_t row, uint64_t *held) {
    uint64_t best = 0;
    *held = 0;
    for (int used = 0; used < 2; used++)
        for (uint64_t slot = 0; slot < decoder->options.rows; slot++) {
            if ((decoder->slots[slot].row != NO_SLOT) != used || decoder->slots[slot].held <= *held)
                continue;
            uint64_t there = tv_decoder_held(decoder, row, slot);
            if (there > *held) {
                best = slot;
                *held = there;
            }
        }
    return best;
}

tv_status tv_decoder_copy_held(tv_recorder *recorder, tv_decoder *decoder, uint64_t from, uint64_t to,
                               uint64_t count) {
    const tv_model_config *config = &tv_model_list(decoder->model)->config;
    uint64_t width = decoder->options.max_tokens, first = decoder->slots[to].held;
    tv_cache_copy copy = {.slots = decoder->options.rows,
                          .kv_heads = config->n_kv_head,
                          .max_tokens = width,
                          .head_size = config->head_size,
                          .from = from,
                          .to = to,
                          .first = first,
                          .count = count - first};
    for (uint64_t l = 0; l < config->n_layer; l++) {
        copy.k = decoder->k[l];
        copy.v = decoder->v[l];
        TV_RETURN_IF_FAILED(tv_cache_copy_record(recorder, &copy));
    }
    memcpy(decoder->held + to * width, decoder->held + from * width, count * sizeof *decoder->held);
    decoder->slots[to].held = count;
    return TV_OK;
}
