/* Where tensors lie in device memory, computed before anything is allocated.
 *
 * Promise: what a plan states is what is allocated from it, so that a dry run tells the truth; no block is
 * larger than the limit; tensors align to TV_TENSOR_ALIGNMENT. Needs no device.
 */
#ifndef TV_VK_PLAN_H
#define TV_VK_PLAN_H

#include <stdint.h>

#include "base/status.h"

/* The largest offset alignment that Vulkan lets a device ask for. */
#define TV_TENSOR_ALIGNMENT UINT64_C(256)

/* One tensor of a plan: it lives from operation `first` to operation `last`, both included. Two items whose
 * lives overlap never share bytes. */
typedef struct tv_plan_item {
    uint64_t bytes;
    uint32_t first, last;
    uint32_t block;  /* set by the plan */
    uint64_t offset; /* set by the plan */
} tv_plan_item;

/* Where the items lie: blocks of at most the device's buffer size. */
typedef struct tv_memory_plan {
    uint64_t *block_bytes;
    uint32_t block_count;
    uint64_t total_bytes;
} tv_memory_plan;

/* Places items in their order, one after another, as gradients lie. `limit` is the bytes of one block.
 * TV_E_FIT when one item is larger. The caller frees the plan with tv_memory_plan_free. */
tv_status tv_memory_plan_sequence(tv_plan_item *items, uint64_t count, uint64_t limit, tv_memory_plan *plan);
/* Places items by first fit in decreasing size. `limit` is the bytes of one block. TV_E_FIT when one item is
 * larger. The caller frees the plan with tv_memory_plan_free. */
tv_status tv_memory_plan_assign(tv_plan_item *items, uint64_t count, uint64_t limit, tv_memory_plan *plan);
void tv_memory_plan_free(tv_memory_plan *plan);

#endif
