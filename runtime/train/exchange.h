/* What ranks hand each other in a step, through memory that the host and the device see: gradients of groups,
 * partial sums of their norm, weights.
 *
 * Promise: each rank keeps the sums of its own stretches (model/stretches.h), gets all groups for them, and
 * adds these in the order of the groups, so that the sums have the bits that one rank would have made. Group
 * g is of rank g modulo their number. Buckets go round in the order in which the backward pass finishes them,
 * while it goes on, in fp32, or rounded to bf16 with the error kept in the model (kernels/group_add.h). Sums,
 * norms and weights keep their types. Waiting costs no processor.
 */
#ifndef TV_TRAIN_EXCHANGE_H
#define TV_TRAIN_EXCHANGE_H

#include "model/model.h"
#include "train/ranks.h"
#include "vk/submit.h"

typedef struct tv_exchange tv_exchange;

/* What goes round besides the model's gradients and weights. */
typedef struct tv_exchange_tensors {
    tv_tensor stats;     /* of a group, TV_HEAD_STATS: 0 behind its end */
    tv_tensor stat_sums; /* of all groups */
    tv_tensor partials;  /* of the gradient norm */
    tv_tensor state;     /* struct tv_update_state; absent: gradients go round in fp32 */
} tv_exchange_tensors;

/* Bytes of the device's memory, most of which the host sees, for a list with several owners and gradients
 * that go round as `type`. */
tv_status tv_exchange_measure(const tv_parameter_list *list, tv_dtype type, uint64_t *bytes);
/* By all, of models whose owners are the ranks and which keep sums; gradients go round in bf16 where `state`
 * is there, of models which keep errors. What other ranks keep can be asked for (tv_ranks_ask) as long as it
 * is there. */
tv_status tv_exchange_create(tv_ranks *ranks, tv_model *model, const tv_exchange_tensors *tensors,
                             tv_exchange **exchange);
void tv_exchange_destroy(tv_exchange **exchange);

/* A tv_gradients_finished, for the last micro-batch of a group: takes each bucket that is finished, cuts the
 * recording behind it, and makes its gradients 0; statistics go with the last one, at index 0. */
tv_status tv_exchange_record_take(void *exchange, tv_recorder *recorder, uint32_t index);

/* By all, when each has submitted `taking`, the last micro-batch of a group: the groups of all, in the order
 * of the ranks, go into the sums. *value is reached when they have. */
tv_status tv_exchange_round(tv_exchange *exchange, const tv_recording *taking, uint64_t *value);

/* Behind the partial sums of this rank's stretches: hands them to the host. */
tv_status tv_exchange_record_partials(tv_exchange *exchange, tv_recorder *recorder);
/* By all, when `value` is reached behind that: everybody has the partial sums of everybody. */
tv_status tv_exchange_partials(tv_exchange *exchange, uint64_t value);
/* By all, behind the update, or where masters were loaded: everybody has everybody's weights. */
tv_status tv_exchange_weights(tv_exchange *exchange);

/* The rank that the others waited for in the rounds before the last tv_exchange_partials, and the seconds
 * that the one that waited longest waited longer than it. */
typedef struct tv_exchange_wait {
    uint32_t rank;
    double seconds;
} tv_exchange_wait;
tv_exchange_wait tv_exchange_last_wait(const tv_exchange *exchange);

#endif
