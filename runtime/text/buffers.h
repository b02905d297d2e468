/* Growing arrays of bytes and of token ids: trivium/buffers.h, and how other arrays of text/ grow. */
#ifndef TV_TEXT_BUFFERS_H
#define TV_TEXT_BUFFERS_H

#include <stdint.h>

#include "base/status.h"
#include "trivium/buffers.h"

/* Makes room for `needed` items in an array that realloc may move. */
tv_status tv_grow(void **items, uint64_t *capacity, uint64_t needed, uint64_t item_bytes);

#endif
