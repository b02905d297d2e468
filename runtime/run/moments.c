/* Writing and reading moments and errors: see moments.h. */
#include "run/moments.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/dtype.h"
#include "base/files.h"
#include "formats/safetensors.h"
#include "kernels/update_plan.h"
#include "sizes.h"
#include "vk/transfer.h"

static const char *const moment_names[TV_MOMENTS] = {"exp_avg", "exp_avg_sq"};
/* Apart from the model, because loaders take every safetensors file of a model's directory for weights. */
static const char moments_folder[] = "training_state", moments_file[] = "optimizer.safetensors";

/* How a moment lies in the file: rows of the parameter's floats, or of the bytes of a piece of 8-bit moments.
 */
typedef struct moment_rows {
    bool codes;
    uint64_t rows, row_bytes, row_elements;
} moment_rows;

static moment_rows rows_of(const tv_parameter *p) {
    if (p->optimizer != TV_OPTIMIZER_ADAMW8)
        return (moment_rows){false, p->shape[0], p->shape[1] * sizeof(float), p->shape[1]};
    return (moment_rows){true, tv_moment8_words(p->count) / TV_MOMENT_WORDS,
                         TV_MOMENT_WORDS * sizeof(uint32_t), TV_MOMENT_PIECE};
}

/* For what is read or written at once: TV_PIECE_BYTES, or a row. */
static uint64_t most_at_once(const tv_model *model) {
    return tv_max_u64(tv_parameter_piece_elements(tv_model_list(model)) * sizeof(float), TV_PIECE_BYTES);
}

/* ---- writing ---- */

static const char *error_name(uint64_t group, const tv_parameter *p, char *name, size_t size) {
    snprintf(name, size, "rounding_error/%" PRIu64 "/%s", group, p->name);
    return name;
}

/* Moments, of which a parameter of Muon has the first alone, then errors of `groups`. */
static tv_status describe(const tv_model *model, uint64_t groups, tv_arena *arena, tv_safetensor **tensors,
                          uint64_t *moments) {
    const tv_parameter_list *list = tv_model_list(model);
    char error[256];
    *moments = 0;
    *tensors = tv_arena_alloc(arena, (TV_MOMENTS + groups) * list->count, sizeof **tensors);
    if (!*tensors)
        return TV_E_MEMORY;
    for (uint32_t m = 0; m < TV_MOMENTS; m++) {
        for (uint32_t i = 0; i < list->count; i++) {
            const tv_parameter *p = &list->items[i];
            if (!tv_model_state_bytes(p, m, p->count))
                continue;
            const moment_rows rows = rows_of(p);
            const char *name = tv_arena_format(arena, "%s/%s", moment_names[m], p->name);
            if (!name)
                return TV_E_MEMORY;
            (*tensors)[(*moments)++] =
                rows.codes
                    ? (tv_safetensor){.name = name,
                                      .dtype = "U8",
                                      .rank = 2,
                                      .shape = {rows.rows, rows.row_bytes}}
                    : (tv_safetensor){
                          .name = name, .dtype = "F32", .rank = p->rank, .shape = {p->shape[0], p->shape[1]}};
        }
    }
    for (uint64_t g = 0; g < groups; g++) {
        for (uint32_t i = 0; i < list->count; i++) {
            const tv_parameter *p = &list->items[i];
            if (!p->trainable)
                continue;
            const char *name = tv_arena_format(arena, "%s", error_name(g, p, error, sizeof error));
            if (!name)
                return TV_E_MEMORY;
            (*tensors)[(*moments)++] = (tv_safetensor){
                .name = name, .dtype = "BF16", .rank = p->rank, .shape = {p->shape[0], p->shape[1]}};
        }
    }
    return TV_OK;
}

/* Stretches of a parameter follow each other as its elements do. */
static tv_status write_stretch(tv_safetensors_writer *writer, const tv_model *model, uint32_t number,
                               uint32_t which, void *values) {
    const tv_stretch *stretch = &tv_model_stretches(model)->items[number];
    const uint64_t bytes =
        tv_model_state_bytes(&tv_model_list(model)->items[stretch->parameter], which, stretch->count);
    tv_part part = {0};
    while (tv_next_part(&part, bytes, TV_PIECE_BYTES)) {
        TV_RETURN_IF_FAILED(tv_model_state(model, number, which, part.first, part.count, values));
        TV_RETURN_IF_FAILED(tv_safetensors_write(writer, values, part.count));
    }
    return TV_OK;
}

tv_status tv_moments_write(const char *directory, tv_model *model, bool skipped) {
    const uint32_t groups = skipped ? 0 : (uint32_t)tv_model_error_groups(model);
    uint64_t moments;
    tv_status status;
    char *folder = tv_format("%s/%s", directory, moments_folder);
    char *path = tv_format("%s/%s/%s", directory, moments_folder, moments_file);
    tv_arena *arena = NULL;
    tv_safetensors_writer *writer = NULL;
    tv_safetensor *tensors = NULL;
    void *values = calloc(1, most_at_once(model));
    if (!values || !folder || !path) {
        status = tv_fail(TV_E_MEMORY, "out of host memory while writing the moments of %s", directory);
        goto done;
    }
    TV_TRY(tv_make_dirs(folder));
    TV_TRY(tv_arena_create(&arena));
    TV_TRY(describe(model, groups, arena, &tensors, &moments));
    TV_TRY(tv_safetensors_writer_open(path, tensors, moments, &writer));
    for (uint32_t m = 0; m < TV_MOMENTS; m++)
        for (uint32_t s = 0; s < tv_model_stretches(model)->count; s++)
            TV_TRY(write_stretch(writer, model, s, m, values));
    for (uint32_t g = 0; g < groups; g++)
        for (uint32_t s = 0; s < tv_model_stretches(model)->count; s++)
            TV_TRY(write_stretch(writer, model, s, TV_STATE_ERRORS + g, values));
    TV_TRY(tv_safetensors_writer_commit(&writer));
done:
    tv_safetensors_writer_abort(&writer);
    tv_arena_destroy(&arena);
    free(values);
    free(folder);
    free(path);
    return status;
}

/* ---- reading ---- */

static tv_status check_moment(const char *path, const tv_safetensor *tensor, const tv_parameter *parameter,
                              const moment_rows *all) {
    if (all->codes && (strcmp(tensor->dtype, "U8") != 0 || tensor->rank != 2 ||
                       tensor->shape[0] != all->rows || tensor->shape[1] != all->row_bytes))
        return tv_fail(TV_E_DATA,
                       "%s: expected moments of 8 bits as %" PRIu64 " x %" PRIu64
                       " bytes in \"%s\", found %" PRIu64 " elements of type %s",
                       path, all->rows, all->row_bytes, tensor->name, tensor->count, tensor->dtype);
    if (!all->codes &&
        (tensor->count != parameter->count || tensor->rank == 0 || tensor->shape[0] != parameter->shape[0]))
        return tv_fail(TV_E_DATA, "%s: expected %" PRIu64 " elements in \"%s\", found %" PRIu64, path,
                       parameter->count, tensor->name, tensor->count);
    return TV_OK;
}

/* A mean of gradients, or of their squares: one that is neither would be in the weights after an update. */
static tv_status check_values(const char *path, const char *name, uint32_t m, const float *values,
                              uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        if (!isfinite(values[i]) || (m == 1 && values[i] < 0))
            return tv_fail(TV_E_DATA, "%s: \"%s\" holds %g, which is no moment; the file is damaged", path,
                           name, (double)values[i]);
    return TV_OK;
}

/* Codes of any bits are moments; of the exponents behind them, not all are. */
static tv_status check_codes(const char *path, const char *name, const moment_rows *all, uint64_t rows,
                             const void *values) {
    for (uint64_t r = 0; r < rows; r++) {
        uint32_t words[TV_MOMENT_WORDS];
        memcpy(words, (const uint8_t *)values + r * all->row_bytes, sizeof words);
        if (!tv_moment8_is_sound(words))
            return tv_fail(TV_E_DATA, "%s: \"%s\" holds an exponent that no moment has; the file is damaged",
                           path, name);
    }
    return TV_OK;
}

/* Rows [first, first + count) of the moment into the device, as far as they are the stretch's. */
static tv_status upload_rows(tv_device *device, const tv_trainable *t, uint32_t m, const moment_rows *all,
                             const tv_part *rows, const void *values) {
    const uint64_t element = all->codes ? 0 : sizeof(float), begin = rows->first * all->row_elements;
    if (all->codes) /* stretches begin and end with rows */
        return tv_upload(device,
                         tv_span_part(t->moments[m].span,
                                      (begin - t->first) / all->row_elements * all->row_bytes,
                                      rows->count * all->row_bytes),
                         values, rows->count * all->row_bytes);
    const uint64_t from = tv_max_u64(begin, t->first),
                   to = tv_min_u64(begin + rows->count * all->row_elements, t->first + t->count);
    return tv_upload(device,
                     tv_span_part(t->moments[m].span, (from - t->first) * element, (to - from) * element),
                     (const char *)values + (from - begin) * element, (to - from) * element);
}

/* Piece by piece through `values`. */
static tv_status read_moment(const tv_safetensors *file, const char *path, uint32_t m, tv_device *device,
                             const tv_trainable *t, uint64_t most, void *values) {
    char name[256];
    snprintf(name, sizeof name, "%s/%s", moment_names[m], t->parameter->name);
    const tv_safetensor *tensor = tv_safetensors_find(file, name);
    if (!tensor)
        return tv_fail(
            TV_E_DATA,
            "%s: expected the tensor \"%s\" and found none; the checkpoint belongs to another model, "
            "or train.trainable was another",
            path, name);
    const moment_rows all = rows_of(t->parameter);
    TV_RETURN_IF_FAILED(check_moment(path, tensor, t->parameter, &all));
    const uint64_t first = t->first / all.row_elements,
                   end = tv_div_up(t->first + t->count, all.row_elements);
    tv_part part = {0};
    while (tv_next_part(&part, end - first, tv_max_u64(1, most / all.row_bytes))) {
        const tv_part rows = {first + part.first, part.count};
        if (all.codes) {
            TV_RETURN_IF_FAILED(tv_safetensors_copy(file, tensor, rows.first * all.row_bytes,
                                                    rows.count * all.row_bytes, values));
            TV_RETURN_IF_FAILED(check_codes(path, name, &all, rows.count, values));
        } else {
            TV_RETURN_IF_FAILED(tv_safetensors_read(file, tensor, rows.first, rows.count, false, values));
            TV_RETURN_IF_FAILED(check_values(path, name, m, values, rows.count * all.row_elements));
        }
        TV_RETURN_IF_FAILED(upload_rows(device, t, m, &all, &rows, values));
    }
    return TV_OK;
}

static tv_status check_errors(const char *path, const char *name, const uint16_t *values, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        const double error = (double)tv_bfloat16_to_float(values[i]);
        if (!isfinite(error))
            return tv_fail(TV_E_DATA,
                           "%s: \"%s\" holds %g, which no rounding leaves over; the file is damaged", path,
                           name, error);
    }
    return TV_OK;
}

/* Of all of a parameter, piece by piece. */
static tv_status read_error(const tv_safetensors *file, const char *path, const tv_safetensor *tensor,
                            const tv_parameter *p, tv_device *device, tv_tensor to, uint64_t most,
                            void *values) {
    const char *name = tensor->name;
    if (strcmp(tensor->dtype, "BF16") != 0 || tensor->count != p->count)
        return tv_fail(TV_E_DATA,
                       "%s: expected %" PRIu64 " elements of type BF16 in \"%s\", found %" PRIu64 " of %s",
                       path, p->count, name, tensor->count, tensor->dtype);
    tv_part part = {0};
    while (tv_next_part(&part, to.span.bytes, most)) {
        TV_RETURN_IF_FAILED(tv_safetensors_copy(file, tensor, part.first, part.count, values));
        TV_RETURN_IF_FAILED(check_errors(path, name, values, part.count / sizeof(uint16_t)));
        TV_RETURN_IF_FAILED(
            tv_upload(device, tv_span_part(to.span, part.first, part.count), values, part.count));
    }
    return TV_OK;
}

/* A file has all of them or, where an update was skipped or gradients were not rounded, none. */
static tv_status read_errors(const tv_safetensors *file, const char *path, tv_model *model, uint64_t most,
                             void *values) {
    const tv_parameter_list *list = tv_model_list(model);
    uint64_t found = 0;
    char name[256], missing[256] = "";
    for (uint64_t g = 0; g < tv_model_error_groups(model); g++)
        for (uint32_t i = 0; i < list->count; i++) {
            const tv_tensor to = tv_model_error_at(model, i, g);
            if (!tv_tensor_present(to))
                continue;
            const tv_safetensor *tensor =
                tv_safetensors_find(file, error_name(g, &list->items[i], name, sizeof name));
            if (!tensor) {
                memcpy(missing, name, sizeof missing);
                continue;
            }
            found++;
            TV_RETURN_IF_FAILED(
                read_error(file, path, tensor, &list->items[i], tv_model_device(model), to, most, values));
        }
    if (found && missing[0])
        return tv_fail(TV_E_DATA, "%s: expected the tensor \"%s\" beside others of its kind, found none",
                       path, missing);
    return TV_OK;
}

static tv_status read_file(const char *path, tv_model *model) {
    tv_status status;
    tv_safetensors *file = NULL;
    const uint64_t most = most_at_once(model);
    void *values = calloc(1, most);
    if (!values) {
        status = tv_fail(TV_E_MEMORY, "out of host memory while reading %s", path);
        goto done;
    }
    TV_TRY(tv_safetensors_open(path, &file));
    for (uint32_t m = 0; m < TV_MOMENTS; m++) {
        for (uint32_t i = 0; i < tv_model_trainable_count(model); i++) {
            const tv_trainable t = tv_model_trainable(model, i);
            if (tv_tensor_present(t.moments[m]))
                TV_TRY(read_moment(file, path, m, tv_model_device(model), &t, most, values));
        }
    }
    TV_TRY(read_errors(file, path, model, most, values));
done:
    tv_safetensors_close(&file);
    free(values);
    return status;
}

tv_status tv_moments_read(const char *directory, tv_model *model) {
    char *path = tv_format("%s/%s/%s", directory, moments_folder, moments_file);
    if (path && !tv_path_exists(path)) { /* where earlier versions wrote it */
        free(path);
        path = tv_format("%s/%s", directory, moments_file);
    }
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status = read_file(path, model);
    free(path);
    return status;
}
