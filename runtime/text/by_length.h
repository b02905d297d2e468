/* Items by their lengths, longest first: for packing them, and for batches that are as wide as their longest.
 * Items of equal length keep the order of their numbers, so that the same lengths give the same order.
 */
#ifndef TV_TEXT_BY_LENGTH_H
#define TV_TEXT_BY_LENGTH_H

#include <stdint.h>

typedef struct tv_item_length {
    uint64_t length, item;
} tv_item_length;

void tv_sort_by_length(tv_item_length *items, uint64_t count);

#endif
