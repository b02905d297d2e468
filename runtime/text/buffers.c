/* Growing arrays: see buffers.h. */
#include "text/buffers.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

tv_status tv_grow(void **items, uint64_t *capacity, uint64_t needed, uint64_t item_bytes) {
    if (needed <= *capacity)
        return TV_OK;
    uint64_t wanted = tv_max_u64(needed, *capacity + *capacity / 2 + 16), bytes;
    void *grown = tv_mul_u64(wanted, item_bytes, &bytes) ? realloc(*items, bytes) : NULL;
    if (!grown)
        return tv_fail(TV_E_MEMORY, "out of host memory for %llu items of %llu bytes",
                       (unsigned long long)wanted, (unsigned long long)item_bytes);
    *items = grown;
    *capacity = wanted;
    return TV_OK;
}

tv_status tv_text_append(tv_text *text, const void *bytes, uint64_t count) {
    void *data = text->data;
    TV_RETURN_IF_FAILED(tv_grow(&data, &text->capacity, text->size + count, 1));
    text->data = data;
    if (count)
        memcpy(text->data + text->size, bytes, count);
    text->size += count;
    return TV_OK;
}

tv_status tv_ids_append(tv_ids *ids, const uint32_t *values, uint64_t count) {
    void *data = ids->data;
    TV_RETURN_IF_FAILED(tv_grow(&data, &ids->capacity, ids->size + count, sizeof *values));
    ids->data = data;
    if (count)
        memcpy(ids->data + ids->size, values, count * sizeof *values);
    ids->size += count;
    return TV_OK;
}

void tv_text_free(tv_text *text) {
    free(text->data);
    *text = (tv_text){0};
}

void tv_ids_free(tv_ids *ids) {
    free(ids->data);
    *ids = (tv_ids){0};
}
