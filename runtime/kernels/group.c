/* Launchers of the losses of groups: see group.h. */
#include "kernels/group.h"

enum { ROW_WORDS = sizeof(tv_group_row) / sizeof(uint32_t) };

tv_status tv_group_policy_record(tv_recorder *recorder, const tv_group_policy *p) {
    const uint64_t bytes[] = {sizeof(tv_group_row), TV_GROUP_STATS * sizeof(float)};
    bool sequence = tv_tensor_present(p->sequence_ratios);
    uint64_t most;
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "the policy's loss", p->rows, bytes, 2, &most));
    tv_part part = {0};
    while (tv_next_part(&part, p->rows, most)) {
        uint64_t first = part.first, rows = part.count;
        const tv_group_push push = {.rows = (uint32_t)rows,
                                    .mode = p->mode,
                                    .sequence = sequence,
                                    .clip_low = p->clip_low,
                                    .clip_high = p->clip_high,
                                    .beta = p->beta};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = TV_PROGRAM_group_policy_base,
                                   .push = &push,
                                   .invocations = rows,
                                   .bindings = {tv_tensor_rows(p->targets, 1, first, rows),
                                                tv_tensor_rows(p->logprobs, 1, first, rows),
                                                tv_tensor_rows(p->entropies, 1, first, rows),
                                                tv_tensor_rows(p->sequence_ratios, 1, first, rows),
                                                tv_tensor_rows(p->table, ROW_WORDS, first, rows),
                                                tv_tensor_first(p->step, TV_STEP_WORDS),
                                                tv_tensor_rows(p->d_logprobs, 1, first, rows),
                                                tv_tensor_rows(p->stats, TV_GROUP_STATS, first, rows)},
                                   .shape = {rows}}));
    }
    return TV_OK;
}

tv_status tv_group_sequence_record(tv_recorder *recorder, const tv_group_sequence *s) {
    uint64_t T = s->tokens, most;
    const uint64_t bytes[] = {T * sizeof(tv_group_row), T * sizeof(float)};
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "sequences", s->sequences, bytes, 2, &most));
    tv_part part = {0};
    while (tv_next_part(&part, s->sequences, most)) {
        uint64_t first = part.first, count = part.count;
        const tv_group_sequence_push push = {.sequences = (uint32_t)count, .tokens = (uint32_t)T};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = TV_PROGRAM_group_sequence_base,
                                   .push = &push,
                                   .groups = count,
                                   .bindings = {tv_tensor_rows(s->targets, T, first, count),
                                                tv_tensor_rows(s->logprobs, T, first, count),
                                                tv_tensor_rows(s->table, T * ROW_WORDS, first, count),
                                                tv_tensor_rows(s->sequence_ratios, T, first, count)},
                                   .specialization = {tv_row_workgroup(recorder, 64)},
                                   .specialization_count = 1,
                                   .shape = {count, T}}));
    }
    return TV_OK;
}
