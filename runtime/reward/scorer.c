/* Batches of sequences through a score head: see scorer.h. */
#include "reward/scorer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/score_head.h"
#include "text/by_length.h"

/* Matrix products of few rows have a kernel of their own, which adds up in another order; a batch has more
 * (LEAST_TOKENS), so that a score is the same bits in every batch. */
enum { LEAST_TOKENS = 16 };

struct tv_scorer {
    uint64_t max_tokens;
    tv_trainer *trainer;
};

/* A forward pass reads nothing of the value head's settings. */
static const tv_value_settings no_loss = {.clip = 0, .coefficient = 0};

static tv_trainer_options trainer_options(const tv_scorer_options *options) {
    uint64_t tokens =
        tv_max_u64(LEAST_TOKENS, options->batch_tokens ? options->batch_tokens : TV_SCORER_BATCH_TOKENS);
    return (tv_trainer_options){.stage = "score",
                                .batch = tv_div_up(tokens, tv_max_u64(1, options->max_tokens)),
                                .tokens = options->max_tokens,
                                .grad_accum = 1,
                                .head = tv_value_head,
                                .head_settings = &no_loss,
                                .narrow = true,
                                .more_rows = true,
                                .ranks = options->ranks,
                                .shared = options->shared};
}

tv_status tv_scorer_measure(const tv_parameter_list *list, const tv_caps *caps,
                            const tv_scorer_options *options, uint64_t *bytes) {
    tv_trainer_options planned = trainer_options(options);
    tv_trainer_bytes found;
    TV_RETURN_IF_FAILED(tv_trainer_measure(list, caps, &planned, &found));
    *bytes = found.activations + found.buffers;
    return TV_OK;
}

tv_status tv_scorer_create(tv_model *model, const tv_scorer_options *options, tv_scorer **out) {
    *out = NULL;
    const tv_model_config *config = &tv_model_list(model)->config;
    tv_status status;
    if (options->max_tokens < 1 || options->max_tokens > config->max_positions)
        return tv_fail(TV_E_CONFIG,
                       "sequences of up to %llu tokens cannot be scored by a model with positions for %llu",
                       (unsigned long long)options->max_tokens, (unsigned long long)config->max_positions);
    tv_scorer *scorer = calloc(1, sizeof *scorer);
    if (!scorer)
        return tv_fail(TV_E_MEMORY, "out of host memory for a scorer");
    scorer->max_tokens = options->max_tokens;
    tv_trainer_options planned = trainer_options(options);
    TV_TRY_OR_FAIL(tv_trainer_create(model, &planned, &scorer->trainer));
    *out = scorer;
    return TV_OK;
fail:
    tv_scorer_destroy(&scorer);
    return status;
}

void tv_scorer_destroy(tv_scorer **handle) {
    if (!handle || !*handle)
        return;
    tv_scorer *scorer = *handle;
    tv_trainer_destroy(&scorer->trainer);
    free(scorer);
    *handle = NULL;
}

/* ---- scoring ---- */

/* Longest first; filled and read in the same order. */
typedef struct scoring {
    const tv_sequence *sequences;
    const tv_item_length *order;
    uint64_t next, visited, count;
    float *scores;
} scoring;

static tv_status fill_batch(void *context, tv_micro_batch *batch) {
    scoring *s = context;
    batch->end = s->next == s->count;
    if (batch->end)
        return TV_OK;
    tv_micro_batch_narrow(batch, s->order[s->next].length);
    /* Token 0 pads: causal attention shows it to nobody. */
    memset(batch->tokens, 0, batch->rows * batch->width * sizeof *batch->tokens);
    for (uint64_t row = 0; row < batch->rows && s->next < s->count; row++, s->next++) {
        const tv_sequence *sequence = &s->sequences[s->order[s->next].item];
        memcpy(batch->tokens + row * batch->width, sequence->ids, sequence->length * sizeof *sequence->ids);
    }
    return TV_OK;
}

static tv_status read_scores(void *context, const tv_micro_batch *batch,
                             const float *const outputs[TV_HEAD_TENSORS]) {
    scoring *s = context;
    const float *values = outputs[TV_VALUE_VALUES];
    for (uint64_t row = 0; row < batch->rows && s->visited < s->count; row++, s->visited++) {
        const tv_item_length *n = &s->order[s->visited];
        float score = values[row * batch->width + n->length - 1];
        if (!isfinite(score))
            return tv_fail(TV_E_NUMERIC,
                           "the score of sequence %llu is not finite; the reward model's weights are damaged",
                           (unsigned long long)n->item);
        s->scores[n->item] = score;
    }
    return TV_OK;
}

tv_status tv_scorer_score(tv_scorer *scorer, const tv_sequence *sequences, uint64_t count, float *scores) {
    tv_status status = TV_OK;
    if (count == 0)
        return TV_OK;
    tv_item_length *order = calloc(count, sizeof *order);
    if (!order)
        return tv_fail(TV_E_MEMORY, "out of host memory for %llu sequences", (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        order[i] = (tv_item_length){sequences[i].length, i};
        if (sequences[i].length < 1 || sequences[i].length > scorer->max_tokens) {
            status = tv_fail(TV_E_DATA, "sequence %llu: expected 1 to %llu tokens to score, found %llu",
                             (unsigned long long)i, (unsigned long long)scorer->max_tokens,
                             (unsigned long long)sequences[i].length);
            goto done;
        }
    }
    tv_sort_by_length(order, count);
    scoring s = {.sequences = sequences, .order = order, .count = count, .scores = scores};
    status = tv_trainer_forward(scorer->trainer, UINT64_MAX, fill_batch, &s, read_scores, &s);
done:
    free(order);
    return status;
}
