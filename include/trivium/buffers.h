/* Growing arrays of bytes and of token ids: what functions append to.
 *
 * Promise: zero-initialised they are empty; a failed append leaves them as they were. Setting `size` to 0
 * empties one and keeps its memory. Nothing here blocks.
 */
#ifndef TRIVIUM_BUFFERS_H
#define TRIVIUM_BUFFERS_H

#include <stdint.h>

#include "trivium/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tv_text {
    uint8_t *data; /* bytes, not zero-terminated; NULL while empty */
    uint64_t size, capacity;
} tv_text;

typedef struct tv_ids {
    uint32_t *data;
    uint64_t size, capacity;
} tv_ids;

tv_status tv_text_append(tv_text *text, const void *bytes, uint64_t count);
tv_status tv_ids_append(tv_ids *ids, const uint32_t *values, uint64_t count);
/* Leave an empty one, which can be used again. */
void tv_text_free(tv_text *text);
void tv_ids_free(tv_ids *ids);

#ifdef __cplusplus
}
#endif

#endif
