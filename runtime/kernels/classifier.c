/* Launcher of softmax and cross-entropy: see classifier.h. */
#include "kernels/classifier.h"

#include "push_constants.h"

tv_status tv_cross_entropy_record(tv_recorder *recorder, const tv_cross_entropy *loss) {
    uint64_t vocab = loss->vocab, most;
    const uint64_t bytes[] = {vocab * tv_dtype_bytes(loss->logits.dtype), sizeof(uint32_t)};
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "cross-entropy", loss->rows, bytes, 2, &most));
    tv_part part = {0};
    while (tv_next_part(&part, loss->rows, most)) {
        tv_cross_entropy_push push = {
            .rows = (uint32_t)part.count, .vocab = (uint32_t)vocab, .has_gradient = loss->gradient};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){.program =
                             vocab % 4 == 0 ? TV_PROGRAM_cross_entropy_vec4 : TV_PROGRAM_cross_entropy_base,
                         .push = &push,
                         .groups = part.count,
                         .bindings = {tv_tensor_rows(loss->logits, vocab, part.first, part.count),
                                      tv_tensor_rows(loss->targets, 1, part.first, part.count),
                                      tv_tensor_rows(loss->losses, 1, part.first, part.count), loss->step},
                         /* About four vec4s for each invocation where rows are short. */
                         .specialization = {tv_row_workgroup(recorder, vocab <= 1024 ? 64 : 256)},
                         .specialization_count = 1,
                         .shape = {part.count, vocab}}));
    }
    return TV_OK;
}
