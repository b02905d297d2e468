/* Best fit decreasing: see packing.h.
 *
 * Packs with the same room form a list; a tree over the rooms finds the smallest one that is not empty and
 * still large enough.
 */
#include "text/packing.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "text/by_length.h"

static const uint64_t NONE = UINT64_MAX;

/* Rooms 0 to leaves - 1. A node counts the packs below it. */
typedef struct room_tree {
    uint64_t *counts; /* (2 leaves): node 1 is the root, the leaf of room r is leaves + r */
    uint64_t leaves;
    uint64_t *last; /* (leaves) the pack that came last to each room */
    uint64_t *next; /* (packs) the one before it */
} room_tree;

static void add_pack(room_tree *tree, uint64_t room, uint64_t pack) {
    tree->next[pack] = tree->last[room];
    tree->last[room] = pack;
    for (uint64_t node = tree->leaves + room; node > 0; node /= 2)
        tree->counts[node]++;
}

static uint64_t take_pack(room_tree *tree, uint64_t room) {
    uint64_t pack = tree->last[room];
    tree->last[room] = tree->next[pack];
    for (uint64_t node = tree->leaves + room; node > 0; node /= 2)
        tree->counts[node]--;
    return pack;
}

/* The least room of at least `needed` that has a pack, or NONE. */
static uint64_t find_room(const room_tree *tree, uint64_t needed) {
    uint64_t node = tree->leaves + needed;
    /* Up until a right neighbour has one, then down to its first. */
    while (tree->counts[node] == 0) {
        while (node > 1 && node % 2 == 1)
            node /= 2;
        if (node <= 1)
            return NONE;
        node++;
    }
    while (node < tree->leaves)
        node = tree->counts[2 * node] ? 2 * node : 2 * node + 1;
    return node - tree->leaves;
}

/* pack_of[i] is the pack of order[i]; returns how many packs there are. */
static uint64_t place(const tv_item_length *order, uint64_t count, uint64_t capacity, room_tree *tree,
                      uint64_t *pack_of) {
    uint64_t packs = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t room = find_room(tree, order[i].length);
        pack_of[i] = room == NONE ? packs++ : take_pack(tree, room);
        add_pack(tree, (room == NONE ? capacity : room) - order[i].length, pack_of[i]);
    }
    return packs;
}

/* Items by pack, in the order in which they came. */
static void gather(const tv_item_length *order, const uint64_t *pack_of, uint64_t count,
                   tv_packing *packing) {
    memset(packing->starts, 0, (packing->packs + 1) * sizeof *packing->starts);
    for (uint64_t i = 0; i < count; i++)
        packing->starts[pack_of[i] + 1]++;
    for (uint64_t p = 0; p < packing->packs; p++)
        packing->starts[p + 1] += packing->starts[p];
    for (uint64_t i = 0; i < count; i++)
        packing->items[packing->starts[pack_of[i]]++] = order[i].item;
    for (uint64_t p = packing->packs; p > 0; p--)
        packing->starts[p] = packing->starts[p - 1];
    packing->starts[0] = 0;
}

tv_status tv_pack(const uint64_t *lengths, uint64_t count, uint64_t capacity, tv_packing *packing) {
    uint64_t total = 0;
    *packing = (tv_packing){0};
    for (uint64_t i = 0; i < count; i++) {
        if (lengths[i] == 0 || lengths[i] > capacity)
            return tv_fail(TV_E_USAGE, "packing: expected lengths from 1 to %llu, found %llu for item %llu",
                           (unsigned long long)capacity, (unsigned long long)lengths[i],
                           (unsigned long long)i);
        if (!tv_add_u64(total, lengths[i], &total))
            return tv_fail(TV_E_USAGE, "packing: the lengths add up to more than 64 bits hold");
    }
    capacity = tv_min_u64(capacity, total); /* a tree no larger than needed */
    room_tree tree = {.leaves = 1};
    while (tree.leaves <= capacity && tree.leaves < UINT64_C(1) << 40)
        tree.leaves *= 2;
    tv_item_length *order = calloc(count + 1, sizeof *order);
    uint64_t *pack_of = calloc(count + 1, sizeof *pack_of);
    tree.counts = calloc(2 * tree.leaves, sizeof *tree.counts);
    tree.last = calloc(tree.leaves, sizeof *tree.last);
    tree.next = calloc(count + 1, sizeof *tree.next);
    packing->items = calloc(count + 1, sizeof *packing->items);
    packing->starts = calloc(count + 1, sizeof *packing->starts);
    tv_status status = TV_OK;
    if (tree.leaves <= capacity || !order || !pack_of || !tree.counts || !tree.last || !tree.next ||
        !packing->items || !packing->starts) {
        tv_packing_free(packing);
        status = tv_fail(TV_E_MEMORY, "out of host memory for packing %llu items into rows of %llu",
                         (unsigned long long)count, (unsigned long long)capacity);
        goto done;
    }
    for (uint64_t i = 0; i < count; i++)
        order[i] = (tv_item_length){lengths[i], i};
    tv_sort_by_length(order, count);
    packing->packs = place(order, count, capacity, &tree, pack_of);
    gather(order, pack_of, count, packing);
done:
    free(order);
    free(pack_of);
    free(tree.counts);
    free(tree.last);
    free(tree.next);
    return status;
}

void tv_packing_free(tv_packing *packing) {
    free(packing->items);
    free(packing->starts);
    *packing = (tv_packing){0};
}
