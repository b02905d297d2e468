/* Weights, gradients and moments on a device: see model.h. */
#include "model/model.h"

#include <stdlib.h>

#include "kernels/group_add.h"
#include "kernels/rotary.h"
#include "kernels/update_plan.h"
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

/* The classes of memory that only what is trained has. */
typedef enum trained_class { CLASS_GRADIENTS, CLASS_MOMENT_1, CLASS_MOMENT_2, CLASS_COUNT } trained_class;

static const char *const class_names[CLASS_COUNT] = {"gradients", "first moments", "second moments"};
static const char sums_name[] = "sums of gradients";

struct tv_model {
    tv_device *device;
    const tv_parameter_list *list;
    weight_store *store;
    tv_tensor *weights;                           /* of each parameter */
    bool *shared;                                 /* belongs to a base */
    tv_plan_item *trained[CLASS_COUNT], *masters; /* as item_of() finds them */
    tv_device_arena *master_arena;
    tv_device_arena *arenas[CLASS_COUNT];
    tv_device_arena *sums; /* laid out as the gradients; NULL: none are kept */
    uint32_t *trainable;   /* list positions; NULL without `train` */
};

/* ---- sizes ---- */

/* Backward finishes the head's end of the list first, the embeddings last; so every class lies in reverse,
 * and `items[count - 1 - i]` belongs to parameter i. */
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

static bool has_master(const tv_parameter *p) {
    return p->trainable && p->storage != TV_F32;
}

static uint64_t gradient_bytes(const tv_parameter *p) {
    return p->trainable ? p->count * sizeof(float) : 0;
}

static uint64_t moment_bytes(const tv_parameter *p) {
    if (p->trainable && p->optimizer == TV_OPTIMIZER_ADAMW8)
        return tv_moment8_words(p->count) * sizeof(uint32_t);
    return gradient_bytes(p);
}

/* Muon has one moment. */
static uint64_t second_moment_bytes(const tv_parameter *p) {
    return p->optimizer == TV_OPTIMIZER_MUON ? 0 : moment_bytes(p);
}

static uint64_t master_bytes(const tv_parameter *p) {
    return has_master(p) ? p->count * sizeof(float) : 0;
}

typedef uint64_t (*bytes_of)(const tv_parameter *p);
static const bytes_of class_bytes[CLASS_COUNT] = {gradient_bytes, moment_bytes, second_moment_bytes};

/* What is trained, or what belongs to it. */
static tv_status plan_trained(const tv_parameter_list *list, const tv_caps *caps, bytes_of bytes,
                              tv_plan_item *items, tv_memory_plan *plan) {
    for (uint32_t i = 0; i < list->count; i++)
        *item_of(list, items, i) = (tv_plan_item){.bytes = bytes(&list->items[i])};
    return tv_memory_plan_sequence(items, list->count, caps->buffer_bytes, plan);
}

tv_status tv_model_measure_over(const tv_parameter_list *base, const tv_parameter_list *list,
                                const tv_caps *caps, bool train, tv_model_bytes *bytes) {
    *bytes = (tv_model_bytes){0};
    tv_memory_plan weights = {0}, masters = {0}, trained[CLASS_COUNT] = {0};
    tv_plan_item *items = calloc(list->count, sizeof *items);
    if (!items)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model");
    tv_status status = plan_weights(base, list, caps, items, &weights);
    for (int c = 0; c < CLASS_COUNT && status == TV_OK && train; c++)
        status = plan_trained(list, caps, class_bytes[c], items, &trained[c]);
    if (status == TV_OK && train)
        status = plan_trained(list, caps, master_bytes, items, &masters);
    if (status == TV_OK) {
        bytes->parameters = weights.total_bytes;
        bytes->masters = masters.total_bytes;
        bytes->gradients = trained[CLASS_GRADIENTS].total_bytes;
        bytes->moments = trained[CLASS_MOMENT_1].total_bytes + trained[CLASS_MOMENT_2].total_bytes;
    }
    tv_memory_plan_free(&weights);
    for (int c = 0; c < CLASS_COUNT; c++)
        tv_memory_plan_free(&trained[c]);
    tv_memory_plan_free(&masters);
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

/* ---- what is trained ---- */

static tv_status create_trained(tv_model *model) {
    const tv_parameter_list *list = model->list;
    tv_memory_plan plan = {0};
    tv_status status;
    uint32_t count = 0;
    model->trainable = calloc(list->count, sizeof *model->trainable);
    model->masters = calloc(list->count, sizeof *model->masters);
    bool there = model->trainable && model->masters;
    for (int c = 0; c < CLASS_COUNT; c++)
        there = (model->trained[c] = calloc(list->count, sizeof **model->trained)) && there;
    if (!there)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model");
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i].trainable)
            model->trainable[count++] = i;
    TV_TRY(plan_trained(list, tv_device_caps(model->device), master_bytes, model->masters, &plan));
    if (plan.total_bytes)
        TV_TRY(tv_device_arena_create(model->device, &plan, TV_MEMORY_DEVICE, "fp32 masters",
                                      &model->master_arena));
    for (int c = 0; c < CLASS_COUNT; c++) {
        tv_memory_plan_free(&plan);
        TV_TRY(plan_trained(list, tv_device_caps(model->device), class_bytes[c], model->trained[c], &plan));
        if (plan.total_bytes)
            TV_TRY(tv_device_arena_create(model->device, &plan, TV_MEMORY_DEVICE, class_names[c],
                                          &model->arenas[c]));
    }
done:
    tv_memory_plan_free(&plan);
    return status;
}

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
        TV_TRY_OR_FAIL(create_trained(model));
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
    tv_device_arena_destroy(&model->master_arena);
    tv_device_arena_destroy(&model->sums);
    for (int c = 0; c < CLASS_COUNT; c++) {
        tv_device_arena_destroy(&model->arenas[c]);
        free(model->trained[c]);
    }
    free(model->weights);
    free(model->shared);
    free(model->masters);
    free(model->trainable);
    free(model);
    *handle = NULL;
}

/* ---- sums of groups ---- */

/* Block by block as the gradients lie: whatever the device gives by now. */
tv_status tv_model_keep_sums(tv_model *model) {
    const tv_device_arena *gradients = model->arenas[CLASS_GRADIENTS];
    if (model->sums || !gradients)
        return TV_OK;
    uint32_t blocks = tv_device_arena_blocks(gradients);
    tv_memory_plan plan = {.block_bytes = calloc(blocks, sizeof *plan.block_bytes), .block_count = blocks};
    if (!plan.block_bytes)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model");
    for (uint32_t b = 0; b < blocks; b++)
        plan.total_bytes += plan.block_bytes[b] = tv_device_arena_block(gradients, b).bytes;
    tv_status status =
        tv_device_arena_create(model->device, &plan, TV_MEMORY_DEVICE, sums_name, &model->sums);
    tv_memory_plan_free(&plan);
    return status;
}

bool tv_model_has_sums(const tv_model *model) {
    return model->sums != NULL;
}

tv_span tv_model_gradient_block(const tv_model *model, uint32_t block) {
    const tv_device_arena *gradients = model->arenas[CLASS_GRADIENTS];
    if (!gradients || block >= tv_device_arena_blocks(gradients))
        return (tv_span){0};
    return tv_device_arena_block(gradients, block);
}

tv_status tv_model_record_group(tv_recorder *recorder, const tv_model *model) {
    const tv_device_arena *gradients = model->arenas[CLASS_GRADIENTS];
    for (uint32_t b = 0; model->sums && b < tv_device_arena_blocks(gradients); b++) {
        tv_tensor group = {tv_device_arena_block(gradients, b), TV_F32},
                  sum = {tv_device_arena_block(model->sums, b), TV_F32};
        TV_RETURN_IF_FAILED(tv_group_add(recorder, group.span.bytes / sizeof(float), group, sum));
    }
    return TV_OK;
}

/* ---- tensors ---- */

tv_tensor tv_model_master_at(const tv_model *model, uint32_t index) {
    if (!model->master_arena || index >= model->list->count || !has_master(&model->list->items[index]))
        return TV_ABSENT;
    return (tv_tensor){tv_device_arena_span(model->master_arena, item_of(model->list, model->masters, index)),
                       TV_F32};
}

tv_device *tv_model_device(const tv_model *model) {
    return model->device;
}

const tv_parameter_list *tv_model_list(const tv_model *model) {
    return model->list;
}

static tv_tensor trained_at(const tv_model *model, trained_class which, uint32_t index) {
    if (index >= model->list->count || !model->arenas[which])
        return TV_ABSENT;
    const tv_parameter *p = &model->list->items[index];
    if (!class_bytes[which](p))
        return TV_ABSENT;
    bool codes = which != CLASS_GRADIENTS && p->optimizer == TV_OPTIMIZER_ADAMW8;
    return (tv_tensor){
        tv_device_arena_span(model->arenas[which], item_of(model->list, model->trained[which], index)),
        codes ? TV_U32 : TV_F32};
}

tv_tensor tv_model_parameter_at(const tv_model *model, uint32_t index) {
    return index < model->list->count ? model->weights[index] : TV_ABSENT;
}

tv_tensor tv_model_gradient_at(const tv_model *model, uint32_t index) {
    return trained_at(model, CLASS_GRADIENTS, index);
}

tv_tensor tv_model_parameter(const tv_model *model, tv_parameter_role role, uint32_t layer) {
    return tv_model_parameter_at(model, tv_parameter_index(model->list, role, layer));
}

tv_tensor tv_model_gradient(const tv_model *model, tv_parameter_role role, uint32_t layer) {
    return tv_model_gradient_at(model, tv_parameter_index(model->list, role, layer));
}

uint32_t tv_model_trainable_count(const tv_model *model) {
    return model->trainable ? model->list->trainable_count : 0;
}

static tv_tensor applied_gradient(const tv_model *model, uint32_t index) {
    if (!model->sums)
        return trained_at(model, CLASS_GRADIENTS, index);
    const tv_plan_item *item = item_of(model->list, model->trained[CLASS_GRADIENTS], index);
    return (tv_tensor){tv_device_arena_span(model->sums, item), TV_F32};
}

tv_trainable tv_model_trainable(const tv_model *model, uint32_t number) {
    uint32_t index = model->trainable[number];
    return (tv_trainable){
        .parameter = &model->list->items[index],
        .weights = model->weights[index],
        .master = tv_model_master_at(model, index),
        .gradient = applied_gradient(model, index),
        .moments = {trained_at(model, CLASS_MOMENT_1, index), trained_at(model, CLASS_MOMENT_2, index)}};
}

bool tv_model_flows_below(const tv_model *model, uint32_t index) {
    return tv_model_trainable_count(model) > 0 && model->trainable[0] < index;
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
