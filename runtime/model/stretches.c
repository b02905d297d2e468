/* Cutting parameters for their owners: see stretches.h. */
#include "model/stretches.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "kernels/update_plan.h"
#include "sizes.h"

/* Large enough that what a transfer costs beside its bytes is little; a model has eight of them at least. */
static const uint64_t bucket_elements = UINT64_C(1) << 20, most_elements = UINT64_C(1) << 26;
enum { LEAST_BUCKETS = 8 };

typedef struct cutting {
    const tv_parameter_list *list;
    tv_stretches *all;
    uint64_t capacity;
    uint64_t *loads; /* (owners): bytes of moments */
    uint32_t owners;
} cutting;

uint32_t tv_owners_count(const tv_parameter_list *list) {
    return list->owners.count ? list->owners.count : 1;
}

static tv_status append(cutting *c, tv_stretch stretch) {
    tv_stretches *all = c->all;
    if (!all->items || all->count == c->capacity) {
        c->capacity = 2 * c->capacity + 64;
        tv_stretch *more = realloc(all->items, c->capacity * sizeof *more);
        if (!more)
            return tv_fail(TV_E_MEMORY, "out of host memory for the parts of a model");
        all->items = more;
    }
    all->items[all->count++] = stretch;
    return TV_OK;
}

static bool is_muon(const tv_parameter *p) {
    return p->optimizer == TV_OPTIMIZER_MUON;
}

static uint64_t moment_bytes(const tv_parameter *p) {
    return p->optimizer == TV_OPTIMIZER_ADAMW8 ? 2 : is_muon(p) ? sizeof(float) : 2 * sizeof(float);
}

/* Elements at whose multiples a parameter may be cut; as many as it has where it may not. */
static uint64_t granule_of(const tv_parameter *p) {
    uint64_t granule =
        p->optimizer == TV_OPTIMIZER_ADAMW8 ? tv_update_moment8_granule() : (uint64_t)TV_REDUCE_BLOCK;
    granule *=
        tv_max_u64(1, p->shape[1] / tv_gcd_u64(granule, p->shape[1])); /* an analyzer sees no divisor */
    /* Elements that are no fours take another kernel, and its rounding might be another. */
    return is_muon(p) || p->count % 4 || granule >= p->count ? p->count : granule;
}

static uint32_t least_loaded(const cutting *c) {
    uint32_t least = 0;
    for (uint32_t r = 1; r < c->owners; r++)
        least = c->loads[r] < c->loads[least] ? r : least;
    return least;
}

static tv_status give(cutting *c, tv_stretch stretch) {
    const tv_parameter *p = &c->list->items[stretch.parameter];
    stretch.owner = least_loaded(c);
    c->loads[stretch.owner] += stretch.count * moment_bytes(p);
    return append(c, stretch);
}

/* Matrix by matrix, where each begins with a block of the norm's; else all of them go together. */
static tv_status give_matrices(cutting *c, tv_stretch whole) {
    const tv_parameter *p = &c->list->items[whole.parameter];
    uint64_t rows[TV_PARAMETER_MATRICES];
    const uint32_t count = tv_parameter_matrices(&c->list->config, p, rows);
    bool apart = count > 0;
    for (uint32_t m = 0; m + 1 < count; m++)
        apart = apart && rows[m] * p->shape[1] % TV_REDUCE_BLOCK == 0;
    if (!apart)
        return give(c, whole);
    for (uint32_t m = 0; m < count; m++) {
        whole.count = rows[m] * p->shape[1];
        TV_RETURN_IF_FAILED(give(c, whole));
        whole.first += whole.count;
    }
    return TV_OK;
}

/* To whoever has least, up to what each should have. */
static tv_status give_cut(cutting *c, tv_stretch whole, uint64_t fair) {
    const tv_parameter *p = &c->list->items[whole.parameter];
    const uint64_t granule = granule_of(p), each = moment_bytes(p);
    for (uint64_t left = whole.count, count; left > 0; left -= count) {
        const uint64_t load = c->loads[least_loaded(c)], room = fair > load ? (fair - load) / each : 0;
        count = tv_max_u64(1, (room + granule / 2) / granule) * granule;
        if (count >= left || left - count < granule / 2)
            count = left;
        TV_RETURN_IF_FAILED(
            give(c, (tv_stretch){whole.parameter, 0, whole.bucket, whole.first + whole.count - left, count}));
    }
    return TV_OK;
}

/* Parameters [first, end) of the list, of which `part` is in the bucket where they are one. */
static tv_status give_bucket(cutting *c, uint32_t first, uint32_t end, const tv_part *part) {
    uint64_t sum = 0;
    const uint32_t bucket = c->all->bucket_count++;
    for (uint32_t r = 0; r < c->owners; r++)
        sum += c->loads[r];
    for (int muon = 1; muon >= 0; muon--)
        for (uint32_t i = first; i < end; i++) {
            const tv_parameter *p = &c->list->items[i];
            const tv_stretch whole = {i, 0, bucket, part ? part->first : 0, part ? part->count : p->count};
            if (!p->trainable || is_muon(p) != (muon == 1))
                continue;
            if (muon)
                TV_RETURN_IF_FAILED(give_matrices(c, whole));
            sum += whole.count * moment_bytes(p);
        }
    for (uint32_t i = first; i < end; i++) {
        const tv_parameter *p = &c->list->items[i];
        const tv_stretch whole = {i, 0, bucket, part ? part->first : 0, part ? part->count : p->count};
        if (!p->trainable || is_muon(p))
            continue;
        TV_RETURN_IF_FAILED(granule_of(p) == p->count ? give(c, whole)
                                                      : give_cut(c, whole, sum / tv_max_u64(1, c->owners)));
    }
    return TV_OK;
}

/* From the end of the list on, as the backward pass goes. */
static tv_status give_all(cutting *c) {
    const tv_parameter *items = c->list->items;
    const uint64_t aim = tv_min_u64(bucket_elements, c->list->trainable_elements / LEAST_BUCKETS);
    uint64_t elements = 0;
    uint32_t end = c->list->count;
    for (uint32_t i = c->list->count; i-- > 0;) {
        elements += items[i].trainable ? items[i].count : 0;
        const uint64_t granule = tv_max_u64(1, granule_of(&items[i]));
        const bool next_large = i > 0 && items[i - 1].trainable && items[i - 1].count > most_elements;
        if (items[i].trainable && items[i].count > most_elements && granule < items[i].count) {
            tv_part part = {0};
            while (tv_next_part(&part, items[i].count, tv_max_u64(1, most_elements / granule) * granule))
                TV_RETURN_IF_FAILED(give_bucket(c, i, i + 1, &part));
        } else if (i > 0 && !next_large && elements < most_elements &&
                   (elements <= aim || items[i - 1].layer == items[i].layer)) {
            continue;
        } else if (elements > 0) {
            TV_RETURN_IF_FAILED(give_bucket(c, i, end, NULL));
        }
        end = i;
        elements = 0;
    }
    return TV_OK;
}

static int compare(const void *a, const void *b) {
    const tv_stretch *x = a, *y = b;
    if (x->parameter != y->parameter)
        return x->parameter < y->parameter ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

tv_status tv_stretches_create(const tv_parameter_list *list, tv_stretches **out) {
    tv_status status = TV_OK;
    cutting c = {.list = list, .owners = tv_owners_count(list)};
    *out = NULL;
    c.all = calloc(1, sizeof *c.all);
    c.loads = calloc(c.owners, sizeof *c.loads);
    if (!c.all || !c.loads) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the parts of a model");
        goto done;
    }
    if (c.owners > 1) {
        TV_TRY(give_all(&c));
        if (c.all->items)
            qsort(c.all->items, c.all->count, sizeof *c.all->items, compare);
    }
    for (uint32_t i = 0; c.owners == 1 && i < list->count; i++)
        if (list->items[i].trainable)
            TV_TRY(append(&c, (tv_stretch){.parameter = i, .count = list->items[i].count}));
    *out = c.all;
    c.all = NULL;
done:
    free(c.loads);
    tv_stretches_destroy(&c.all);
    return status;
}

void tv_stretches_destroy(tv_stretches **handle) {
    if (!*handle)
        return;
    free((*handle)->items);
    free(*handle);
    *handle = NULL;
}
