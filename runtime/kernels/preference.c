/* Launchers of preference losses: see preference.h. */
#include "kernels/preference.h"

static tv_status clear(tv_recorder *recorder, tv_tensor gradient, uint64_t rows) {
    if (!tv_tensor_present(gradient))
        return TV_OK;
    return tv_record_fill(recorder, tv_span_part(gradient.span, 0, rows * sizeof(float)), 0);
}

tv_status tv_preference_loss_record(tv_recorder *recorder, const tv_preference_loss *l) {
    uint64_t size = l->group_size, most;
    if (size < 2 || size > TV_PREFERENCE_MEMBERS)
        return tv_fail(TV_E_CONFIG, "a group of preferences has from 2 to %d responses, not %llu",
                       TV_PREFERENCE_MEMBERS, (unsigned long long)size);
    const uint64_t bytes[] = {size * sizeof(uint32_t), TV_PREFERENCE_STATS * sizeof(float), sizeof(float)};
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "preferences", l->groups, bytes, 3, &most));
    TV_RETURN_IF_FAILED(clear(recorder, l->d_values, l->rows));
    tv_part part = {0};
    while (tv_next_part(&part, l->groups, most)) {
        uint64_t first = part.first, groups = part.count;
        const tv_preference_push push = {.groups = (uint32_t)groups,
                                         .group_size = (uint32_t)size,
                                         .rows = (uint32_t)l->rows,
                                         .mode = l->mode,
                                         .center = l->center,
                                         .has_gradient = tv_tensor_present(l->d_values)};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = TV_PROGRAM_preference_loss_base,
                                   .push = &push,
                                   .invocations = groups,
                                   .bindings = {tv_tensor_rows(l->members, size, first, groups),
                                                tv_tensor_rows(l->ranks, size, first, groups),
                                                tv_tensor_rows(l->margins, 1, first, groups),
                                                tv_tensor_first(l->values, l->rows),
                                                tv_tensor_first(l->step, TV_STEP_WORDS),
                                                tv_tensor_first(l->d_values, l->rows),
                                                tv_tensor_rows(l->stats, TV_PREFERENCE_STATS, first, groups)},
                                   .shape = {groups, size}}));
    }
    return TV_OK;
}

tv_status tv_dpo_record(tv_recorder *recorder, const tv_dpo *d) {
    enum { PAIR_WORDS = sizeof(tv_dpo_pair) / sizeof(uint32_t) };
    const uint64_t bytes[] = {sizeof(tv_dpo_pair), TV_DPO_STATS * sizeof(float)};
    uint64_t most;
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "pairs", d->pairs, bytes, 2, &most));
    TV_RETURN_IF_FAILED(clear(recorder, d->d_logprobs, d->rows));
    tv_part part = {0};
    while (tv_next_part(&part, d->pairs, most)) {
        const tv_dpo_push push = {.pairs = (uint32_t)part.count,
                                  .rows = (uint32_t)d->rows,
                                  .score = d->loss.score,
                                  .cost = d->loss.cost,
                                  .beta = d->loss.beta,
                                  .margin = d->loss.margin,
                                  .agree = d->loss.agree,
                                  .differ = d->loss.differ,
                                  .nll = d->loss.nll,
                                  .has_gradient = tv_tensor_present(d->d_logprobs)};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){.program = TV_PROGRAM_dpo_base,
                         .push = &push,
                         .groups = part.count,
                         .bindings = {tv_tensor_rows(d->table, PAIR_WORDS, part.first, part.count),
                                      tv_tensor_first(d->logprobs, d->rows),
                                      tv_tensor_first(d->step, TV_STEP_WORDS),
                                      tv_tensor_first(d->d_logprobs, d->rows),
                                      tv_tensor_rows(d->stats, TV_DPO_STATS, part.first, part.count)},
                         .specialization = {tv_row_workgroup(recorder, 64)},
                         .specialization_count = 1,
                         .shape = {part.count, d->rows}}));
    }
    return TV_OK;
}
