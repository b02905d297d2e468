/* Parameters, gradients and moments on a device: see model.h. */
#include "model/model.h"

#include <stdlib.h>

#include "kernels/rotary.h"
#include "vk/transfer.h"

/* The classes of memory that follow the list of parameters. */
typedef enum parameter_class {
    CLASS_PARAMETERS,
    CLASS_GRADIENTS,
    CLASS_MOMENT_1,
    CLASS_MOMENT_2,
    CLASS_COUNT
} parameter_class;

static const char *const class_names[CLASS_COUNT] = {"parameters", "gradients", "first moments",
                                                     "second moments"};

struct tv_model {
    tv_device *device;
    const tv_parameter_list *list;
    tv_plan_item *items; /* in the order of the list */
    tv_device_arena *arenas[CLASS_COUNT];
    tv_buffer *rotary;
    uint64_t rotary_bytes;
};

/* Backward finishes the head's end of the list first, the embeddings last; so every class lies in reverse.
 * The plan's items are handed over in that order, and `items[i]` is stored for parameter count - 1 - i. */
static tv_status plan_parameters(const tv_parameter_list *list, const tv_caps *caps, tv_plan_item *items,
                                 tv_memory_plan *plan) {
    for (uint32_t i = 0; i < list->count; i++)
        items[i] = (tv_plan_item){.bytes = list->items[list->count - 1 - i].count * sizeof(float)};
    return tv_memory_plan_sequence(items, list->count, caps->buffer_bytes, plan);
}

static uint64_t rotary_bytes(const tv_model_config *config) {
    if (config->positions != TV_POSITIONS_ROTARY)
        return 0;
    return tv_align_up(config->max_positions * config->head_size * sizeof(float), TV_TENSOR_ALIGNMENT);
}

tv_status tv_model_measure(const tv_parameter_list *list, const tv_caps *caps, bool train,
                           tv_model_bytes *bytes) {
    *bytes = (tv_model_bytes){0};
    tv_memory_plan plan = {0};
    tv_plan_item *items = calloc(list->count, sizeof *items);
    if (!items)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model");
    tv_status status = plan_parameters(list, caps, items, &plan);
    if (status == TV_OK) {
        bytes->parameters = plan.total_bytes;
        bytes->gradients = train ? plan.total_bytes : 0;
        bytes->moments = train ? 2 * plan.total_bytes : 0;
        bytes->tables = rotary_bytes(&list->config);
    }
    tv_memory_plan_free(&plan);
    free(items);
    return status;
}

static tv_status create_rotary_table(tv_model *model) {
    const tv_model_config *config = &model->list->config;
    model->rotary_bytes = rotary_bytes(config);
    if (model->rotary_bytes == 0)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_buffer_create(model->device, model->rotary_bytes, TV_MEMORY_DEVICE, "rotary table",
                                         &model->rotary));
    float *table = calloc(1, model->rotary_bytes);
    if (!table)
        return tv_fail(TV_E_MEMORY, "out of host memory for the rotary table");
    tv_rotary_table(config->max_positions, config->head_size, config->rope_theta, table);
    tv_status status = tv_upload(model->device, tv_buffer_span(model->rotary), table, model->rotary_bytes);
    free(table);
    return status;
}

tv_status tv_model_create(tv_device *device, const tv_parameter_list *list, bool train, tv_model **out) {
    *out = NULL;
    tv_status status;
    tv_memory_plan plan = {0};
    tv_model *model = calloc(1, sizeof *model);
    if (!model)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model");
    model->device = device;
    model->list = list;
    model->items = calloc(list->count, sizeof *model->items);
    if (!model->items) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a model");
        goto fail;
    }
    TV_TRY_OR_FAIL(plan_parameters(list, tv_device_caps(device), model->items, &plan));
    for (int c = 0; c < (train ? CLASS_COUNT : CLASS_GRADIENTS); c++)
        TV_TRY_OR_FAIL(
            tv_device_arena_create(device, &plan, TV_MEMORY_DEVICE, class_names[c], &model->arenas[c]));
    TV_TRY_OR_FAIL(create_rotary_table(model));
    tv_memory_plan_free(&plan);
    *out = model;
    return TV_OK;
fail:
    tv_memory_plan_free(&plan);
    tv_model_destroy(&model);
    return status;
}

void tv_model_destroy(tv_model **handle) {
    if (!handle || !*handle)
        return;
    tv_model *model = *handle;
    for (int c = 0; c < CLASS_COUNT; c++)
        tv_device_arena_destroy(&model->arenas[c]);
    tv_buffer_destroy(&model->rotary);
    free(model->items);
    free(model);
    *handle = NULL;
}

tv_status tv_model_fill(tv_model *model, tv_parameter_source source, void *context) {
    float *values = calloc(model->list->max_elements, sizeof *values);
    if (!values)
        return tv_fail(TV_E_MEMORY, "out of host memory for a parameter of %llu elements",
                       (unsigned long long)model->list->max_elements);
    tv_status status = TV_OK;
    for (uint32_t i = 0; i < model->list->count && status == TV_OK; i++) {
        status = source(context, i, values);
        if (status == TV_OK)
            status = tv_upload(model->device, tv_model_parameter_at(model, i).span, values,
                               model->list->items[i].count * sizeof *values);
    }
    free(values);
    return status;
}

typedef struct drawn_source {
    const tv_parameter_list *list;
    uint64_t seed;
} drawn_source;

static tv_status draw(void *context, uint32_t index, float *out) {
    const drawn_source *source = context;
    tv_parameter_initialise(source->list, index, source->seed, out);
    return TV_OK;
}

tv_status tv_model_initialise(tv_model *model, uint64_t seed) {
    return tv_model_fill(model, draw, &(drawn_source){model->list, seed});
}

tv_status tv_model_source(void *context, uint32_t index, float *out) {
    tv_model *model = context;
    return tv_download(model->device, tv_model_parameter_at(model, index).span, out,
                       model->list->items[index].count * sizeof *out);
}

tv_device *tv_model_device(const tv_model *model) {
    return model->device;
}

const tv_parameter_list *tv_model_list(const tv_model *model) {
    return model->list;
}

static tv_tensor tensor_of(const tv_model *model, parameter_class which, uint32_t index) {
    if (index >= model->list->count || !model->arenas[which])
        return TV_ABSENT;
    return (tv_tensor){
        tv_device_arena_span(model->arenas[which], &model->items[model->list->count - 1 - index]), TV_F32};
}

tv_tensor tv_model_parameter_at(const tv_model *model, uint32_t index) {
    return tensor_of(model, CLASS_PARAMETERS, index);
}

tv_tensor tv_model_gradient_at(const tv_model *model, uint32_t index) {
    return tensor_of(model, CLASS_GRADIENTS, index);
}

tv_tensor tv_model_moment_at(const tv_model *model, uint32_t moment, uint32_t index) {
    return tensor_of(model, moment == 0 ? CLASS_MOMENT_1 : CLASS_MOMENT_2, index);
}

tv_tensor tv_model_parameter(const tv_model *model, tv_parameter_role role, uint32_t layer) {
    return tv_model_parameter_at(model, tv_parameter_index(model->list, role, layer));
}

tv_tensor tv_model_gradient(const tv_model *model, tv_parameter_role role, uint32_t layer) {
    return tv_model_gradient_at(model, tv_parameter_index(model->list, role, layer));
}

tv_tensor tv_model_rotary_table(const tv_model *model) {
    if (!model->rotary)
        return TV_ABSENT;
    return (tv_tensor){tv_span_part(tv_buffer_span(model->rotary), 0, model->rotary_bytes), TV_F32};
}
