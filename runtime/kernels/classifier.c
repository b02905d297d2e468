/* Launcher of softmax and cross-entropy: see classifier.h. */
#include "kernels/classifier.h"

#include "push_constants.h"

tv_status tv_cross_entropy_record(tv_recorder *recorder, const tv_cross_entropy *loss) {
    uint64_t vocab = loss->vocab, most;
    if (vocab == 0)
        return TV_OK;
    TV_RETURN_IF_FAILED(
        tv_split_logits(recorder, "cross-entropy", loss->rows, vocab, loss->logits.dtype, &most));
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
        /* Without hits their binding is the losses', never written: what stands in for absent tensors is only
         * ever read, by every kernel and without barriers. */
        tv_tensor hits =
            push.has_hits ? tv_tensor_window(loss->hits, part.first, part.count, &push.first_row) : losses;
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){
                .program = vocab % 4 == 0 ? TV_PROGRAM_cross_entropy_vec4 : TV_PROGRAM_cross_entropy_base,
                .push = &push,
                .groups = part.count,
                .bindings = {logits, targets, losses, tv_tensor_first(loss->step, TV_STEP_WORDS), hits},
                /* About four vec4s for each invocation where rows are short. */
                .specialization = {tv_row_workgroup(recorder, vocab <= 1024 ? 64 : 256)},
                .specialization_count = 1,
                .shape = {part.count, vocab}}));
    }
    return TV_OK;
}
