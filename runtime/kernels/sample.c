/* Launcher of the draw: see sample.h. */
#include "kernels/sample.h"

#include "kernels/texels.h"
#include "push_constants.h"

/* Invocations for a row on GPUs: decoding has few rows, so each gets as many as a workgroup can have. */
static const uint64_t row_local = 1024;
/* Counts of tokens are exact in fp32 below this. */
static const uint64_t vocab_limit = UINT64_C(1) << 24;

tv_status tv_sample_record(tv_recorder *recorder, const tv_sample *sample) {
    uint64_t vocab = sample->vocab;
    if (vocab == 0 || vocab >= vocab_limit)
        return tv_fail(TV_E_USAGE, "sample: a vocabulary of 1 to %llu tokens is expected, found %llu",
                       (unsigned long long)(vocab_limit - 1), (unsigned long long)vocab);
    const uint64_t row_bytes[] = {vocab * sizeof(float)};
    uint64_t part;
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "sample", sample->rows, row_bytes, 1, &part));
    bool texels = vocab % 4 == 0 && part * vocab / 4 <= tv_recorder_texels(recorder);
    uint32_t local = (uint32_t)tv_min_u64(row_local, tv_recorder_caps(recorder)->invocations);
    for (uint64_t first = 0; first < sample->rows; first += part) {
        uint64_t rows = tv_min_u64(part, sample->rows - first);
        tv_sample_push push = {(uint32_t)rows, (uint32_t)vocab, (uint32_t)first,
                               tv_tensor_present(sample->logprobs)};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = texels ? TV_PROGRAM_sample_texels_base : TV_PROGRAM_sample_base,
                                   .push = &push,
                                   .groups = rows,
                                   .bindings = {tv_tensor_rows(sample->logits, vocab, first, rows),
                                                tv_tensor_first(sample->settings, sizeof(tv_sample_settings) /
                                                                                      sizeof(uint32_t)),
                                                tv_tensor_first(sample->sequences, sample->rows),
                                                tv_tensor_first(sample->positions, sample->rows),
                                                tv_tensor_first(sample->tokens, sample->rows),
                                                tv_tensor_first(sample->logprobs, sample->rows)},
                                   .specialization = {tv_row_workgroup(recorder, local)},
                                   .specialization_count = 1,
                                   .shape = {rows, vocab}}));
    }
    return TV_OK;
}
