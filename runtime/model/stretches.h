/* Which process keeps the moments and masters of what (ZeRO 1: Rajbhandari et al. 2020), and in which buckets
 * gradients go round.
 *
 * Promise: a pure function of a parameter list and the number of its owners, so that all of them see the
 * same. Every element of what is trained is in one stretch, of one owner. Stretches are cut where nothing
 * depends on the cut: at whole blocks of the norm's sums, pieces of 8-bit moments and rows of weights; a
 * matrix of Muon is whole. Buckets follow the backward pass, from the end of
 * the list to its beginning, whole layers as far as they are not too large, and each is divided about evenly.
 * With one owner a stretch is a parameter.
 */
#ifndef TV_MODEL_STRETCHES_H
#define TV_MODEL_STRETCHES_H

#include "model/parameters.h"

typedef struct tv_stretch {
    uint32_t parameter; /* position in the list */
    uint32_t owner, bucket;
    uint64_t first, count; /* elements of the parameter */
} tv_stretch;

typedef struct tv_stretches {
    tv_stretch *items; /* in the order of the list, those of a parameter rising */
    uint32_t count, bucket_count;
} tv_stretches;

tv_status tv_stretches_create(const tv_parameter_list *list, tv_stretches **stretches);
void tv_stretches_destroy(tv_stretches **stretches);

/* Of the whole owners' count, which is 1 at least. */
uint32_t tv_owners_count(const tv_parameter_list *list);

#endif
