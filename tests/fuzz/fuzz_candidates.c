/* Fuzz target: bytes as a file of candidates. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "human/candidates.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_candidates *candidates = NULL;
    if (tv_candidates_read_bytes((const char *)data, size, "fuzz", &candidates) != TV_OK)
        return 0;
    /* Every byte that was read is there, and every item is found by its id. */
    uint64_t sum = 0;
    for (uint64_t i = 0; i < tv_candidates_count(candidates); i++) {
        const tv_item *item = tv_candidates_item(candidates, i);
        if (tv_candidates_find(candidates, item->id) != i)
            abort();
        for (uint32_t j = 0; j < item->count; j++)
            for (uint64_t k = 0; k < item->responses[j].text.size; k++)
                sum += (uint8_t)item->responses[j].text.data[k];
    }
    tv_candidates_destroy(&candidates);
    return sum == UINT64_MAX;
}
