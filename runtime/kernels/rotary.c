/* Launcher of the rotary positions: see rotary.h. */
#include "kernels/rotary.h"

#include <math.h>

#include "push_constants.h"

void tv_rotary_table(uint64_t max_positions, uint64_t head_size, double theta, float *table) {
    uint64_t half = head_size / 2;
    for (uint64_t i = 0; i < half; i++) {
        double frequency = pow(theta, -2.0 * (double)i / (double)head_size);
        for (uint64_t position = 0; position < max_positions; position++) {
            float *entry = &table[2 * (position * half + i)];
            entry[0] = (float)cos((double)position * frequency);
            entry[1] = (float)sin((double)position * frequency);
        }
    }
}

tv_status tv_rotary_record(tv_recorder *recorder, const tv_rotary *rotary) {
    uint64_t half = rotary->head_size / 2;
    if (rotary->head_size % 2 != 0 || rotary->heads * rotary->head_size > rotary->row_stride ||
        (rotary->tokens_per_row == 0 && !tv_tensor_present(rotary->positions)))
        return tv_fail(
            TV_E_USAGE,
            "rotary: expected an even head size and heads within the row, found %llu heads of %llu "
            "in a row of %llu, %llu tokens",
            (unsigned long long)rotary->heads, (unsigned long long)rotary->head_size,
            (unsigned long long)rotary->row_stride, (unsigned long long)rotary->tokens_per_row);
    if (half == 0 || rotary->heads == 0)
        return TV_OK;
    bool has_positions = tv_tensor_present(rotary->positions);
    /* Without positions only the first T rows of the table are read, and only they need to fit a binding. */
    tv_tensor table = rotary->table;
    if (!has_positions)
        table = tv_tensor_rows(table, 2 * half, 0, rotary->tokens_per_row);
    const uint64_t bytes[] = {rotary->row_stride * tv_dtype_bytes(rotary->qkv.dtype),
                              has_positions ? tv_dtype_bytes(TV_U32) : 0};
    uint64_t part;
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "rotary", rotary->rows, bytes, 2, &part));
    for (uint64_t first = 0; first < rotary->rows; first += part) {
        uint64_t rows = tv_min_u64(part, rotary->rows - first);
        tv_rotary_push push = {
            .rows = (uint32_t)rows,
            .first_row = has_positions ? 0 : (uint32_t)(first % rotary->tokens_per_row),
            .tokens = (uint32_t)tv_max_u64(rotary->tokens_per_row, 1),
            .heads = (uint32_t)rotary->heads,
            .half_size = (uint32_t)half,
            .row_stride = (uint32_t)rotary->row_stride,
            .has_positions = has_positions,
            .direction = rotary->inverse ? -1.0F : 1.0F,
        };
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){
                          .program = TV_PROGRAM_rotary_base,
                          .push = &push,
                          .invocations = rows * rotary->heads * half,
                          .bindings = {tv_tensor_rows(rotary->positions, 1, first, rows), table,
                                       tv_tensor_rows(rotary->qkv, rotary->row_stride, first, rows)},
                          .shape = {rows, rotary->heads, rotary->head_size},
                      }));
    }
    return TV_OK;
}
