/* The weights of a model directory, in any type that they are stored in: see directory.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/directory_own.h"
#include "formats/safetensors_types.h"

/* Floats that are held at once where a type is made of them. */
static const uint64_t FLOATS_AT_ONCE = UINT64_C(1) << 20;

/* The first value that is not finite, or `count`; its bits all say so in the exponent. */
static uint64_t first_nonfinite(tv_dtype dtype, const void *values, uint64_t count) {
    const float *floats = values;
    const uint16_t *halves = values;
    const uint16_t exponent = dtype == TV_F16 ? 0x7c00 : 0x7f80;
    float none = 0;
    bool all = true;
    if (dtype == TV_F32) {
        for (uint64_t i = 0; i < count; i++)
            none += floats[i] * 0;
        for (uint64_t i = 0; !(none == 0) && i < count; i++)
            if (!isfinite(floats[i]))
                return i;
        return count;
    }
    for (uint64_t i = 0; i < count; i++)
        all = all && (halves[i] & exponent) != exponent;
    for (uint64_t i = 0; !all && i < count; i++)
        if ((halves[i] & exponent) == exponent)
            return i;
    return count;
}

/* A model with one value that is no number draws and scores nonsense, in some kernels without a trace. */
static tv_status check_finite(const place *p, tv_dtype dtype, const void *values, uint64_t count) {
    uint64_t at = first_nonfinite(dtype, values, count);
    if (at == count)
        return TV_OK;
    if (dtype == TV_F16 && strcmp(p->tensor->dtype, "F16") != 0)
        return tv_fail(
            TV_E_DATA,
            "%s: tensor %s holds a value that f16 cannot hold (its largest is 65504), or that is no "
            "number; its own type is %s",
            p->shard->path, p->tensor->name, p->tensor->dtype);
    double value = dtype == TV_F32   ? (double)((const float *)values)[at]
                   : dtype == TV_F16 ? (double)tv_half_to_float(((const uint16_t *)values)[at])
                                     : (double)tv_bfloat16_to_float(((const uint16_t *)values)[at]);
    return tv_fail(TV_E_DATA,
                   "%s: tensor %s holds %g, which is no weight; the training that wrote it diverged, or "
                   "the file is damaged: take an earlier checkpoint or another copy",
                   p->shard->path, p->tensor->name, value);
}

/* Rows of one tensor as F32, F16 or BF16; rows of an odd number of halves end with zeros. */
static tv_status read_part(const place *p, const tv_safetensors_part *part, bool transposed, uint64_t columns,
                           tv_dtype dtype, uint8_t *out) {
    const uint64_t rows = transposed ? part->columns : part->rows;
    const uint64_t dense = columns * tv_dtype_bytes(dtype), stride = tv_dtype_row_bytes(dtype, columns);
    TV_RETURN_IF_FAILED(
        tv_safetensors_read_part(p->shard->file, p->tensor, part, transposed, dtype, stride, out));
    if (stride == dense)
        return check_finite(p, dtype, out, rows * columns);
    for (uint64_t r = 0; r < rows; r++) {
        memset(out + r * stride + dense, 0, stride - dense);
        TV_RETURN_IF_FAILED(check_finite(p, dtype, out + r * stride, columns));
    }
    return TV_OK;
}

static tv_status read_tensors(const tv_model_directory *directory, uint32_t index, uint64_t first_row,
                              uint64_t rows, tv_dtype dtype, uint8_t *out) {
    const tv_layout *layout = directory->layout;
    const uint64_t columns = directory->list->items[index].shape[1], end = first_row + rows;
    for (uint64_t i = 0; i < layout->count; i++) {
        const tv_layout_entry *entry = &layout->entries[i];
        const uint64_t from = tv_max_u64(first_row, entry->first_row);
        const uint64_t to = tv_min_u64(end, entry->first_row + entry->rows);
        if (entry->parameter != index || from >= to)
            continue;
        tv_safetensors_part part = {from - entry->first_row, to - from, 0, columns};
        if (entry->transposed)
            part = (tv_safetensors_part){0, columns, from - entry->first_row, to - from};
        TV_RETURN_IF_FAILED(read_part(&directory->places[directory->of_entry[i]], &part, entry->transposed,
                                      columns, dtype,
                                      out + (from - first_row) * tv_dtype_row_bytes(dtype, columns)));
    }
    return TV_OK;
}

static uint32_t index_in_base(const tv_model_directory *directory, uint32_t index) {
    const tv_parameter *p = &directory->list->items[index];
    return tv_parameter_index(tv_model_directory_parameters(directory->base), p->role, p->layer);
}

/* Some rows at a time as floats, made into `dtype`. */
static tv_status read_by_floats(const tv_model_directory *directory, uint32_t index, uint64_t first_row,
                                uint64_t rows, tv_dtype dtype, uint8_t *out) {
    const uint64_t columns = tv_model_directory_parameters(directory)->items[index].shape[1];
    const uint64_t piece = tv_max_u64(1, tv_min_u64(rows, FLOATS_AT_ONCE / columns));
    float *floats = malloc(piece * columns * sizeof *floats);
    tv_status status =
        floats ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the model in %s", directory->path);
    for (uint64_t done = 0, part; done < rows && status == TV_OK; done += part) {
        part = tv_min_u64(piece, rows - done);
        status = tv_model_directory_read_rows(directory, index, first_row + done, part, TV_F32, floats);
        if (status == TV_OK)
            tv_dtype_from_f32(dtype, columns, part, floats, out + done * tv_dtype_row_bytes(dtype, columns));
    }
    free(floats);
    return status;
}

const tv_parameter_list *tv_model_directory_parameters(const tv_model_directory *directory) {
    return directory->list ? directory->list : tv_gguf_model_parameters(directory->gguf);
}

tv_status tv_model_directory_read_rows(const tv_model_directory *directory, uint32_t index,
                                       uint64_t first_row, uint64_t rows, tv_dtype dtype, void *out) {
    if (directory->peft && !tv_peft_has(directory->peft, index))
        return tv_model_directory_read_rows(directory->base, index_in_base(directory, index), first_row, rows,
                                            dtype, out);
    if (directory->gguf)
        return tv_gguf_model_read_rows(directory->gguf, index, first_row, rows, dtype, out);
    if (directory->peft && dtype == TV_F32)
        return tv_peft_read_rows(directory->peft, index, first_row, rows, dtype, out);
    if (directory->peft || tv_dtype_is_blocks(dtype))
        return read_by_floats(directory, index, first_row, rows, dtype, out);
    return read_tensors(directory, index, first_row, rows, dtype, out);
}

tv_status tv_model_directory_read(const tv_model_directory *directory, uint32_t index, float *out) {
    const tv_parameter_list *list = tv_model_directory_parameters(directory);
    return tv_model_directory_read_rows(directory, index, 0, list->items[index].shape[0], TV_F32, out);
}

tv_dtype tv_model_directory_dtype(const tv_model_directory *directory, uint32_t index) {
    bool found = false;
    tv_dtype dtype = TV_F32;
    if (directory->gguf)
        return tv_gguf_model_stored(directory->gguf, index);
    if (directory->peft)
        return tv_peft_has(directory->peft, index)
                   ? TV_F32
                   : tv_model_directory_dtype(directory->base, index_in_base(directory, index));
    for (uint64_t i = 0; i < directory->layout->count; i++) {
        if (directory->layout->entries[i].parameter != index)
            continue;
        const tv_safetensor *tensor = directory->places[directory->of_entry[i]].tensor;
        tv_dtype own = tv_safetensors_find_type(tensor->dtype)->dtype;
        own = own == TV_F64 ? TV_F32 : own;
        /* q, k and v of two types are one matrix: of floats, which hold both. */
        dtype = found && own != dtype ? TV_F32 : own;
        found = true;
    }
    return dtype;
}
