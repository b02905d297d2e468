/* Launchers of advantage estimation: see gae.h. */
#include "kernels/gae.h"

#include "kernels/reduce.h"

/* Where things lie in scratch: squared deviations (S), their sum, the partial sums of reductions. */
typedef struct layout {
    uint64_t sum, partials, bytes;
} layout;

static layout layout_of(uint64_t sequences) {
    layout l = {.sum = tv_align_up(sequences * sizeof(float), TV_TENSOR_ALIGNMENT)};
    l.partials = l.sum + TV_TENSOR_ALIGNMENT;
    l.bytes =
        l.partials + tv_max_u64(tv_sum_rows_scratch(sequences, TV_GAE_SUMS), tv_reduce_scratch(sequences));
    return l;
}

uint64_t tv_gae_scratch(uint64_t sequences) {
    return layout_of(sequences).bytes;
}

static tv_tensor scratch_at(const tv_gae *g, uint64_t offset, uint64_t bytes) {
    return (tv_tensor){tv_span_part(g->scratch.span, offset, bytes), TV_F32};
}

static tv_gae_push push_of(const tv_gae *g, uint64_t sequences) {
    return (tv_gae_push){.sequences = (uint32_t)sequences,
                         .tokens = (uint32_t)g->tokens,
                         .estimator = g->estimator,
                         .gamma = g->gamma,
                         .lambda = g->lambda};
}

static tv_tensor extents_of(const tv_gae *g, tv_part part) {
    return tv_tensor_rows(g->extents, sizeof(tv_gae_extent) / sizeof(float), part.first, part.count);
}

static tv_status walk(tv_recorder *recorder, const tv_gae *g, uint64_t most) {
    uint64_t width = g->tokens;
    tv_part part = {0};
    while (tv_next_part(&part, g->sequences, most)) {
        const tv_gae_push push = push_of(g, part.count);
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){.program = TV_PROGRAM_gae_base,
                         .push = &push,
                         .invocations = part.count,
                         .bindings = {extents_of(g, part), tv_tensor_first(g->beta, 1),
                                      tv_tensor_rows(g->old_logprobs, width, part.first, part.count),
                                      tv_tensor_rows(g->ref_logprobs, width, part.first, part.count),
                                      tv_tensor_rows(g->values, width, part.first, part.count),
                                      tv_tensor_rows(g->advantages, width, part.first, part.count),
                                      tv_tensor_rows(g->returns, width, part.first, part.count),
                                      tv_tensor_rows(g->sums, TV_GAE_SUMS, part.first, part.count)},
                         .shape = {part.count, width}}));
    }
    return TV_OK;
}

static tv_status deviations(tv_recorder *recorder, const tv_gae *g, uint64_t most, tv_tensor out) {
    tv_part part = {0};
    while (tv_next_part(&part, g->sequences, most)) {
        const tv_gae_push push = push_of(g, part.count);
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){.program = TV_PROGRAM_gae_deviations_base,
                         .push = &push,
                         .invocations = part.count,
                         .bindings = {extents_of(g, part), tv_tensor_first(g->totals, TV_GAE_SUMS),
                                      tv_tensor_rows(g->advantages, g->tokens, part.first, part.count),
                                      tv_tensor_rows(out, 1, part.first, part.count)},
                         .shape = {part.count, g->tokens}}));
    }
    return TV_OK;
}

static tv_status whiten(tv_recorder *recorder, const tv_gae *g, uint64_t most, tv_tensor deviation) {
    tv_part part = {0};
    while (tv_next_part(&part, g->sequences, most)) {
        const tv_gae_push push = push_of(g, part.count);
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){.program = TV_PROGRAM_gae_whiten_base,
                         .push = &push,
                         .invocations = part.count * g->tokens,
                         .bindings = {extents_of(g, part), tv_tensor_first(g->totals, TV_GAE_SUMS), deviation,
                                      tv_tensor_rows(g->advantages, g->tokens, part.first, part.count)},
                         .shape = {part.count, g->tokens}}));
    }
    return TV_OK;
}

tv_status tv_gae_record(tv_recorder *recorder, const tv_gae *g) {
    const uint64_t bytes[] = {g->tokens * sizeof(float), TV_GAE_SUMS * sizeof(float), sizeof(tv_gae_extent),
                              sizeof(float)};
    uint64_t most;
    if (g->tokens == 0 || g->sequences == 0)
        return tv_record_fill(recorder, tv_span_part(g->totals.span, 0, TV_GAE_SUMS * sizeof(float)), 0);
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "advantages", g->sequences, bytes, 4, &most));
    const layout l = layout_of(g->sequences);
    tv_tensor partials = scratch_at(g, l.partials, l.bytes - l.partials);
    TV_RETURN_IF_FAILED(walk(recorder, g, most));
    TV_RETURN_IF_FAILED(
        tv_record_fill(recorder, tv_span_part(g->totals.span, 0, TV_GAE_SUMS * sizeof(float)), 0));
    TV_RETURN_IF_FAILED(tv_sum_rows(recorder, g->sequences, TV_GAE_SUMS, g->sums,
                                    tv_tensor_first(g->totals, TV_GAE_SUMS), partials));
    if (!g->whiten)
        return TV_OK;
    tv_tensor each = scratch_at(g, 0, g->sequences * sizeof(float));
    tv_tensor sum = scratch_at(g, l.sum, sizeof(float));
    TV_RETURN_IF_FAILED(deviations(recorder, g, most, each));
    TV_RETURN_IF_FAILED(tv_reduce_sum(recorder, g->sequences, each, sum, 0, false, partials));
    return whiten(recorder, g, most, sum);
}
