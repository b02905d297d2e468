/* Splits by prompt: see split.h. */
#include "text/split.h"

#include <stdlib.h>

#include "base/rng.h"

typedef struct drawn {
    uint64_t draw, hash, item;
} drawn;

static int by_draw(const void *a, const void *b) {
    const drawn *left = a, *right = b;
    if (left->draw != right->draw)
        return left->draw < right->draw ? -1 : 1;
    return left->hash < right->hash ? -1 : left->hash > right->hash;
}

tv_status tv_split_by_prompt(const uint64_t *hashes, uint64_t count, uint64_t seed, double fraction,
                             uint8_t *held_out) {
    if (!(fraction >= 0 && fraction <= 1))
        return tv_fail(TV_E_USAGE, "expected a fraction from 0 to 1 to hold out, found %g", fraction);
    drawn *items = calloc(count + 1, sizeof *items);
    if (!items)
        return tv_fail(TV_E_MEMORY, "out of host memory for a split of %llu items",
                       (unsigned long long)count);
    const tv_rng rng = {.seed = seed, .stream = TV_STREAM_SPLIT};
    for (uint64_t i = 0; i < count; i++) {
        uint32_t words[4];
        tv_philox(&rng, hashes[i], words);
        items[i] = (drawn){(uint64_t)words[1] << 32 | words[0], hashes[i], i};
    }
    qsort(items, count, sizeof *items, by_draw);
    uint64_t prompts = 0;
    for (uint64_t i = 0; i < count; i++)
        prompts += i == 0 || items[i].hash != items[i - 1].hash;
    uint64_t wanted = (uint64_t)(fraction * (double)prompts + 0.5);
    if (fraction > 0 && prompts > 1) {
        wanted = wanted == 0 ? 1 : wanted;
        wanted = wanted == prompts ? prompts - 1 : wanted;
    }
    uint64_t seen = 0;
    for (uint64_t i = 0; i < count; i++) {
        seen += i == 0 || items[i].hash != items[i - 1].hash;
        held_out[items[i].item] = seen <= wanted;
    }
    free(items);
    return TV_OK;
}
