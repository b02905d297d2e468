/* Where tensors lie before anything is allocated: see plan.h. */
#include "vk/plan.h"

#include <stdlib.h>

#include "base/bytes.h"

typedef struct sized_item {
    tv_plan_item *item;
    uint64_t number;
} sized_item;

static int compare_size(const void *a, const void *b) {
    const sized_item *x = a, *y = b;
    if (x->item->bytes != y->item->bytes)
        return x->item->bytes > y->item->bytes ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

typedef struct byte_range {
    uint64_t begin, end;
} byte_range;

static int compare_begin(const void *a, const void *b) {
    const byte_range *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* The lowest offset of `block` where `bytes` fit beside the placed items that live at the same time. */
static uint64_t lowest_gap(const sized_item *placed, uint64_t placed_count, const tv_plan_item *item,
                           uint32_t block, byte_range *taken) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < placed_count; i++) {
        const tv_plan_item *other = placed[i].item;
        if (other->block == block && other->first <= item->last && item->first <= other->last)
            taken[count++] =
                (byte_range){other->offset, other->offset + tv_align_up(other->bytes, TV_TENSOR_ALIGNMENT)};
    }
    if (count)
        qsort(taken, count, sizeof *taken, compare_begin);
    uint64_t offset = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (taken[i].begin >= offset && taken[i].begin - offset >= item->bytes)
            break;
        offset = tv_max_u64(offset, taken[i].end);
    }
    return offset;
}

static tv_status check_item(const tv_plan_item *item, uint64_t limit) {
    char needed[32], allowed[32];
    if (tv_align_up(item->bytes, TV_TENSOR_ALIGNMENT) <= limit)
        return TV_OK;
    return tv_fail(TV_E_FIT, "one tensor takes %s and this device gives at most %s in one buffer",
                   tv_format_bytes(item->bytes, needed, sizeof needed),
                   tv_format_bytes(limit, allowed, sizeof allowed));
}

/* Notes that an item with block and offset set belongs to the plan. */
static void add_to_plan(tv_memory_plan *plan, const tv_plan_item *item) {
    if (item->block == plan->block_count)
        plan->block_count++;
    uint64_t end = item->offset + tv_align_up(item->bytes, TV_TENSOR_ALIGNMENT);
    uint64_t *block = &plan->block_bytes[item->block];
    if (end > *block) {
        plan->total_bytes += end - *block;
        *block = end;
    }
}

static tv_status begin_plan(uint64_t count, tv_memory_plan *plan) {
    *plan = (tv_memory_plan){0};
    /* Never more blocks than items. */
    plan->block_bytes = calloc(count + 1, sizeof *plan->block_bytes);
    return plan->block_bytes ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a memory plan");
}

tv_status tv_memory_plan_sequence(tv_plan_item *items, uint64_t count, uint64_t limit, tv_memory_plan *plan) {
    tv_status status;
    uint32_t block = 0;
    uint64_t offset = 0;
    TV_TRY_OR_FAIL(begin_plan(count, plan));
    for (uint64_t i = 0; i < count; i++) {
        TV_TRY_OR_FAIL(check_item(&items[i], limit));
        uint64_t bytes = tv_align_up(items[i].bytes, TV_TENSOR_ALIGNMENT);
        if (offset + bytes > limit) {
            block++;
            offset = 0;
        }
        items[i].block = block;
        items[i].offset = offset;
        offset += bytes;
        add_to_plan(plan, &items[i]);
    }
    return TV_OK;
fail:
    tv_memory_plan_free(plan);
    return status;
}

tv_status tv_memory_plan_assign(tv_plan_item *items, uint64_t count, uint64_t limit, tv_memory_plan *plan) {
    tv_status status;
    sized_item *order = calloc(count + 1, sizeof *order);
    byte_range *taken = calloc(count + 1, sizeof *taken);
    TV_TRY_OR_FAIL(begin_plan(count, plan));
    if (!order || !taken) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a memory plan");
        goto fail;
    }
    for (uint64_t i = 0; i < count; i++)
        order[i] = (sized_item){&items[i], i};
    if (count)
        qsort(order, count, sizeof *order, compare_size);
    for (uint64_t i = 0; i < count; i++) {
        tv_plan_item *item = order[i].item;
        TV_TRY_OR_FAIL(check_item(item, limit));
        for (item->block = 0;; item->block++) {
            item->offset =
                item->block < plan->block_count ? lowest_gap(order, i, item, item->block, taken) : 0;
            if (item->offset + tv_align_up(item->bytes, TV_TENSOR_ALIGNMENT) <= limit)
                break;
        }
        add_to_plan(plan, item);
    }
    free(order);
    free(taken);
    return TV_OK;
fail:
    free(order);
    free(taken);
    tv_memory_plan_free(plan);
    return status;
}

void tv_memory_plan_free(tv_memory_plan *plan) {
    free(plan->block_bytes);
    *plan = (tv_memory_plan){0};
}
