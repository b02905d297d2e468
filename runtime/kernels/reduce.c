/* Launchers of the deterministic sums: see reduce.h. A sum goes through levels of block sums in scratch until
 * one block is left. */
#include "kernels/reduce.h"

#include "push_constants.h"

enum {
    /* Of a block's workgroup on GPUs: four vectors of four elements for each invocation. */
    BLOCK_LOCAL = 256,
    MIN_BLOCK_ROWS = 32,
    MAX_BLOCK_ROWS = 256,
};

static tv_tensor floats_at(tv_tensor scratch, uint64_t offset, uint64_t count) {
    return (tv_tensor){tv_span_part(scratch.span, offset, count * sizeof(float)), TV_F32};
}

/* ---- the sum of a whole tensor ---- */

/* The blocks' sums go to output[place], output[place + 1], ... */
static tv_status sum_blocks(tv_recorder *recorder, uint64_t count, tv_tensor input, tv_tensor output,
                            uint64_t place, bool accumulate) {
    uint64_t range = tv_recorder_caps(recorder)->storage_range, part = count;
    if (count * sizeof(float) > range)
        part = range / (TV_REDUCE_BLOCK * sizeof(float)) * TV_REDUCE_BLOCK;
    if (part == 0)
        return tv_fail(TV_E_FIT, "a sum needs bindings of %llu bytes and this device binds %llu",
                       (unsigned long long)(TV_REDUCE_BLOCK * sizeof(float)), (unsigned long long)range);
    for (uint64_t first = 0; first < count; first += part) {
        uint64_t size = tv_min_u64(part, count - first), blocks = tv_div_up(size, TV_REDUCE_BLOCK);
        tv_reduce_push push = {.count = (uint32_t)size, .accumulate = accumulate};
        tv_tensor in = tv_tensor_rows(input, 1, first, size);
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = TV_PROGRAM_reduce_sum_base,
                                   .push = &push,
                                   .groups = blocks,
                                   .bindings = {in, in,
                                                tv_tensor_window(output, place + first / TV_REDUCE_BLOCK,
                                                                 blocks, &push.first)},
                                   .specialization = {tv_row_workgroup(recorder, BLOCK_LOCAL)},
                                   .specialization_count = 1,
                                   .shape = {size}}));
    }
    return TV_OK;
}

tv_status tv_reduce_sum(tv_recorder *recorder, uint64_t count, tv_tensor input, tv_tensor output,
                        uint64_t place, bool accumulate, tv_tensor scratch) {
    if (count == 0)
        return accumulate ? TV_OK
                          : tv_record_fill(
                                recorder, tv_span_part(output.span, place * sizeof(float), sizeof(float)), 0);
    uint64_t offset = 0;
    while (count > TV_REDUCE_BLOCK) {
        uint64_t blocks = tv_div_up(count, TV_REDUCE_BLOCK);
        tv_tensor sums = floats_at(scratch, offset, blocks);
        TV_RETURN_IF_FAILED(sum_blocks(recorder, count, input, sums, 0, false));
        offset += tv_align_up(blocks * sizeof(float), TV_TENSOR_ALIGNMENT);
        input = sums;
        count = blocks;
    }
    return sum_blocks(recorder, count, input, output, place, accumulate);
}

uint64_t tv_reduce_scratch(uint64_t count) {
    uint64_t bytes = 0;
    while (count > TV_REDUCE_BLOCK) {
        count = tv_div_up(count, TV_REDUCE_BLOCK);
        bytes += tv_align_up(count * sizeof(float), TV_TENSOR_ALIGNMENT);
    }
    return tv_max_u64(bytes, TV_TENSOR_ALIGNMENT);
}

/* ---- column sums ---- */

/* Rows of a block: about the square root, so that two levels do for up to 65,536 rows. A function of the rows
 * alone, because the scratch is planned without a device. */
static uint64_t block_rows(uint64_t rows) {
    uint64_t block = MIN_BLOCK_ROWS;
    while (block < MAX_BLOCK_ROWS && block * block < rows)
        block *= 2;
    return block;
}

static tv_status sum_row_blocks(tv_recorder *recorder, uint64_t rows, uint64_t columns, uint64_t block,
                                tv_tensor input, tv_tensor output, bool accumulate) {
    const uint64_t row_bytes[] = {columns * sizeof(float)};
    uint64_t part;
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "column sums", rows, row_bytes, 1, &part));
    if (part < rows) {
        /* Whole blocks, or the largest power of two of rows within one, whose parts are then added up. `part`
         * is a multiple of a power of two, the granule; both roundings, by powers of two, leave it one. */
        uint64_t fitting = part;
        for (part = 1; 2 * part <= tv_min_u64(fitting, block);)
            part *= 2;
        if (part == block)
            part = fitting / block * block;
    }
    bool vectors = columns % 4 == 0;
    for (uint64_t first = 0; first < rows; first += part) {
        uint64_t size = tv_min_u64(part, rows - first), blocks = tv_div_up(size, block);
        tv_sum_rows_push push = {.rows = (uint32_t)size,
                                 .columns = (uint32_t)columns,
                                 .rows_per_block = (uint32_t)block,
                                 .accumulate = accumulate || first % block != 0};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = vectors ? TV_PROGRAM_sum_rows_vec4 : TV_PROGRAM_sum_rows_scalar,
                                   .push = &push,
                                   .invocations = blocks * (vectors ? columns / 4 : columns),
                                   .bindings = {tv_tensor_rows(input, columns, first, size),
                                                tv_tensor_window(output, first / block * columns,
                                                                 blocks * columns, &push.first)},
                                   .shape = {size, columns}}));
    }
    return TV_OK;
}

tv_status tv_sum_rows(tv_recorder *recorder, uint64_t rows, uint64_t columns, tv_tensor input,
                      tv_tensor output, tv_tensor scratch) {
    if (columns == 1)
        return tv_reduce_sum(recorder, rows, input, output, 0, true, scratch);
    uint64_t block = block_rows(rows), offset = 0;
    while (rows > block) {
        uint64_t blocks = tv_div_up(rows, block);
        tv_tensor sums = floats_at(scratch, offset, blocks * columns);
        TV_RETURN_IF_FAILED(sum_row_blocks(recorder, rows, columns, block, input, sums, false));
        offset += tv_align_up(blocks * columns * sizeof(float), TV_TENSOR_ALIGNMENT);
        input = sums;
        rows = blocks;
    }
    return sum_row_blocks(recorder, rows, columns, block, input, output, true);
}

uint64_t tv_sum_rows_scratch(uint64_t rows, uint64_t columns) {
    if (columns == 1)
        return tv_reduce_scratch(rows);
    uint64_t block = block_rows(rows), bytes = 0;
    /* Fewer rows in blocks of half the size may make more blocks, up to their square. */
    uint64_t fewer = block > MIN_BLOCK_ROWS ? block / 2 * columns * sizeof(float) : 0;
    while (rows > block) {
        rows = tv_div_up(rows, block);
        bytes += tv_align_up(rows * columns * sizeof(float), TV_TENSOR_ALIGNMENT);
    }
    return tv_max_u64(tv_max_u64(bytes, tv_align_up(fewer, TV_TENSOR_ALIGNMENT)), TV_TENSOR_ALIGNMENT);
}
