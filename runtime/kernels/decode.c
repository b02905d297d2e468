/* Launcher of the decoding step's bookkeeping: see decode.h. */
#include "kernels/decode.h"

tv_status tv_decode_advance_record(tv_recorder *recorder, const tv_decode_advance *advance) {
    uint64_t width = advance->max_tokens;
    const uint64_t recent = (uint64_t)TV_DECODE_RECENT * TV_DECODE_DRAWN_WORDS;
    const uint64_t bytes[] = {2 * sizeof(uint32_t), width * sizeof(uint32_t), recent * sizeof(uint32_t)};
    uint64_t part;
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "decoding", advance->rows, bytes, 3, &part));
    for (uint64_t first = 0; first < advance->rows; first += part) {
        uint64_t rows = tv_min_u64(part, advance->rows - first);
        tv_decode_advance_push push = {(uint32_t)rows, (uint32_t)width, (uint32_t)first,
                                       (uint32_t)advance->entropies_at};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){.program = TV_PROGRAM_decode_advance_base,
                         .push = &push,
                         .invocations = rows,
                         .bindings = {tv_tensor_rows(advance->tokens, 1, first, rows),
                                      tv_tensor_first(advance->drawn, advance->entropies_at + advance->rows),
                                      tv_tensor_rows(advance->bounds, 2, first, rows),
                                      tv_tensor_first(advance->ends, TV_DECODE_ENDS_WORDS),
                                      tv_tensor_rows(advance->positions, 1, first, rows),
                                      tv_tensor_rows(advance->finished, 1, first, rows),
                                      tv_tensor_rows(advance->prompts, width, first, rows),
                                      tv_tensor_rows(advance->recent, recent, first, rows)},
                         .shape = {rows, width}}));
    }
    return TV_OK;
}
