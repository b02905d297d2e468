/* Packing sequences into rows of one capacity: best fit decreasing (Johnson 1973).
 *
 * Promise: each item lies in exactly one pack, no pack holds more than the capacity, and the same lengths
 * give the same packs. Longest first, each into the pack with the least room that still takes it; items of
 * equal length keep their order. Time n log n, at most 11/9 of the best possible number of packs plus one.
 * Packs come out fullest-first by construction: a trainer shuffles them.
 */
#ifndef TV_TEXT_PACKING_H
#define TV_TEXT_PACKING_H

#include <stdint.h>

#include "base/status.h"

typedef struct tv_packing {
    uint64_t *items;  /* (count) numbers of items, pack after pack */
    uint64_t *starts; /* (packs + 1): pack p holds items[starts[p]] to items[starts[p + 1] - 1] */
    uint64_t packs;
} tv_packing;

/* Lengths of 0 or over the capacity are TV_E_USAGE. */
tv_status tv_pack(const uint64_t *lengths, uint64_t count, uint64_t capacity, tv_packing *packing);
void tv_packing_free(tv_packing *packing);

#endif
