/* Keys and values of a text's first tokens, from one slot of the caches to another. */
#ifndef TV_KERNELS_CACHE_COPY_H
#define TV_KERNELS_CACHE_COPY_H

#include "kernels/launch.h"

typedef struct tv_cache_copy {
    uint64_t slots, kv_heads, max_tokens, head_size;
    tv_tensor k, v;    /* (slots, kv_heads, max_tokens, head_size) of fp32, or of halves, head_size even */
    uint64_t before;   /* elements of k and of v before slot 0 */
    uint64_t from, to; /* slots, not the same */
    uint64_t first, count; /* tokens */
} tv_cache_copy;

/* The bits of tokens first to first + count - 1 of `to` become those of `from`. TV_E_USAGE for slots or
 * tokens that do not exist. */
tv_status tv_cache_copy_record(tv_recorder *recorder, const tv_cache_copy *copy);

#endif
