/* What stands in a model's weights, and how it comes there and back: see model.h. */
#include <stdlib.h>

#include "kernels/optimizer.h"
#include "model/model.h"
#include "model/model_own.h"
#include "vk/once.h"
#include "vk/transfer.h"

/* ---- filling ---- */

static tv_status narrow_by(tv_model *model, const tv_update *update) {
    tv_recorder *recorder = NULL;
    tv_status status;
    TV_TRY_OR_FAIL(
        tv_recorder_begin(tv_model_device(model), &(tv_recorder_options){.name = "narrow"}, &recorder));
    TV_TRY_OR_FAIL(tv_narrow_record(recorder, update));
    return tv_run_once(&recorder);
fail:
    tv_recorder_abort(&recorder);
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
            tensors[count++] = (tv_update_tensor){.count = t.count,
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

static bool has_masters(const tv_model *model, uint32_t index) {
    const tv_parameter *p = &tv_model_list(model)->items[index];
    return tv_model_stretches(model) && p->trainable && p->storage != TV_F32;
}

typedef struct filling {
    tv_model *model;
    tv_parameter_source source;
    void *context;
    void *piece;
} filling;

/* `to` are rows of parameter `index` from `first` on, which is `from` of the source. */
static tv_status fill_rows(const filling *f, uint32_t index, uint32_t from, tv_tensor to, uint64_t first,
                           uint64_t rows) {
    const tv_parameter *p = &tv_model_list(f->model)->items[index];
    const uint64_t row_bytes = tv_dtype_row_bytes(to.dtype, p->shape[1]);
    tv_part part = {0};
    while (tv_next_part(&part, rows, tv_parameter_piece_rows(p))) {
        const uint64_t bytes = part.count * row_bytes;
        TV_RETURN_IF_FAILED(f->source(f->context, from, first + part.first, part.count, to.dtype, f->piece));
        TV_RETURN_IF_FAILED(tv_upload(tv_model_device(f->model),
                                      tv_span_part(to.span, part.first * row_bytes, bytes), f->piece, bytes));
    }
    return TV_OK;
}

/* Parameter `index` from parameter `from` of a source. Weights are made from masters, and where those are
 * others' they are at first what the source makes of them (train/exchange.h). */
static tv_status fill_parameter(const filling *f, uint32_t index, uint32_t from) {
    const tv_parameter *p = &tv_model_list(f->model)->items[index];
    const bool masters = has_masters(f->model, index);
    if (!masters || tv_owners_count(tv_model_list(f->model)) > 1)
        TV_RETURN_IF_FAILED(
            fill_rows(f, index, from, tv_model_parameter_at(f->model, index), 0, p->shape[0]));
    for (uint32_t i = 0; masters && i < tv_model_trainable_count(f->model); i++) {
        const tv_trainable t = tv_model_trainable(f->model, i);
        if (t.parameter == p)
            TV_RETURN_IF_FAILED(
                fill_rows(f, index, from, t.master, t.first / p->shape[1], t.count / p->shape[1]));
    }
    return TV_OK;
}

/* `base` NULL: from the source's parameters of the same numbers. */
static tv_status fill(tv_model *model, tv_parameter_source source, void *context,
                      const tv_parameter_list *base) {
    const tv_parameter_list *list = tv_model_list(model);
    uint64_t elements = tv_parameter_piece_elements(list);
    /* No type takes more than its floats, but for the padding of rows of one element. */
    const filling f = {model, source, context, calloc(elements, sizeof(float))};
    if (!f.piece)
        return tv_fail(TV_E_MEMORY, "out of host memory for %llu elements of a parameter",
                       (unsigned long long)elements);
    tv_status status = TV_OK;
    for (uint32_t i = 0; i < list->count && status == TV_OK; i++) {
        uint32_t from = base ? tv_model_index_in_base(base, list, i) : i;
        if (!tv_model_is_shared(model, i) && from != TV_NO_PARAMETER)
            status = fill_parameter(&f, i, from);
    }
    free(f.piece);
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

static tv_status out_of_memory(uint64_t rows) {
    return tv_fail(TV_E_MEMORY, "out of host memory for %llu rows of a parameter", (unsigned long long)rows);
}

static tv_status as_type(tv_dtype from, uint64_t columns, uint64_t rows, const void *stored, tv_dtype to,
                         void *out) {
    if (to == TV_F32) {
        tv_dtype_to_f32(from, columns, rows, stored, out);
        return TV_OK;
    }
    float *values = calloc(rows * columns, sizeof *values);
    if (!values)
        return out_of_memory(rows);
    tv_dtype_to_f32(from, columns, rows, stored, values);
    tv_dtype_from_f32(to, columns, rows, values, out);
    free(values);
    return TV_OK;
}

static tv_status read_weights(tv_model *model, uint32_t index, uint64_t first_row, uint64_t rows,
                              tv_dtype dtype, void *out) {
    const uint64_t columns = tv_model_list(model)->items[index].shape[1];
    const tv_tensor from = tv_model_parameter_at(model, index);
    const uint64_t row_bytes = tv_dtype_row_bytes(from.dtype, columns);
    tv_span span = tv_span_part(from.span, first_row * row_bytes, rows * row_bytes);
    if (from.dtype == dtype)
        return tv_download(tv_model_device(model), span, out, rows * row_bytes);
    void *stored = malloc(rows * row_bytes);
    if (!stored)
        return out_of_memory(rows);
    tv_status status = tv_download(tv_model_device(model), span, stored, rows * row_bytes);
    if (status == TV_OK)
        status = as_type(from.dtype, columns, rows, stored, dtype, out);
    free(stored);
    return status;
}

/* Rows of masters: this owner's, others' where they can be asked, else as the weights hold them. */
static tv_status read_masters(tv_model *model, uint32_t index, uint64_t first_row, uint64_t rows,
                              float *out) {
    const tv_stretches *all = tv_model_stretches(model);
    const tv_parameter *p = &tv_model_list(model)->items[index];
    const uint64_t columns = p->shape[1], begin = first_row * columns, end = begin + rows * columns;
    for (uint32_t s = 0; s < all->count; s++) {
        const tv_stretch *stretch = &all->items[s];
        const uint64_t from = tv_max_u64(begin, stretch->first),
                       to = tv_min_u64(end, stretch->first + stretch->count);
        float *place = out + (from - begin);
        if (stretch->parameter != index || from >= to)
            continue;
        tv_status status = tv_model_state(model, s, TV_MOMENTS, (from - stretch->first) * sizeof(float),
                                          (to - from) * sizeof(float), place);
        if (status == TV_E_USAGE)
            status = read_weights(model, index, from / columns, (to - from) / columns, TV_F32, place);
        TV_RETURN_IF_FAILED(status);
    }
    return TV_OK;
}

tv_status tv_model_source(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                          void *out) {
    tv_model *model = context;
    const uint64_t columns = tv_model_list(model)->items[index].shape[1];
    if (!has_masters(model, index))
        return read_weights(model, index, first_row, rows, dtype, out);
    if (dtype == TV_F32)
        return read_masters(model, index, first_row, rows, out);
    float *values = calloc(rows * columns, sizeof *values);
    if (!values)
        return out_of_memory(rows);
    tv_status status = read_masters(model, index, first_row, rows, values);
    if (status == TV_OK)
        tv_dtype_from_f32(dtype, columns, rows, values, out);
    free(values);
    return status;
}
