/* Weights, gradients and moments on a device: see model.h. */
#include "model/model.h"

#include <stdlib.h>

#include "kernels/rotary.h"
#include "model/model_own.h"
#include "vk/transfer.h"

/* Of rotary positions; local layers may have a table of their own behind the first. */
typedef struct position_tables {
    tv_buffer *buffer;
    uint64_t context;              /* rows of a table */
    struct position_tables *older; /* shorter ones, which recorded work still reads */
} position_tables;

/* Weights and what is computed from the config alone, shared by reference count. Models are made and
 * destroyed by one thread. */
typedef struct weight_store {
    uint32_t references;
    struct weight_store *base; /* whose weights are used too; NULL: none */
    tv_device_arena *arena;    /* NULL: all weights are the base's */
    position_tables *rotary;   /* of those without a base; NULL: none yet */
} weight_store;

/* ---- sizes ---- */

/* As the gradients lie: `items[count - 1 - i]` belongs to parameter i. */
static tv_plan_item *item_of(const tv_parameter_list *list, tv_plan_item *items, uint32_t index) {
    return &items[list->count - 1 - index];
}

/* Position in `base` of what a model over it takes from there. */
static uint32_t index_in_base(const tv_parameter_list *base, const tv_parameter *p) {
    uint32_t index = base && !tv_parameter_is_of_adapter(p) ? tv_parameter_index(base, p->role, p->layer)
                                                            : TV_NO_PARAMETER;
    return index != TV_NO_PARAMETER && base->items[index].count == p->count ? index : TV_NO_PARAMETER;
}

static bool is_own(const tv_parameter_list *base, const tv_parameter *p) {
    return p->trainable || index_in_base(base, p) == TV_NO_PARAMETER;
}

static uint64_t weight_bytes(const tv_parameter *p) {
    return p->shape[0] * tv_dtype_row_bytes(p->storage, p->shape[1]);
}

static tv_status plan_weights(const tv_parameter_list *base, const tv_parameter_list *list,
                              const tv_caps *caps, tv_plan_item *items, tv_memory_plan *plan) {
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        *item_of(list, items, i) = (tv_plan_item){.bytes = is_own(base, p) ? weight_bytes(p) : 0};
    }
    return tv_memory_plan_sequence(items, list->count, caps->buffer_bytes, plan);
}

tv_status tv_model_measure_over(const tv_parameter_list *base, const tv_parameter_list *list,
                                const tv_caps *caps, bool train, tv_model_bytes *bytes) {
    *bytes = (tv_model_bytes){0};
    tv_memory_plan weights = {0};
    tv_plan_item *items = calloc(list->count, sizeof *items);
    if (!items)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model");
    tv_status status = plan_weights(base, list, caps, items, &weights);
    bytes->parameters = weights.total_bytes;
    if (status == TV_OK && train)
        status = tv_model_measure_trained(list, caps, bytes);
    tv_memory_plan_free(&weights);
    free(items);
    return status;
}

tv_status tv_model_measure(const tv_parameter_list *list, const tv_caps *caps, bool train,
                           tv_model_bytes *bytes) {
    return tv_model_measure_over(NULL, list, caps, train, bytes);
}

/* ---- weights ---- */

static void release(weight_store **handle) {
    weight_store *store = *handle;
    *handle = NULL;
    if (!store || --store->references > 0)
        return;
    release(&store->base);
    tv_device_arena_destroy(&store->arena);
    while (store->rotary) {
        position_tables *older = store->rotary->older;
        tv_buffer_destroy(&store->rotary->buffer);
        free(store->rotary);
        store->rotary = older;
    }
    free(store);
}

static tv_status create_weights(tv_model *model, const tv_model *base) {
    const tv_parameter_list *list = model->list, *of_base = base ? base->list : NULL;
    tv_memory_plan plan = {0};
    tv_status status;
    tv_plan_item *items = calloc(list->count, sizeof *items);
    model->store = calloc(1, sizeof *model->store);
    if (!items || !model->store) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a model");
        goto done;
    }
    model->store->references = 1;
    if (base) {
        model->store->base = base->store;
        base->store->references++;
    }
    TV_TRY(plan_weights(of_base, list, tv_device_caps(model->device), items, &plan));
    if (plan.total_bytes)
        TV_TRY(tv_device_arena_create(model->device, &plan, TV_MEMORY_DEVICE, "parameters",
                                      &model->store->arena));
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        model->shared[i] = !is_own(of_base, p);
        model->weights[i] =
            model->shared[i]
                ? base->weights[index_in_base(of_base, p)]
                : (tv_tensor){tv_device_arena_span(model->store->arena, item_of(list, items, i)), p->storage};
    }
done:
    tv_memory_plan_free(&plan);
    free(items);
    return status;
}

/* ---- life ---- */

static tv_status create(tv_device *device, const tv_model *base, const tv_parameter_list *list, bool train,
                        tv_model **out) {
    *out = NULL;
    tv_status status;
    tv_model *model = calloc(1, sizeof *model);
    if (!model)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model");
    model->device = device;
    model->list = list;
    model->weights = calloc(list->count, sizeof *model->weights);
    model->shared = calloc(list->count, sizeof *model->shared);
    if (!model->weights || !model->shared) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a model");
        goto fail;
    }
    TV_TRY_OR_FAIL(create_weights(model, base));
    if (train)
        TV_TRY_OR_FAIL(tv_model_create_trained(model));
    *out = model;
    return TV_OK;
fail:
    tv_model_destroy(&model);
    return status;
}

typedef struct creation {
    tv_device *device;
    const tv_model *base;
    const tv_parameter_list *list;
    bool train;
    tv_model *model;
} creation;

static tv_status create_of(void *context) {
    creation *c = context;
    return create(c->device, c->base, c->list, c->train, &c->model);
}

static tv_status create_anyhow(creation c, tv_model **model) {
    tv_status status = tv_make_in_smaller_buffers(c.device, create_of, &c);
    *model = c.model;
    return status;
}

tv_status tv_model_create(tv_device *device, const tv_parameter_list *list, bool train, tv_model **model) {
    return create_anyhow((creation){device, NULL, list, train, NULL}, model);
}

tv_status tv_model_create_shared(const tv_model *base, const tv_parameter_list *list, bool train,
                                 tv_model **model) {
    return create_anyhow((creation){base->device, base, list, train, NULL}, model);
}

void tv_model_destroy(tv_model **handle) {
    if (!handle || !*handle)
        return;
    tv_model *model = *handle;
    release(&model->store);
    tv_model_free_trained(model);
    free(model->weights);
    free(model->shared);
    free(model);
    *handle = NULL;
}

/* ---- tensors ---- */

tv_device *tv_model_device(const tv_model *model) {
    return model->device;
}

const tv_parameter_list *tv_model_list(const tv_model *model) {
    return model->list;
}

tv_tensor tv_model_parameter_at(const tv_model *model, uint32_t index) {
    return index < model->list->count ? model->weights[index] : TV_ABSENT;
}

tv_tensor tv_model_parameter(const tv_model *model, tv_parameter_role role, uint32_t layer) {
    return tv_model_parameter_at(model, tv_parameter_index(model->list, role, layer));
}

tv_tensor tv_model_gradient(const tv_model *model, tv_parameter_role role, uint32_t layer) {
    return tv_model_gradient_at(model, tv_parameter_index(model->list, role, layer));
}

bool tv_model_flows_below_head(const tv_model *model) {
    uint32_t score = tv_parameter_index(model->list, TV_PARAMETER_SCORE_WEIGHT, TV_NO_LAYER),
             head = tv_parameter_index(model->list, TV_PARAMETER_HEAD_WEIGHT, TV_NO_LAYER);
    uint32_t first = score != TV_NO_PARAMETER ? score : head != TV_NO_PARAMETER ? head : model->list->count;
    return tv_model_flows_below(model, first);
}

/* ---- tables of positions ---- */

/* Of one table. */
static uint64_t rotary_table_bytes(const tv_model_config *config, uint64_t tokens) {
    return tv_align_up(tokens * config->head_size * sizeof(float), TV_TENSOR_ALIGNMENT);
}

uint64_t tv_model_table_bytes(const tv_model_config *config, uint64_t tokens) {
    if (config->positions != TV_POSITIONS_ROTARY)
        return 0;
    return rotary_table_bytes(config, tokens) * (tv_model_config_has_local_rotary(config) ? 2 : 1);
}

/* Whose tables a model reads. */
static weight_store *root_of(const tv_model *model) {
    weight_store *store = model->store;
    while (store->base)
        store = store->base;
    return store;
}

uint64_t tv_model_context(const tv_model *model) {
    if (model->list->config.positions != TV_POSITIONS_ROTARY)
        return model->list->config.max_positions;
    const position_tables *tables = root_of(model)->rotary;
    return tables ? tables->context : 0;
}

static tv_status fill_tables(tv_device *device, const tv_model_config *config, position_tables *tables) {
    uint64_t bytes = tv_model_table_bytes(config, tables->context);
    TV_RETURN_IF_FAILED(tv_buffer_create(device, bytes, TV_MEMORY_DEVICE, "rotary table", &tables->buffer));
    float *table = calloc(1, bytes);
    if (!table)
        return tv_fail(TV_E_MEMORY, "out of host memory for the rotary table");
    tv_rotary_table(tables->context, config->head_size, &config->rotary, table);
    if (tv_model_config_has_local_rotary(config))
        tv_rotary_table(tables->context, config->head_size, &config->rotary_local,
                        table + rotary_table_bytes(config, tables->context) / sizeof *table);
    tv_status status = tv_upload(device, tv_buffer_span(tables->buffer), table, bytes);
    free(table);
    return status;
}

tv_status tv_model_need_context(const tv_model *model, uint64_t tokens) {
    const tv_model_config *config = &model->list->config;
    const uint64_t before = tv_model_context(model);
    if (tokens > config->max_positions)
        return tv_fail(TV_E_CONFIG,
                       "sequences of %llu tokens were asked for and the model has positions for %llu",
                       (unsigned long long)tokens, (unsigned long long)config->max_positions);
    if (tokens <= before)
        return TV_OK;
    weight_store *store = root_of(model);
    position_tables *tables = calloc(1, sizeof *tables);
    if (!tables)
        return tv_fail(TV_E_MEMORY, "out of host memory for the rotary table");
    /* Lengths that grow by a token at a time make few of them. */
    tables->context = tv_min_u64(config->max_positions, tv_max_u64(tokens, 2 * before));
    tv_status status = fill_tables(model->device, config, tables);
    if (status != TV_OK) {
        tv_buffer_destroy(&tables->buffer);
        free(tables);
        return status;
    }
    tables->older = store->rotary;
    store->rotary = tables;
    return TV_OK;
}

tv_tensor tv_model_rotary_table(const tv_model *model, uint64_t layer) {
    const tv_model_config *config = &model->list->config;
    const position_tables *tables = root_of(model)->rotary;
    if (!tables)
        return TV_ABSENT;
    uint64_t bytes = rotary_table_bytes(config, tables->context);
    bool second = tv_model_config_is_local(config, layer) && tv_model_config_has_local_rotary(config);
    return (tv_tensor){tv_span_part(tv_buffer_span(tables->buffer), second ? bytes : 0, bytes), TV_F32};
}

bool tv_model_is_shared(const tv_model *model, uint32_t index) {
    return model->shared[index];
}

uint32_t tv_model_index_in_base(const tv_parameter_list *base, const tv_parameter_list *list,
                                uint32_t index) {
    return index_in_base(base, &list->items[index]);
}
