/* Longest first: see by_length.h. */
#include "text/by_length.h"

#include <stdlib.h>

static int longest_first(const void *a, const void *b) {
    const tv_item_length *left = a, *right = b;
    if (left->length != right->length)
        return left->length > right->length ? -1 : 1;
    return left->item < right->item ? -1 : left->item > right->item;
}

void tv_sort_by_length(tv_item_length *items, uint64_t count) {
    qsort(items, count, sizeof *items, longest_first);
}
