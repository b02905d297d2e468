/* Slices of buckets: see exchange_layout.h. */
#include "train/exchange_layout.h"

#include <stdlib.h>

#include "kernels/update_plan.h"

static uint64_t weight_bytes(const tv_parameter *p, uint64_t count) {
    return tv_align_up(count / p->shape[1] * tv_dtype_row_bytes(p->storage, p->shape[1]),
                       TV_TENSOR_ALIGNMENT);
}

static uint64_t gradient_bytes(tv_dtype type, uint64_t count) {
    return tv_align_up(count * sizeof(float), TV_GRADIENT_ALIGNMENT) / sizeof(float) * tv_dtype_bytes(type);
}

uint32_t tv_exchange_layout_next(const tv_exchange_layout *layout, uint32_t bucket, uint32_t owner,
                                 uint32_t from) {
    for (uint32_t s = from; s-- > layout->buckets[bucket].first;)
        if (layout->all->items[s].owner == owner)
            return s;
    return UINT32_MAX;
}

static tv_status place(const tv_exchange_layout *layout, uint32_t bucket, bool stored, tv_slices *slices) {
    uint64_t at = 0;
    slices->begins = calloc((uint64_t)layout->owners + 1, sizeof *slices->begins);
    slices->places = calloc((uint64_t)layout->all->count + 1, sizeof *slices->places);
    if (!slices->begins || !slices->places)
        return tv_fail(TV_E_MEMORY, "out of host memory for an exchange");
    for (uint32_t r = 0; r < layout->owners; r++) {
        slices->begins[r] = at;
        for (uint32_t s = layout->buckets[bucket].end;
             (s = tv_exchange_layout_next(layout, bucket, r, s)) != UINT32_MAX;) {
            const tv_stretch *stretch = &layout->all->items[s];
            slices->places[s] = at;
            at += stored ? weight_bytes(&layout->list->items[stretch->parameter], stretch->count)
                         : gradient_bytes(layout->type, stretch->count);
        }
    }
    slices->begins[layout->owners] = at;
    return TV_OK;
}

/* Buckets follow each other as their stretches do, the last one first. */
static void find_buckets(tv_exchange_layout *layout) {
    for (uint32_t s = 0; s < layout->all->count; s++) {
        tv_bucket_layout *bucket = &layout->buckets[layout->all->items[s].bucket];
        bucket->first = bucket->end ? bucket->first : s;
        bucket->end = s + 1;
    }
}

static tv_status place_partials(tv_exchange_layout *layout) {
    const tv_stretches *all = layout->all;
    layout->stat_begins = calloc((uint64_t)layout->owners + 1, sizeof(uint64_t));
    layout->partial_places = calloc((uint64_t)all->count + 1, sizeof(uint64_t));
    layout->partial_bytes = calloc((uint64_t)all->count + 1, sizeof(uint64_t));
    layout->partial_begins = calloc((uint64_t)layout->owners + 1, sizeof(uint64_t));
    if (!layout->stat_begins || !layout->partial_places || !layout->partial_bytes || !layout->partial_begins)
        return tv_fail(TV_E_MEMORY, "out of host memory for an exchange");
    uint64_t before = 0;
    for (uint32_t s = 0; s < all->count; s++) {
        const tv_stretch *stretch = &all->items[s];
        const uint64_t whole = layout->list->items[stretch->parameter].count;
        uint64_t at, floats;
        tv_gradient_norm_place(stretch->first, stretch->count, whole, &at, &floats);
        layout->partial_places[s] = (before + at) * sizeof(float);
        layout->partial_bytes[s] = floats * sizeof(float);
        layout->partial_begins[stretch->owner + 1] += floats * sizeof(float);
        if (stretch->first + stretch->count == whole)
            before += tv_gradient_norm_partials(whole);
    }
    for (uint32_t r = 0; r < layout->owners; r++)
        layout->partial_begins[r + 1] =
            layout->partial_begins[r] +
            tv_align_up(layout->partial_begins[r + 1] + sizeof(double), TV_TENSOR_ALIGNMENT);
    for (uint32_t r = 0; r <= layout->owners; r++)
        layout->stat_begins[r] = r * TV_TENSOR_ALIGNMENT;
    return TV_OK;
}

tv_status tv_exchange_layout_create(const tv_parameter_list *list, tv_dtype type, tv_exchange_layout *out) {
    tv_exchange_layout layout = {
        .list = list, .owners = tv_owners_count(list), .own = list->owners.own, .type = type};
    tv_status status;
    TV_TRY(tv_stretches_create(list, &layout.all));
    layout.buckets = calloc((uint64_t)layout.all->bucket_count + 1, sizeof *layout.buckets);
    if (!layout.buckets) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for an exchange");
        goto done;
    }
    find_buckets(&layout);
    for (uint32_t b = 0; b < layout.all->bucket_count; b++) {
        tv_bucket_layout *bucket = &layout.buckets[b];
        TV_TRY(place(&layout, b, false, &bucket->gradients));
        TV_TRY(place(&layout, b, true, &bucket->weights));
        const uint64_t own = tv_slice_bytes(&bucket->gradients, layout.own);
        bucket->taken = bucket->gradients.begins[layout.owners];
        bucket->given = tv_max_u64((layout.owners - 1) * own, bucket->weights.begins[layout.owners]);
        layout.largest = tv_max_u64(layout.largest, own);
    }
    TV_TRY(place_partials(&layout));
done:
    if (status != TV_OK)
        tv_exchange_layout_free(&layout);
    *out = layout;
    return status;
}

void tv_exchange_layout_free(tv_exchange_layout *layout) {
    for (uint32_t b = 0; layout->buckets && b < layout->all->bucket_count; b++) {
        free(layout->buckets[b].gradients.begins);
        free(layout->buckets[b].gradients.places);
        free(layout->buckets[b].weights.begins);
        free(layout->buckets[b].weights.places);
    }
    free(layout->buckets);
    free(layout->stat_begins);
    free(layout->partial_places);
    free(layout->partial_bytes);
    free(layout->partial_begins);
    tv_stretches_destroy(&layout->all);
    *layout = (tv_exchange_layout){0};
}
