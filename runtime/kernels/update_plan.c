/* Cutting tensors into segments and putting those together: see update_plan.h. */
#include "kernels/update_plan.h"

#include <stdlib.h>

#include "sizes.h"

enum { FLOATS_PER_BLOCK = 2, VECTOR = 4 };
static const uint64_t partial_granule = TV_TENSOR_ALIGNMENT / sizeof(float);
static const uint64_t aligned_pieces = 4 * TV_MOMENT_PIECE;
_Static_assert(4 * TV_MOMENT_WORDS * sizeof(uint32_t) % TV_TENSOR_ALIGNMENT == 0 &&
                   TV_MOMENT_PIECE % TV_REDUCE_BLOCK == 0,
               "segments begin where bindings may");
/* 8 GB that AdamW moves: a fifth of a second on the slowest GPUs, which desktops' watchdogs let pass. */
static const uint64_t most_of_a_dispatch = UINT64_C(1) << 28;

uint64_t tv_gradient_norm_partials(uint64_t count) {
    return tv_align_up(FLOATS_PER_BLOCK * tv_div_up(count, TV_REDUCE_BLOCK), partial_granule);
}

void tv_gradient_norm_place(uint64_t first, uint64_t count, uint64_t whole, uint64_t *place,
                            uint64_t *partials) {
    *place = first / TV_REDUCE_BLOCK * FLOATS_PER_BLOCK;
    *partials = first + count == whole ? tv_gradient_norm_partials(whole) - *place
                                       : tv_div_up(count, TV_REDUCE_BLOCK) * FLOATS_PER_BLOCK;
}

uint64_t tv_moment8_words(uint64_t count) {
    if (count < TV_MOMENT_PIECE || count % VECTOR)
        return 0;
    return tv_div_up(count, TV_MOMENT_PIECE) * TV_MOMENT_WORDS;
}

uint64_t tv_update_moment8_granule(void) {
    return aligned_pieces;
}

bool tv_moment8_is_sound(const uint32_t *words) {
    for (uint32_t b = 0; b < TV_MOMENT_PIECE / TV_MOMENT_BLOCK; b++) {
        uint32_t exponent = words[TV_MOMENT_PIECE / 4 + b];
        if (exponent != 0 && (exponent < TV_MOMENT_LEAST_EXPONENT || exponent > TV_MOMENT_MOST_EXPONENT))
            return false;
    }
    return true;
}

/* Elements of a segment that the device binds at once: whole blocks of the norm's, and pieces of 8-bit
 * moments up to where those are aligned, if so many are bound. */
static tv_status elements_at_once(const tv_caps *caps, uint64_t *elements) {
    uint64_t bound = tv_min_u64(caps->storage_range / sizeof(float), most_of_a_dispatch);
    uint64_t granule = bound < aligned_pieces ? TV_REDUCE_BLOCK : aligned_pieces;
    *elements = bound / granule * granule;
    if (*elements == 0)
        return tv_fail(TV_E_FIT, "the update needs bindings of %llu bytes and this device binds %llu",
                       (unsigned long long)(TV_REDUCE_BLOCK * sizeof(float)),
                       (unsigned long long)caps->storage_range);
    return TV_OK;
}

tv_status tv_update_segments(const tv_caps *caps, uint64_t count, uint64_t *segments) {
    uint64_t most;
    *segments = 0;
    TV_RETURN_IF_FAILED(elements_at_once(caps, &most));
    /* In the norm and in the update; the weights', whose rows begin on aligned bytes, may be half as long. */
    *segments = 4 * tv_div_up(count, most);
    return TV_OK;
}

/* ---- planning ---- */

typedef struct segment {
    uint32_t group;
    struct tv_update_segment words; /* without the places in bindings */
    tv_span spans[TV_UPDATE_SPANS];
} segment;

typedef struct planning {
    const tv_caps *caps;
    tv_update_plan *plan;
    segment *segments;
    uint64_t most; /* elements of a segment */
} planning;

static uint64_t elements_of_workgroup(tv_update_pass pass) {
    switch (pass) {
    case TV_PASS_NORM:
        return TV_REDUCE_BLOCK;
    case TV_PASS_ADAMW_VECTORS:
        return (uint64_t)tv_program_get(TV_PROGRAM_adamw_vec4)->local_size * TV_ADAMW_VECTORS * VECTOR;
    case TV_PASS_ADAMW8:
        return TV_MOMENT_PIECE;
    default:
        return (uint64_t)tv_program_get(TV_PROGRAM_adamw_scalar)->local_size * TV_ADAMW_VECTORS;
    }
}

static bool is_narrow(tv_update_pass pass) {
    return pass == TV_PASS_NARROW_F16 || pass == TV_PASS_NARROW_BF16 || pass == TV_PASS_NARROW_Q8_0;
}

static uint64_t workgroups_of(tv_update_pass pass, const struct tv_update_segment *s) {
    if (!is_narrow(pass))
        return tv_div_up(s->count, elements_of_workgroup(pass));
    /* An invocation makes words of two elements, or pairs of blocks. */
    uint64_t each =
        pass == TV_PASS_NARROW_Q8_0 ? tv_div_up(s->columns / TV_DTYPE_BLOCK, 2) : tv_div_up(s->columns, 2);
    uint64_t local = tv_program_get(TV_PROGRAM_narrow_bf16)->local_size;
    return tv_div_up(s->count / s->columns * each, local * TV_NARROW_EACH);
}

static bool is_present(tv_span span) {
    return span.buffer != NULL;
}

/* Whether the group takes the segment, and its spans then. */
static bool takes(const planning *p, const tv_update_group *group, tv_update_pass pass, const segment *s,
                  tv_span hulls[TV_UPDATE_SPANS]) {
    if (group->pass != pass || group->count + s->words.count > most_of_a_dispatch)
        return false;
    for (int i = 0; i < TV_UPDATE_SPANS; i++) {
        hulls[i] = group->spans[i];
        if (group->spans[i].buffer != s->spans[i].buffer)
            return false;
        if (!is_present(s->spans[i]))
            continue;
        hulls[i] = tv_span_hull(group->spans[i], s->spans[i]);
        if (!tv_span_poisoned(hulls[i]) && hulls[i].bytes > p->caps->storage_range)
            return false;
    }
    return true;
}

static void put(planning *p, tv_update_pass pass, segment *s) {
    tv_update_plan *plan = p->plan;
    tv_span hulls[TV_UPDATE_SPANS];
    uint32_t g = plan->group_count;
    while (g > 0 && !takes(p, &plan->groups[g - 1], pass, s, hulls))
        g--;
    if (g == 0) {
        for (int i = 0; i < TV_UPDATE_SPANS; i++)
            hulls[i] = s->spans[i];
        g = ++plan->group_count;
        plan->groups[g - 1] = (tv_update_group){.pass = pass};
    }
    tv_update_group *group = &plan->groups[g - 1];
    for (int i = 0; i < TV_UPDATE_SPANS; i++)
        group->spans[i] = hulls[i];
    s->group = g - 1;
    s->words.first_group = (uint32_t)group->workgroups;
    group->workgroups += workgroups_of(pass, &s->words);
    group->count += s->words.count;
    group->segments++;
    p->segments[plan->segment_count++] = *s;
}

static uint64_t whole_of(const tv_update_tensor *tensor) {
    return tensor->whole ? tensor->whole : tensor->count;
}

/* The partial sums of a tensor begin where p->plan->partials was before its first stretch. */
static void put_norm(planning *p, const tv_update_tensor *tensor) {
    const uint64_t whole = whole_of(tensor), floats = tv_gradient_norm_partials(whole);
    if (tensor->first == 0)
        p->plan->partials += floats;
    const uint64_t first = p->plan->partials - floats;
    tv_part part = {0};
    while (tensor->rule != TV_UPDATE_FOREIGN && tv_next_part(&part, tensor->count, p->most)) {
        uint64_t begin = tensor->first + part.first, place, partials,
                 pairs = tv_div_up(part.count, TV_REDUCE_BLOCK) * FLOATS_PER_BLOCK;
        tv_gradient_norm_place(begin, part.count, whole, &place, &partials);
        put(p, TV_PASS_NORM,
            &(segment){.words = {.count = (uint32_t)part.count,
                                 .partial = (uint32_t)(first + place),
                                 .padding = (uint32_t)(partials - pairs)},
                       .spans = {[TV_UPDATE_GRADIENT] =
                                     tv_tensor_rows(tensor->gradient, 1, part.first, part.count).span}});
    }
}

static void put_adamw(planning *p, const tv_update_tensor *t) {
    tv_part part = {0};
    while (tv_next_part(&part, t->count, p->most))
        put(p, part.count % VECTOR == 0 ? TV_PASS_ADAMW_VECTORS : TV_PASS_ADAMW_SCALARS,
            &(segment){
                .words = {.count = (uint32_t)part.count, .decay = t->decay},
                .spans = {[TV_UPDATE_PARAMETER] =
                              tv_tensor_rows(t->parameter, 1, part.first, part.count).span,
                          [TV_UPDATE_GRADIENT] = tv_tensor_rows(t->gradient, 1, part.first, part.count).span,
                          [TV_UPDATE_M] = tv_tensor_rows(t->m, 1, part.first, part.count).span,
                          [TV_UPDATE_V] = tv_tensor_rows(t->v, 1, part.first, part.count).span}});
}

static tv_span piece_span(tv_tensor moment, const tv_part *part) {
    return tv_tensor_rows(moment, TV_MOMENT_WORDS, part->first / TV_MOMENT_PIECE,
                          tv_div_up(part->count, TV_MOMENT_PIECE))
        .span;
}

static tv_status put_adamw8(planning *p, const tv_update_tensor *t) {
    if (!tv_moment8_words(whole_of(t)))
        return tv_fail(TV_E_USAGE, "a tensor of %llu elements has no moments of 8 bits",
                       (unsigned long long)whole_of(t));
    if (p->most < tv_min_u64(t->count, aligned_pieces))
        return tv_fail(TV_E_FIT, "moments of 8 bits need bindings of %llu bytes and this device binds %llu",
                       (unsigned long long)(aligned_pieces * sizeof(float)),
                       (unsigned long long)p->caps->storage_range);
    tv_part part = {0};
    while (tv_next_part(&part, t->count, p->most))
        put(p, TV_PASS_ADAMW8,
            &(segment){
                .words = {.count = (uint32_t)part.count,
                          .decay = t->decay,
                          .number = t->number,
                          .first_vector = (uint32_t)((t->first + part.first) / VECTOR)},
                .spans = {[TV_UPDATE_PARAMETER] =
                              tv_tensor_rows(t->parameter, 1, part.first, part.count).span,
                          [TV_UPDATE_GRADIENT] = tv_tensor_rows(t->gradient, 1, part.first, part.count).span,
                          [TV_UPDATE_M] = piece_span(t->m, &part),
                          [TV_UPDATE_V] = piece_span(t->v, &part)}});
    return TV_OK;
}

static tv_status put_narrow(planning *p, const tv_update_tensor *t) {
    static const struct {
        tv_dtype dtype;
        tv_update_pass pass;
    } passes[] = {
        {TV_F16, TV_PASS_NARROW_F16}, {TV_BF16, TV_PASS_NARROW_BF16}, {TV_Q8_0, TV_PASS_NARROW_Q8_0}};
    const uint64_t master_bytes = t->columns * sizeof(float), range = p->caps->storage_range,
                   bytes = tv_dtype_row_bytes(t->weights.dtype, t->columns);
    size_t i = 0;
    while (i < TV_COUNT(passes) && passes[i].dtype != t->weights.dtype)
        i++;
    if (i == TV_COUNT(passes))
        return tv_fail(TV_E_USAGE, "trained weights cannot be stored as %s", tv_dtype_name(t->weights.dtype));
    if (master_bytes == 0 || !tv_dtype_takes(t->weights.dtype, t->columns))
        return tv_fail(TV_E_USAGE, "rows of %llu elements cannot be stored as %s",
                       (unsigned long long)t->columns, tv_dtype_name(t->weights.dtype));
    uint64_t granule = tv_max_u64(TV_TENSOR_ALIGNMENT / tv_gcd_u64(TV_TENSOR_ALIGNMENT, master_bytes),
                                  TV_TENSOR_ALIGNMENT / tv_gcd_u64(TV_TENSOR_ALIGNMENT, bytes));
    uint64_t rows = t->count / t->columns,
             most = tv_min_u64(range / tv_max_u64(bytes, master_bytes), most_of_a_dispatch / t->columns);
    if (most < rows)
        most = most / granule * granule;
    if (most == 0)
        return tv_fail(
            TV_E_FIT, "the update needs bindings of %llu rows of %llu bytes and this device binds %llu bytes",
            (unsigned long long)granule, (unsigned long long)master_bytes, (unsigned long long)range);
    tv_part part = {0};
    while (tv_next_part(&part, rows, most))
        put(p, passes[i].pass,
            &(segment){
                .words = {.count = (uint32_t)(part.count * t->columns), .columns = (uint32_t)t->columns},
                .spans = {[TV_UPDATE_PARAMETER] =
                              tv_tensor_rows(t->parameter, t->columns, part.first, part.count).span,
                          [TV_UPDATE_WEIGHTS] =
                              tv_tensor_weight_rows(t->weights, t->columns, part.first, part.count).span}});
    return TV_OK;
}

/* From the group's binding on; a poisoned one is refused when it is recorded. */
static uint32_t place(const tv_update_group *group, const segment *s, int which) {
    if (!is_present(s->spans[which]))
        return 0;
    return (uint32_t)((s->spans[which].offset - group->spans[which].offset) / sizeof(float));
}

/* Segments of a group stand together, in the order of their workgroups. */
static void lay_out(const planning *p) {
    tv_update_plan *plan = p->plan;
    uint32_t first = 0;
    for (uint32_t g = 0; g < plan->group_count; g++) {
        tv_update_group *group = &plan->groups[g];
        group->first = first;
        for (uint64_t i = 0; i < plan->segment_count; i++) {
            const segment *s = &p->segments[i];
            if (s->group != g)
                continue;
            struct tv_update_segment *words = &plan->table[first++];
            *words = s->words;
            words->parameter = place(group, s, TV_UPDATE_PARAMETER);
            words->gradient = place(group, s, TV_UPDATE_GRADIENT);
            words->m = place(group, s, TV_UPDATE_M);
            words->v = place(group, s, TV_UPDATE_V);
            words->weights = place(group, s, TV_UPDATE_WEIGHTS);
        }
    }
}

tv_status tv_update_plan_create(const tv_caps *caps, const tv_update_tensor *tensors, uint32_t count,
                                tv_update_plan **out) {
    tv_status status;
    planning p = {.caps = caps};
    uint64_t most = 0;
    *out = NULL;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t segments;
        TV_RETURN_IF_FAILED(tv_update_segments(caps, tensors[i].count, &segments));
        most += segments;
    }
    TV_RETURN_IF_FAILED(elements_at_once(caps, &p.most));
    p.segments = calloc(most + 1, sizeof *p.segments);
    tv_update_plan *plan = p.plan = calloc(1, sizeof *plan);
    if (plan) {
        plan->table = calloc(most + 1, sizeof *plan->table);
        plan->groups = calloc(most + 1, sizeof *plan->groups);
    }
    if (!p.segments || !plan || !plan->table || !plan->groups) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the plan of an update");
        goto fail;
    }
    for (uint32_t i = 0; i < count; i++)
        if (tensors[i].rule != TV_UPDATE_NARROW)
            put_norm(&p, &tensors[i]);
    for (uint32_t i = 0; i < count; i++) {
        if (tensors[i].rule == TV_UPDATE_ADAMW)
            put_adamw(&p, &tensors[i]);
        else if (tensors[i].rule == TV_UPDATE_ADAMW8)
            TV_TRY_OR_FAIL(put_adamw8(&p, &tensors[i]));
    }
    for (uint32_t i = 0; i < count; i++)
        if (tv_tensor_present(tensors[i].weights))
            TV_TRY_OR_FAIL(put_narrow(&p, &tensors[i]));
    lay_out(&p);
    free(p.segments);
    *out = plan;
    return TV_OK;
fail:
    free(p.segments);
    tv_update_plan_destroy(&plan);
    return status;
}

void tv_update_plan_destroy(tv_update_plan **handle) {
    tv_update_plan *plan = *handle;
    *handle = NULL;
    if (!plan)
        return;
    free(plan->table);
    free(plan->groups);
    free(plan);
}
