/* The exchange of groups' gradients between ranks, through memory that the host and the device see.
 *
 * Promise: groups go into the sums in their order, whoever computed them, so that the sums have the bits that
 * one rank would have made. Group g is of rank g modulo their number.
 */
#ifndef TV_TRAIN_EXCHANGE_H
#define TV_TRAIN_EXCHANGE_H

#include "train/ranks.h"
#include "vk/memory.h"
#include "vk/submit.h"

typedef struct tv_exchange tv_exchange;

/* `parts`: what a group makes (gradients, statistics), on the device. `add` adds them to the sums and makes
 * them 0; it may be submitted again while it runs, and outlives the exchange or is set anew. */
tv_status tv_exchange_create(tv_ranks *ranks, tv_device *device, const tv_span *parts, uint32_t count,
                             tv_exchange **exchange);
void tv_exchange_destroy(tv_exchange **exchange);
/* Bytes of the device's memory (that the host sees) for parts of so many bytes in all. */
uint64_t tv_exchange_bytes(uint64_t parts);

/* By all ranks, when each has submitted the work of one group: the groups of all, in the order of the ranks,
 * go into the sums. *value is reached when they have. */
tv_status tv_exchange_round(tv_exchange *exchange, tv_recording *add, uint64_t *value);

#endif
