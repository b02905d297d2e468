/* What a model has of its trained parameters besides weights: gradients of all, and masters, moments and sums
 * of groups of its own stretches; errors of its groups. See model.h. */
#include <stdlib.h>

#include "kernels/group_add.h"
#include "kernels/update_plan.h"
#include "model/model_own.h"

static const char *const class_names[TV_CLASS_COUNT] = {"fp32 masters", "first moments", "second moments",
                                                        "sums of gradients"};

/* ---- sizes ---- */

static bool has_master(const tv_parameter *p) {
    return p->trainable && p->storage != TV_F32;
}

static uint64_t gradient_bytes(const tv_parameter *p) {
    return p->trainable ? p->count * sizeof(float) : 0;
}

static bool has_codes(const tv_parameter *p) {
    return p->optimizer == TV_OPTIMIZER_ADAMW8;
}

/* Of `count` elements of a parameter, or of all of it. */
static uint64_t bytes_of(const tv_parameter *p, tv_trained_class which, uint64_t count) {
    const bool moment = which == TV_CLASS_MOMENT_1 || which == TV_CLASS_MOMENT_2;
    if ((which == TV_CLASS_MASTERS && !has_master(p)) ||
        (which == TV_CLASS_MOMENT_2 && p->optimizer == TV_OPTIMIZER_MUON))
        return 0;
    if (moment && has_codes(p))
        return tv_div_up(count, TV_MOMENT_PIECE) * TV_MOMENT_WORDS * sizeof(uint32_t);
    return count * sizeof(float);
}

/* Backward finishes the head's end of the list first, the embeddings last; so everything lies in reverse,
 * and `items[count - 1 - i]` belongs to parameter, or own stretch, i. */
static tv_plan_item *item_of(tv_plan_item *items, uint32_t count, uint32_t index) {
    return &items[count - 1 - index];
}

/* Items whose bytes are set, aligned as gradients are. */
static tv_status plan_aligned(tv_plan_item *items, uint32_t count, const tv_caps *caps,
                              tv_memory_plan *plan) {
    const uint64_t limit = caps->buffer_bytes / TV_GRADIENT_ALIGNMENT * TV_GRADIENT_ALIGNMENT;
    uint64_t *bytes = calloc((uint64_t)count + 1, sizeof *bytes);
    if (!bytes)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model");
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = items[i].bytes;
        items[i].bytes = tv_align_up(bytes[i], TV_GRADIENT_ALIGNMENT);
    }
    tv_status status = tv_memory_plan_sequence(items, count, limit, plan);
    for (uint32_t i = 0; i < count; i++)
        items[i].bytes = bytes[i];
    free(bytes);
    return status;
}

static tv_status plan_gradients(const tv_parameter_list *list, const tv_caps *caps, tv_plan_item *items,
                                tv_memory_plan *plan) {
    for (uint32_t i = 0; i < list->count; i++)
        *item_of(items, list->count, i) = (tv_plan_item){.bytes = gradient_bytes(&list->items[i])};
    return plan_aligned(items, list->count, caps, plan);
}

static tv_status plan_class(const tv_parameter_list *list, const tv_stretches *all, const uint32_t *own,
                            uint32_t count, const tv_caps *caps, tv_trained_class which, tv_plan_item *items,
                            tv_memory_plan *plan) {
    for (uint32_t k = 0; k < count; k++) {
        const tv_stretch *s = &all->items[own[k]];
        *item_of(items, count, k) =
            (tv_plan_item){.bytes = bytes_of(&list->items[s->parameter], which, s->count)};
    }
    return which == TV_CLASS_SUMS ? plan_aligned(items, count, caps, plan)
                                  : tv_memory_plan_sequence(items, count, caps->buffer_bytes, plan);
}

/* Numbers of this owner's stretches; the caller frees. */
static tv_status find_own(const tv_parameter_list *list, const tv_stretches *all, uint32_t **own,
                          uint32_t *count) {
    *count = 0;
    *own = calloc(all->count + 1, sizeof **own);
    if (!*own)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model");
    for (uint32_t s = 0; s < all->count; s++)
        if (all->items[s].owner == list->owners.own)
            (*own)[(*count)++] = s;
    return TV_OK;
}

tv_status tv_model_measure_trained(const tv_parameter_list *list, const tv_caps *caps,
                                   tv_model_bytes *bytes) {
    tv_memory_plan plan = {0};
    tv_stretches *all = NULL;
    uint32_t *own = NULL, count;
    uint64_t sums[TV_CLASS_COUNT] = {0};
    tv_plan_item *items = NULL;
    tv_status status;
    TV_TRY(tv_stretches_create(list, &all));
    TV_TRY(find_own(list, all, &own, &count));
    items = calloc((uint64_t)list->count + count, sizeof *items);
    if (!items) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a model");
        goto done;
    }
    TV_TRY(plan_gradients(list, caps, items, &plan));
    bytes->gradients = plan.total_bytes;
    bytes->errors = plan.total_bytes / 2;
    for (int c = 0; c < TV_CLASS_COUNT; c++) {
        tv_memory_plan_free(&plan);
        TV_TRY(plan_class(list, all, own, count, caps, (tv_trained_class)c, items, &plan));
        sums[c] = plan.total_bytes;
    }
    bytes->masters = sums[TV_CLASS_MASTERS];
    bytes->moments = sums[TV_CLASS_MOMENT_1] + sums[TV_CLASS_MOMENT_2];
    bytes->sums = all->bucket_count ? sums[TV_CLASS_SUMS] : bytes->gradients;
done:
    tv_memory_plan_free(&plan);
    tv_stretches_destroy(&all);
    free(own);
    free(items);
    return status;
}

/* Where errors lie: of one group where they are taken, of several also where each is kept. */
static uint64_t places_of(uint64_t own_groups) {
    return own_groups > 1 ? own_groups + 1 : own_groups;
}

static uint64_t error_places(const tv_model *model, uint64_t groups) {
    return places_of(groups / tv_owners_count(model->list));
}

/* ---- life ---- */

static tv_status create_class(tv_model *model, tv_trained_class which) {
    tv_trained *t = &model->trained;
    tv_memory_plan plan = {0};
    const tv_caps *caps = tv_device_caps(model->device);
    tv_status status = plan_class(model->list, t->all, t->own, t->count, caps, which, t->items[which], &plan);
    if (status == TV_OK && plan.total_bytes)
        status = tv_device_arena_create(model->device, &plan, TV_MEMORY_DEVICE, class_names[which],
                                        &t->arenas[which]);
    tv_memory_plan_free(&plan);
    return status;
}

tv_status tv_model_create_trained(tv_model *model) {
    const tv_parameter_list *list = model->list;
    tv_trained *t = &model->trained;
    tv_memory_plan plan = {0};
    tv_status status;
    TV_TRY(tv_stretches_create(list, &t->all));
    TV_TRY(find_own(list, t->all, &t->own, &t->count));
    t->gradient_items = calloc(list->count, sizeof *t->gradient_items);
    bool there = t->gradient_items != NULL;
    for (int c = 0; c < TV_CLASS_COUNT; c++)
        there = (t->items[c] = calloc(t->count + 1, sizeof *t->items[c])) && there;
    if (!there) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a model");
        goto done;
    }
    for (int c = 0; c < TV_CLASS_SUMS; c++)
        TV_TRY(create_class(model, (tv_trained_class)c));
    TV_TRY(plan_gradients(list, tv_device_caps(model->device), t->gradient_items, &plan));
    if (plan.total_bytes)
        TV_TRY(tv_device_arena_create(model->device, &plan, TV_MEMORY_DEVICE, "gradients", &t->gradients));
done:
    tv_memory_plan_free(&plan);
    return status;
}

void tv_model_free_trained(tv_model *model) {
    tv_trained *t = &model->trained;
    tv_device_arena_destroy(&t->gradients);
    for (uint64_t k = 0; t->errors && k < error_places(model, t->error_groups); k++)
        tv_device_arena_destroy(&t->errors[k]);
    free(t->errors);
    for (int c = 0; c < TV_CLASS_COUNT; c++) {
        tv_device_arena_destroy(&t->arenas[c]);
        free(t->items[c]);
    }
    tv_stretches_destroy(&t->all);
    free(t->gradient_items);
    free(t->own);
}

/* ---- sums of groups ---- */

/* Block by block as the gradients lie, whatever the device gives by now, in that part of their bytes. */
static tv_status create_beside_gradients(tv_model *model, uint64_t divisor, const char *name,
                                         tv_device_arena **arena) {
    const tv_device_arena *gradients = model->trained.gradients;
    const uint32_t blocks = tv_device_arena_blocks(gradients);
    tv_memory_plan plan = {.block_bytes = calloc(blocks, sizeof *plan.block_bytes), .block_count = blocks};
    if (!plan.block_bytes)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model");
    for (uint32_t b = 0; b < blocks; b++)
        plan.total_bytes += plan.block_bytes[b] = tv_device_arena_block(gradients, b).bytes / divisor;
    tv_status status = tv_device_arena_create(model->device, &plan, TV_MEMORY_DEVICE, name, arena);
    tv_memory_plan_free(&plan);
    return status;
}

tv_status tv_model_keep_sums(tv_model *model) {
    tv_trained *t = &model->trained;
    tv_device_arena **sums = &t->arenas[TV_CLASS_SUMS];
    if (*sums || !t->gradients)
        return TV_OK;
    if (t->all->bucket_count)
        return create_class(model, TV_CLASS_SUMS);
    return create_beside_gradients(model, 1, class_names[TV_CLASS_SUMS], sums);
}

bool tv_model_has_sums(const tv_model *model) {
    return model->trained.arenas[TV_CLASS_SUMS] != NULL;
}

tv_status tv_model_record_group(tv_recorder *recorder, const tv_model *model, tv_tensor state) {
    const tv_device_arena *gradients = model->trained.gradients, *sums = model->trained.arenas[TV_CLASS_SUMS];
    for (uint32_t b = 0; sums && b < tv_device_arena_blocks(gradients); b++) {
        tv_tensor group = {tv_device_arena_block(gradients, b), TV_F32},
                  sum = {tv_device_arena_block(sums, b), TV_F32};
        const uint64_t count = group.span.bytes / sizeof(float);
        const tv_group_rounding rounding = {group, tv_model_error_of(model, group.span), sum, state};
        TV_RETURN_IF_FAILED(tv_tensor_present(state) ? tv_group_round(recorder, count, &rounding)
                                                     : tv_group_add(recorder, count, group, sum));
    }
    return TV_OK;
}

/* ---- errors of groups ---- */

tv_status tv_model_keep_errors(tv_model *model, uint64_t groups) {
    tv_trained *t = &model->trained;
    if (t->errors || !t->gradients)
        return TV_OK;
    const uint64_t places = error_places(model, groups);
    t->errors = calloc(places, sizeof *t->errors);
    if (!t->errors)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model");
    t->error_groups = groups;
    for (uint64_t k = 0; k < places; k++)
        TV_RETURN_IF_FAILED(create_beside_gradients(model, 2, "errors of rounded gradients", &t->errors[k]));
    return TV_OK;
}

uint64_t tv_model_error_groups(const tv_model *model) {
    return model->trained.error_groups;
}

uint64_t tv_model_error_bytes(const tv_model_bytes *bytes, uint64_t own_groups) {
    return places_of(own_groups) * bytes->errors;
}

tv_status tv_model_record_errors(tv_recorder *recorder, const tv_model *model, uint64_t nth, bool keep) {
    const tv_trained *t = &model->trained;
    for (uint32_t b = 0; b < tv_device_arena_blocks(t->gradients); b++) {
        const tv_span taken = tv_device_arena_block(t->errors[0], b),
                      kept = tv_device_arena_block(t->errors[1 + nth], b);
        TV_RETURN_IF_FAILED(tv_record_copy(recorder, keep ? taken : kept, keep ? kept : taken));
    }
    return TV_OK;
}

tv_tensor tv_model_error_of(const tv_model *model, tv_span gradients) {
    const tv_trained *t = &model->trained;
    for (uint32_t b = 0; t->errors && b < tv_device_arena_blocks(t->gradients); b++)
        if (tv_device_arena_block(t->gradients, b).buffer == gradients.buffer)
            return (tv_tensor){tv_span_part(tv_device_arena_block(t->errors[0], b), gradients.offset / 2,
                                            gradients.bytes / 2),
                               TV_BF16};
    return TV_ABSENT;
}

tv_tensor tv_model_error_at(const tv_model *model, uint32_t index, uint64_t group) {
    const tv_trained *t = &model->trained;
    const uint32_t owners = tv_owners_count(model->list);
    if (!t->errors || group >= t->error_groups || group % owners != model->list->owners.own ||
        !model->list->items[index].trainable)
        return TV_ABSENT;
    tv_plan_item item = *item_of(t->gradient_items, model->list->count, index);
    item.offset /= 2;
    item.bytes /= 2;
    const bool several = t->error_groups > owners;
    return (tv_tensor){tv_device_arena_span(t->errors[several ? 1 + group / owners : 0], &item), TV_BF16};
}

/* ---- tensors ---- */

tv_tensor tv_model_gradient_at(const tv_model *model, uint32_t index) {
    const tv_trained *t = &model->trained;
    if (index >= model->list->count || !t->gradients || !model->list->items[index].trainable)
        return TV_ABSENT;
    return (tv_tensor){
        tv_device_arena_span(t->gradients, item_of(t->gradient_items, model->list->count, index)), TV_F32};
}

const tv_stretches *tv_model_stretches(const tv_model *model) {
    return model->trained.all;
}

tv_tensor tv_model_stretch_weights(const tv_model *model, const tv_stretch *s) {
    const tv_parameter *p = &model->list->items[s->parameter];
    return tv_tensor_weight_rows(model->weights[s->parameter], p->shape[1], s->first / p->shape[1],
                                 s->count / p->shape[1]);
}

tv_tensor tv_model_stretch_gradient(const tv_model *model, const tv_stretch *s) {
    return tv_tensor_rows(tv_model_gradient_at(model, s->parameter), 1, s->first, s->count);
}

uint32_t tv_model_trainable_count(const tv_model *model) {
    return model->trained.count;
}

static tv_tensor own_tensor(const tv_model *model, tv_trained_class which, uint32_t number) {
    const tv_trained *t = &model->trained;
    const tv_stretch *s = &t->all->items[t->own[number]];
    const tv_parameter *p = &model->list->items[s->parameter];
    if (!t->arenas[which] || !bytes_of(p, which, s->count))
        return TV_ABSENT;
    const bool codes = has_codes(p) && (which == TV_CLASS_MOMENT_1 || which == TV_CLASS_MOMENT_2);
    return (tv_tensor){tv_device_arena_span(t->arenas[which], item_of(t->items[which], t->count, number)),
                       codes ? TV_U32 : TV_F32};
}

static tv_tensor applied_gradient(const tv_model *model, uint32_t number) {
    const tv_trained *t = &model->trained;
    const tv_stretch *s = &t->all->items[t->own[number]];
    if (!t->arenas[TV_CLASS_SUMS])
        return tv_model_stretch_gradient(model, s);
    if (t->all->bucket_count)
        return own_tensor(model, TV_CLASS_SUMS, number);
    const tv_plan_item *item = item_of(t->gradient_items, model->list->count, s->parameter);
    return (tv_tensor){tv_device_arena_span(t->arenas[TV_CLASS_SUMS], item), TV_F32};
}

tv_trainable tv_model_trainable(const tv_model *model, uint32_t number) {
    const tv_stretch *s = &model->trained.all->items[model->trained.own[number]];
    return (tv_trainable){.parameter = &model->list->items[s->parameter],
                          .first = s->first,
                          .count = s->count,
                          .weights = tv_model_stretch_weights(model, s),
                          .master = own_tensor(model, TV_CLASS_MASTERS, number),
                          .gradient = applied_gradient(model, number),
                          .moments = {own_tensor(model, TV_CLASS_MOMENT_1, number),
                                      own_tensor(model, TV_CLASS_MOMENT_2, number)}};
}

bool tv_model_flows_below(const tv_model *model, uint32_t index) {
    const tv_stretches *all = model->trained.all;
    return all && all->count > 0 && all->items[0].parameter < index;
}

/* ---- state, wherever it is ---- */

void tv_model_set_state_source(tv_model *model, tv_state_source source, void *context) {
    model->trained.source = source;
    model->trained.source_context = context;
}

uint64_t tv_model_state_bytes(const tv_parameter *p, uint32_t which, uint64_t count) {
    static const tv_trained_class classes[] = {TV_CLASS_MOMENT_1, TV_CLASS_MOMENT_2, TV_CLASS_MASTERS};
    if (which >= TV_STATE_ERRORS)
        return p->trainable ? count * tv_dtype_bytes(TV_BF16) : 0;
    return p->trainable ? bytes_of(p, classes[which], count) : 0;
}

uint32_t tv_model_stretch_own(const tv_model *model, uint32_t stretch) {
    for (uint32_t k = 0; k < model->trained.count; k++)
        if (model->trained.own[k] == stretch)
            return k;
    return UINT32_MAX;
}

/* Absent where it is another's. */
static tv_tensor state_tensor(const tv_model *model, uint32_t stretch, uint32_t which) {
    const tv_stretch *s = &model->trained.all->items[stretch];
    if (which >= TV_STATE_ERRORS)
        return tv_tensor_rows(tv_model_error_at(model, s->parameter, which - TV_STATE_ERRORS), 1, s->first,
                              s->count);
    const uint32_t own = tv_model_stretch_own(model, stretch);
    if (own == UINT32_MAX)
        return TV_ABSENT;
    const tv_trainable mine = tv_model_trainable(model, own);
    return which == TV_MOMENTS ? mine.master : mine.moments[which];
}

tv_status tv_model_state(const tv_model *model, uint32_t stretch, uint32_t which, uint64_t first,
                         uint64_t bytes, void *out) {
    const tv_trained *t = &model->trained;
    const tv_tensor tensor = state_tensor(model, stretch, which);
    if (tv_tensor_present(tensor))
        return tv_download(model->device, tv_span_part(tensor.span, first, bytes), out, bytes);
    if (!t->source)
        return tv_fail(TV_E_USAGE, "the moments of %s are another rank's",
                       model->list->items[t->all->items[stretch].parameter].name);
    return t->source(t->source_context, stretch, which, first, bytes, out);
}
