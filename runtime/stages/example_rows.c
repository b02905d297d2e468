/* Rows of examples: see example_rows.h. */
#include "stages/example_rows.h"

#include <stdlib.h>

#include "base/rng.h"
#include "base/tokens.h"

tv_status tv_example_rows_create(const tv_examples *examples, uint64_t tokens, bool packed,
                                 tv_example_rows *rows) {
    *rows = (tv_example_rows){.examples = examples, .tokens = tokens, .end = UINT64_MAX};
    uint64_t *lengths = calloc(examples->count, sizeof *lengths);
    if (!lengths)
        return tv_fail(TV_E_MEMORY, "out of host memory for %llu examples",
                       (unsigned long long)examples->count);
    /* Unpacked, each example fills its row as far as packing is concerned. */
    for (uint64_t i = 0; i < examples->count; i++)
        lengths[i] = packed ? examples->items[i].length - 1 : tokens;
    tv_status status = tv_pack(lengths, examples->count, tokens, &rows->packing);
    free(lengths);
    return status;
}

void tv_example_rows_free(tv_example_rows *rows) {
    tv_packing_free(&rows->packing);
}

/* Number `row` of all passes, as a pack. */
static uint64_t pack_of(const tv_example_rows *rows, uint64_t row) {
    uint64_t packs = rows->packing.packs, pass = row / packs, place = row % packs;
    if (!rows->shuffle)
        return place;
    const tv_rng rng = {.seed = rows->seed, .stream = TV_STREAM_SHUFFLE, .step = (uint32_t)pass};
    return tv_permute(&rng, place, packs);
}

/* Slots [first, T) of row b: what is behind the examples sees only itself. */
static void fill_padding(const tv_example_rows *rows, tv_micro_batch *batch, uint64_t b, uint64_t first) {
    for (uint64_t t = first; t < rows->tokens; t++) {
        uint64_t at = b * rows->tokens + t;
        batch->tokens[at] = 0;
        batch->targets[at] = TV_IGNORED_TARGET;
        if (batch->positions)
            batch->positions[at] = (uint32_t)(t - first);
        if (batch->doc_start)
            batch->doc_start[at] = (uint32_t)first;
    }
}

static uint64_t fill_example(const tv_example_rows *rows, const tv_example *example, tv_micro_batch *batch,
                             uint64_t b, uint64_t first) {
    uint64_t slots = example->length - 1;
    for (uint64_t i = 0; i < slots; i++) {
        uint64_t at = b * rows->tokens + first + i;
        batch->tokens[at] = example->ids[i];
        batch->targets[at] = example->trained[i + 1] ? example->ids[i + 1] : TV_IGNORED_TARGET;
        if (batch->positions)
            batch->positions[at] = (uint32_t)i;
        if (batch->doc_start)
            batch->doc_start[at] = (uint32_t)first;
    }
    return slots;
}

void tv_example_rows_fill(tv_example_rows *rows, uint64_t batch_size, tv_micro_batch *batch) {
    batch->used = 0;
    for (uint64_t b = 0; b < batch_size; b++) {
        uint64_t first = 0;
        if (rows->next < rows->end) {
            uint64_t pack = pack_of(rows, rows->next++);
            for (uint64_t i = rows->packing.starts[pack]; i < rows->packing.starts[pack + 1]; i++)
                first += fill_example(rows, &rows->examples->items[rows->packing.items[i]], batch, b, first);
        }
        batch->used += first;
        fill_padding(rows, batch, b, first);
    }
}
