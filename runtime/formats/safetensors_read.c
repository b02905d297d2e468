/* Elements of safetensors, converted and turned: see safetensors.h. */
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"
#include "formats/safetensors_types.h"

/* A tile is read, converted and stored at once: wide enough for large reads, small beside a piece of a
 * parameter. */
enum { TILE_ELEMENTS = 1 << 18, TURNED_COLUMNS = 1 << 13, TURNED_BLOCK = 16, CONVERTED_AT_ONCE = 1 << 11 };

/* `in` may lie at any address. */
static void to_floats(tv_dtype from, const uint8_t *in, uint64_t count, float *out) {
    uint16_t half;
    double wide;
    switch (from) {
    case TV_F16:
        for (uint64_t i = 0; i < count; i++) {
            memcpy(&half, in + 2 * i, sizeof half);
            out[i] = tv_half_to_float(half);
        }
        break;
    case TV_BF16:
        for (uint64_t i = 0; i < count; i++) {
            memcpy(&half, in + 2 * i, sizeof half);
            out[i] = tv_bits_to_float((uint32_t)half << 16);
        }
        break;
    case TV_F64:
        for (uint64_t i = 0; i < count; i++) {
            memcpy(&wide, in + 8 * i, sizeof wide);
            out[i] = (float)wide;
        }
        break;
    default:
        memcpy(out, in, count * sizeof *out);
        break;
    }
}

/* `out` is aligned to its type. */
static void convert(tv_dtype from, const uint8_t *in, uint64_t count, tv_dtype to, void *out) {
    float floats[CONVERTED_AT_ONCE];
    uint16_t *halves = out;
    if (from == to)
        memcpy(out, in, count * tv_dtype_bytes(to));
    else if (to == TV_F32)
        to_floats(from, in, count, out);
    else
        for (uint64_t done = 0, part; done < count; done += part) {
            part = tv_min_u64(CONVERTED_AT_ONCE, count - done);
            to_floats(from, in + done * tv_dtype_bytes(from), part, floats);
            for (uint64_t i = 0; i < part; i++)
                halves[done + i] =
                    to == TV_F16 ? tv_float_to_half(floats[i]) : tv_float_to_bfloat16(floats[i]);
        }
}

/* (rows, columns) to columns of `stride` bytes each, by blocks of rows, so that a cache line of `out` is
 * filled at once. Inlined for each size, so that a copy is one move. */
static inline void turn(const uint8_t *in, uint64_t rows, uint64_t columns, uint64_t size, uint64_t stride,
                        uint8_t *out) {
    for (uint64_t block = 0; block < rows; block += TURNED_BLOCK) {
        uint64_t end = tv_min_u64(block + TURNED_BLOCK, rows);
        for (uint64_t c = 0; c < columns; c++)
            for (uint64_t r = block; r < end; r++)
                memcpy(out + c * stride + r * size, in + (r * columns + c) * size, size);
    }
}

static void store(const uint8_t *in, uint64_t rows, uint64_t columns, uint64_t size, bool transposed,
                  uint64_t stride, uint8_t *out) {
    if (transposed && size == sizeof(float))
        turn(in, rows, columns, sizeof(float), stride, out);
    else if (transposed)
        turn(in, rows, columns, sizeof(uint16_t), stride, out);
    for (uint64_t r = 0; !transposed && r < rows; r++)
        memcpy(out + r * stride, in + r * columns * size, columns * size);
}

/* The rectangle's bytes, dense: one read where it is as wide as the tensor. */
static tv_status read_rectangle(const tv_safetensors *file, const tv_safetensor *tensor,
                                uint64_t tensor_columns, uint64_t size, const tv_safetensors_part *part,
                                uint8_t *out) {
    uint64_t first = (part->first_row * tensor_columns + part->first_column) * size;
    if (part->columns == tensor_columns || part->rows == 1)
        return tv_safetensors_copy(file, tensor, first, part->rows * part->columns * size, out);
    for (uint64_t r = 0; r < part->rows; r++)
        TV_RETURN_IF_FAILED(tv_safetensors_copy(file, tensor, first + r * tensor_columns * size,
                                                part->columns * size, out + r * part->columns * size));
    return TV_OK;
}

static tv_status check_part(const tv_safetensors *file, const tv_safetensor *tensor, uint64_t rows,
                            uint64_t columns, const tv_safetensors_part *part, tv_dtype dtype) {
    const tv_safetensors_type *type = tv_safetensors_find_type(tensor->dtype);
    if (!type || !type->is_weights)
        return tv_fail(TV_E_DATA,
                       "%s: tensor \"%s\" has the type %s; expected weights as F32, F16, BF16 or F64",
                       tv_safetensors_where(file), tensor->name, tensor->dtype);
    if (dtype != TV_F32 && dtype != TV_F16 && dtype != TV_BF16)
        return tv_fail(TV_E_USAGE, "%s: tensor \"%s\" was asked for as type %d", tv_safetensors_where(file),
                       tensor->name, dtype);
    if (part->first_row > rows || part->rows > rows - part->first_row)
        return tv_fail(TV_E_USAGE, "%s: rows %llu to %llu of tensor \"%s\", which has %llu",
                       tv_safetensors_where(file), (unsigned long long)part->first_row,
                       (unsigned long long)(part->first_row + part->rows), tensor->name,
                       (unsigned long long)rows);
    if (part->first_column > columns || part->columns > columns - part->first_column)
        return tv_fail(TV_E_USAGE, "%s: columns %llu to %llu of tensor \"%s\", which has %llu",
                       tv_safetensors_where(file), (unsigned long long)part->first_column,
                       (unsigned long long)(part->first_column + part->columns), tensor->name,
                       (unsigned long long)columns);
    return TV_OK;
}

tv_status tv_safetensors_read_part(const tv_safetensors *file, const tv_safetensor *tensor,
                                   const tv_safetensors_part *part, bool transposed, tv_dtype dtype,
                                   uint64_t stride, void *out) {
    const tv_safetensors_type *type = tv_safetensors_find_type(tensor->dtype);
    const uint64_t tensor_rows = tensor->rank ? tensor->shape[0] : 1;
    const uint64_t tensor_columns = tensor_rows ? tensor->count / tensor_rows : 0;
    TV_RETURN_IF_FAILED(check_part(file, tensor, tensor_rows, tensor_columns, part, dtype));
    if (part->rows == 0 || part->columns == 0)
        return TV_OK;
    const uint64_t size = tv_dtype_bytes(dtype), dense = (transposed ? part->rows : part->columns) * size;
    if (stride == 0)
        stride = dense;
    if (!transposed && type->dtype == dtype && stride == dense)
        return read_rectangle(file, tensor, tensor_columns, size, part, out);
    const uint64_t columns = tv_min_u64(part->columns, transposed ? TURNED_COLUMNS : TILE_ELEMENTS);
    /* A tile's rows follow each other in `out` as well. */
    const bool straight = !transposed && stride == dense && columns == part->columns;
    const uint64_t rows = tv_min_u64(part->rows, TILE_ELEMENTS / columns);
    uint8_t *tile = malloc(rows * columns * type->bytes), *converted = malloc(rows * columns * size);
    tv_status status = tile && converted ? TV_OK
                                         : tv_fail(TV_E_MEMORY, "out of host memory while reading %s",
                                                   tv_safetensors_where(file));
    for (uint64_t r = 0; r < part->rows && status == TV_OK; r += rows)
        for (uint64_t c = 0; c < part->columns && status == TV_OK; c += columns) {
            const tv_safetensors_part at = {part->first_row + r, tv_min_u64(rows, part->rows - r),
                                            part->first_column + c, tv_min_u64(columns, part->columns - c)};
            status = read_rectangle(file, tensor, tensor_columns, type->bytes, &at, tile);
            if (status != TV_OK)
                break;
            uint8_t *there = (uint8_t *)out + (transposed ? c * stride + r * size : r * stride + c * size);
            convert(type->dtype, tile, at.rows * at.columns, dtype, straight ? there : converted);
            if (!straight)
                store(converted, at.rows, at.columns, size, transposed, stride, there);
        }
    free(converted);
    free(tile);
    return status;
}

tv_status tv_safetensors_read(const tv_safetensors *file, const tv_safetensor *tensor, uint64_t first_row,
                              uint64_t rows, bool transposed, float *out) {
    const uint64_t all_rows = tensor->rank ? tensor->shape[0] : 1;
    const tv_safetensors_part part = {first_row, rows, 0, all_rows ? tensor->count / all_rows : 0};
    return tv_safetensors_read_part(file, tensor, &part, transposed, TV_F32, 0, out);
}
