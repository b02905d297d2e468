/* Launcher of softmax and cross-entropy: see classifier.h. */
#include "kernels/classifier.h"

#include "push_constants.h"

/* Rows of one part. Parts need not start on an aligned byte: a binding begins up to `slack` elements before
 * its part, so that also a device that binds less than 64 rows of logits takes them. */
static tv_status rows_per_part(const tv_recorder *recorder, const tv_cross_entropy *loss, uint64_t *rows) {
    uint64_t element = tv_dtype_bytes(loss->logits.dtype), slack = TV_TENSOR_ALIGNMENT / element - 1;
    uint64_t range = tv_recorder_caps(recorder)->storage_range, limit = range / element;
    *rows = loss->rows;
    if (limit / loss->vocab >= loss->rows)
        return TV_OK;
    *rows = limit > slack ? (limit - slack) / loss->vocab : 0;
    if (*rows == 0)
        return tv_fail(TV_E_FIT,
                       "cross-entropy: the logits of one token take %llu bytes and this device binds %llu at "
                       "once; use a smaller vocabulary",
                       (unsigned long long)(loss->vocab * element), (unsigned long long)range);
    return TV_OK;
}

tv_status tv_cross_entropy_record(tv_recorder *recorder, const tv_cross_entropy *loss) {
    uint64_t vocab = loss->vocab, most;
    if (vocab == 0)
        return TV_OK;
    TV_RETURN_IF_FAILED(rows_per_part(recorder, loss, &most));
    tv_part part = {0};
    while (tv_next_part(&part, loss->rows, most)) {
        tv_cross_entropy_push push = {.rows = (uint32_t)part.count,
                                      .vocab = (uint32_t)vocab,
                                      .has_gradient = loss->gradient,
                                      .has_hits = tv_tensor_present(loss->hits)};
        tv_tensor logits =
            tv_tensor_window(loss->logits, part.first * vocab, part.count * vocab, &push.first_logit);
        tv_tensor targets = tv_tensor_window(loss->targets, part.first, part.count, &push.first_row);
        tv_tensor losses = tv_tensor_window(loss->losses, part.first, part.count, &push.first_row);
        tv_tensor hits =
            push.has_hits ? tv_tensor_window(loss->hits, part.first, part.count, &push.first_row) : TV_ABSENT;
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = vocab % 4 == 0 ? TV_PROGRAM_cross_entropy_vec4
                                                             : TV_PROGRAM_cross_entropy_base,
                                   .push = &push,
                                   .groups = part.count,
                                   .bindings = {logits, targets, losses, loss->step, hits},
                                   /* About four vec4s for each invocation where rows are short. */
                                   .specialization = {tv_row_workgroup(recorder, vocab <= 1024 ? 64 : 256)},
                                   .specialization_count = 1,
                                   .shape = {part.count, vocab}}));
    }
    return TV_OK;
}
