/* What stands in a model's weights, and how it comes there and back: see model.h. */
#include <stdlib.h>

#include "kernels/optimizer.h"
#include "model/model.h"
#include "model/model_own.h"
#include "vk/submit.h"
#include "vk/transfer.h"

/* ---- filling ---- */

static tv_status narrow_by(tv_model *model, const tv_update *update) {
    tv_recorder *recorder = NULL;
    tv_recording *recording = NULL;
    uint64_t value;
    tv_status status;
    TV_TRY(tv_recorder_begin(tv_model_device(model), &(tv_recorder_options){.name = "narrow"}, &recorder));
    TV_TRY(tv_narrow_record(recorder, update));
    TV_TRY(tv_recorder_end(&recorder, &recording));
    TV_TRY(tv_submit(tv_model_device(model), &recording, 1, &value));
    TV_TRY(tv_wait(tv_model_device(model), value));
done:
    tv_recorder_abort(&recorder);
    tv_recording_destroy(&recording);
    return status;
}

/* Weights from their masters, as each update makes them. */
static tv_status narrow_all(tv_model *model) {
    tv_device *device = tv_model_device(model);
    uint32_t trained = tv_model_trainable_count(model), count = 0;
    tv_update_tensor *tensors = calloc(trained + 1, sizeof *tensors);
    tv_update_plan *plan = NULL;
    tv_buffer *table = NULL;
    tv_status status = TV_OK;
    if (!tensors)
        return tv_fail(TV_E_MEMORY, "out of host memory for a list of weights");
    for (uint32_t i = 0; i < trained; i++) {
        const tv_trainable t = tv_model_trainable(model, i);
        if (tv_tensor_present(t.master))
            tensors[count++] = (tv_update_tensor){.count = t.parameter->count,
                                                  .rule = TV_UPDATE_NARROW,
                                                  .parameter = t.master,
                                                  .weights = t.weights,
                                                  .columns = t.parameter->shape[1]};
    }
    if (count == 0)
        goto done;
    TV_TRY(tv_update_plan_create(tv_device_caps(device), tensors, count, &plan));
    uint64_t bytes = plan->segment_count * sizeof *plan->table;
    TV_TRY(tv_buffer_create(device, bytes, TV_MEMORY_DEVICE, "narrow", &table));
    tv_span span = tv_span_part(tv_buffer_span(table), 0, bytes);
    TV_TRY(tv_upload(device, span, plan->table, bytes));
    TV_TRY(narrow_by(model, &(tv_update){.plan = plan, .table = {span, TV_U32}}));
done:
    tv_buffer_destroy(&table);
    tv_update_plan_destroy(&plan);
    free(tensors);
    return status;
}

/* Parameter `index` from parameter `from` of a source, through `piece`. */
static tv_status fill_parameter(tv_model *model, uint32_t index, tv_parameter_source source, void *context,
                                uint32_t from, void *piece) {
    const tv_parameter *p = &tv_model_list(model)->items[index];
    tv_tensor to = tv_model_master_at(model, index);
    if (!tv_tensor_present(to))
        to = tv_model_parameter_at(model, index);
    const uint64_t row_bytes = tv_dtype_row_bytes(to.dtype, p->shape[1]), most = tv_parameter_piece_rows(p);
    for (uint64_t first = 0, rows; first < p->shape[0]; first += rows) {
        rows = tv_min_u64(most, p->shape[0] - first);
        TV_RETURN_IF_FAILED(source(context, from, first, rows, to.dtype, piece));
        TV_RETURN_IF_FAILED(tv_upload(tv_model_device(model),
                                      tv_span_part(to.span, first * row_bytes, rows * row_bytes), piece,
                                      rows * row_bytes));
    }
    return TV_OK;
}

/* `base` NULL: from the source's parameters of the same numbers. */
static tv_status fill(tv_model *model, tv_parameter_source source, void *context,
                      const tv_parameter_list *base) {
    const tv_parameter_list *list = tv_model_list(model);
    uint64_t elements = tv_parameter_piece_elements(list);
    /* No type takes more than its floats, but for the padding of rows of one element. */
    void *piece = calloc(elements, sizeof(float));
    if (!piece)
        return tv_fail(TV_E_MEMORY, "out of host memory for %llu elements of a parameter",
                       (unsigned long long)elements);
    tv_status status = TV_OK;
    for (uint32_t i = 0; i < list->count && status == TV_OK; i++) {
        uint32_t from = base ? tv_model_index_in_base(base, list, i) : i;
        if (!tv_model_is_shared(model, i) && from != TV_NO_PARAMETER)
            status = fill_parameter(model, i, source, context, from, piece);
    }
    free(piece);
    return status == TV_OK ? narrow_all(model) : status;
}

tv_status tv_model_fill(tv_model *model, tv_parameter_source source, void *context) {
    return fill(model, source, context, NULL);
}

tv_status tv_model_create_over(const tv_model *base, const tv_parameter_list *list, bool train,
                               tv_model **model) {
    *model = NULL;
    if (!tv_model_config_same_body(&tv_model_list(base)->config, &list->config))
        return tv_fail(TV_E_USAGE, "models that share their weights must have the same sizes and switches");
    if (list->config.max_positions > tv_model_list(base)->config.max_positions)
        return tv_fail(TV_E_USAGE, "a model of %llu positions cannot share the tables of one of %llu",
                       (unsigned long long)list->config.max_positions,
                       (unsigned long long)tv_model_list(base)->config.max_positions);
    TV_RETURN_IF_FAILED(tv_model_create_shared(base, list, train, model));
    tv_status status = fill(*model, tv_model_source, (void *)base, tv_model_list(base));
    if (status != TV_OK)
        tv_model_destroy(model);
    return status;
}

typedef struct drawn_source {
    const tv_parameter_list *list;
    uint64_t seed;
} drawn_source;

static tv_status draw(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                      void *out) {
    const drawn_source *source = context;
    return tv_parameter_initialise_as(source->list, index, source->seed, first_row, rows, dtype, out);
}

tv_status tv_model_initialise(tv_model *model, uint64_t seed) {
    return tv_model_fill(model, draw, &(drawn_source){tv_model_list(model), seed});
}

/* ---- reading back ---- */

static tv_status as_type(tv_dtype from, uint64_t columns, uint64_t rows, const void *stored, tv_dtype to,
                         void *out) {
    if (to == TV_F32) {
        tv_dtype_to_f32(from, columns, rows, stored, out);
        return TV_OK;
    }
    float *values = calloc(rows * columns, sizeof *values);
    if (!values)
        return tv_fail(TV_E_MEMORY, "out of host memory for %llu rows of a parameter",
                       (unsigned long long)rows);
    tv_dtype_to_f32(from, columns, rows, stored, values);
    tv_dtype_from_f32(to, columns, rows, values, out);
    free(values);
    return TV_OK;
}

tv_status tv_model_source(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                          void *out) {
    tv_model *model = context;
    const uint64_t columns = tv_model_list(model)->items[index].shape[1];
    tv_tensor from = tv_model_master_at(model, index);
    if (!tv_tensor_present(from))
        from = tv_model_parameter_at(model, index);
    const uint64_t row_bytes = tv_dtype_row_bytes(from.dtype, columns);
    tv_span span = tv_span_part(from.span, first_row * row_bytes, rows * row_bytes);
    if (from.dtype == dtype)
        return tv_download(tv_model_device(model), span, out, rows * row_bytes);
    void *stored = malloc(rows * row_bytes);
    if (!stored)
        return tv_fail(TV_E_MEMORY, "out of host memory for %llu rows of a parameter",
                       (unsigned long long)rows);
    tv_status status = tv_download(tv_model_device(model), span, stored, rows * row_bytes);
    if (status == TV_OK)
        status = as_type(from.dtype, columns, rows, stored, dtype, out);
    free(stored);
    return status;
}
