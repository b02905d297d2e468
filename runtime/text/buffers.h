/* Growing arrays of bytes and of token ids.
 *
 * Promise: zero-initialised they are empty; a failed append leaves them as they were. The caller frees with
 * tv_text_free and tv_ids_free.
 */
#ifndef TV_TEXT_BUFFERS_H
#define TV_TEXT_BUFFERS_H

#include <stdint.h>

#include "base/status.h"

typedef struct tv_text {
    uint8_t *data;
    uint64_t size, capacity;
} tv_text;

typedef struct tv_ids {
    uint32_t *data;
    uint64_t size, capacity;
} tv_ids;

tv_status tv_text_append(tv_text *text, const void *bytes, uint64_t count);
tv_status tv_ids_append(tv_ids *ids, const uint32_t *values, uint64_t count);
void tv_text_free(tv_text *text);
void tv_ids_free(tv_ids *ids);

/* Makes room for `needed` items in an array that realloc may move: for the other growing arrays of text/. */
tv_status tv_grow(void **items, uint64_t *capacity, uint64_t needed, uint64_t item_bytes);

#endif
