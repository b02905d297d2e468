/* Where the stretches of a bucket lie in what ranks hand each other.
 *
 * Promise: slices of the owners one behind the other, in each the owner's stretches as its sums lie (the last
 * one of the list first), each aligned to TV_TENSOR_ALIGNMENT; gradients as they lie in the sums, at half the
 * offsets where they are bf16. The same on every rank.
 */
#ifndef TV_TRAIN_EXCHANGE_LAYOUT_H
#define TV_TRAIN_EXCHANGE_LAYOUT_H

#include "model/model.h"

typedef struct tv_slices {
    uint64_t *begins; /* (owners + 1): bytes */
    uint64_t *places; /* (stretches): of each one of the bucket, in the whole */
} tv_slices;

typedef struct tv_bucket_layout {
    uint32_t first, end;          /* its stretches */
    tv_slices gradients, weights; /* in the type that they go round in; as stored */
    uint64_t taken, given;        /* bytes of what the host sees: own groups and weights; others' */
} tv_bucket_layout;

typedef struct tv_exchange_layout {
    const tv_parameter_list *list;
    tv_stretches *all;
    uint32_t owners, own;
    tv_dtype type;             /* of gradients: fp32 or bf16 */
    tv_bucket_layout *buckets; /* (all->bucket_count) */
    uint64_t largest;          /* own slice of gradients of any bucket */
    uint64_t *stat_begins;     /* (owners + 1): of the owners' statistics */
    uint64_t *partial_places;  /* (all->count): bytes into the norm's partial sums */
    uint64_t *partial_bytes;   /* (all->count) */
    uint64_t *partial_begins; /* (owners + 1): in what goes round; each slice ends with the owner's seconds of
                                 waiting */
} tv_exchange_layout;

tv_status tv_exchange_layout_create(const tv_parameter_list *list, tv_dtype type, tv_exchange_layout *layout);
void tv_exchange_layout_free(tv_exchange_layout *layout);
/* An owner's stretches of a bucket in the order in which they lie within a slice: `from` is the bucket's end
 * at first, then the last one that was returned; UINT32_MAX behind the last. */
uint32_t tv_exchange_layout_next(const tv_exchange_layout *layout, uint32_t bucket, uint32_t owner,
                                 uint32_t from);
static inline uint64_t tv_slice_bytes(const tv_slices *slices, uint32_t owner) {
    return slices->begins[owner + 1] - slices->begins[owner];
}

#endif
