/* Batches of sequences through a score head: see scorer.h. */
#include "reward/scorer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/score_head.h"
#include "text/by_length.h"

/* Matrix products of few rows have a kernel of their own, which adds up in another order; a batch has more
 * (LEAST_TOKENS), so that a score is the same bits in every batch. */
enum { WIDTHS = 4, LEAST_WIDTH = 16, LEAST_TOKENS = 16 };

/* Rows of one width. */
typedef struct lane {
    uint64_t width, rows; /* T, B */
    tv_trainer *trainer;
} lane;

struct tv_scorer {
    tv_model *model;
    uint64_t max_tokens;
    lane lanes[WIDTHS]; /* widths fall */
    uint32_t lane_count;
};

/* The widest is the longest sequence's, each further one half as wide. */
static uint32_t plan_lanes(const tv_scorer_options *options, lane *lanes) {
    uint64_t tokens =
        tv_max_u64(LEAST_TOKENS, options->batch_tokens ? options->batch_tokens : TV_SCORER_BATCH_TOKENS);
    uint64_t width = options->max_tokens;
    uint32_t count = 0;
    do {
        lanes[count++] = (lane){.width = width, .rows = tv_div_up(tokens, width)};
        width = tv_align_up(width / 2, TV_WIDTH_STEP);
    } while (count < WIDTHS && width >= LEAST_WIDTH && width < lanes[count - 1].width);
    return count;
}

/* A forward pass reads nothing of the value head's settings. */
static const tv_value_settings no_loss = {.clip = 0, .coefficient = 0};

static tv_trainer_options lane_options(const lane *l) {
    return (tv_trainer_options){.stage = "score",
                                .batch = l->rows,
                                .tokens = l->width,
                                .grad_accum = 1,
                                .head = tv_value_head,
                                .head_settings = &no_loss};
}

tv_status tv_scorer_measure(const tv_parameter_list *list, const tv_caps *caps,
                            const tv_scorer_options *options, uint64_t *bytes) {
    lane lanes[WIDTHS];
    uint32_t count = plan_lanes(options, lanes);
    *bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        tv_trainer_options of_lane = lane_options(&lanes[i]);
        tv_trainer_bytes found;
        TV_RETURN_IF_FAILED(tv_trainer_measure(list, caps, &of_lane, &found));
        *bytes += found.activations + found.buffers;
    }
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
    scorer->model = model;
    scorer->max_tokens = options->max_tokens;
    scorer->lane_count = plan_lanes(options, scorer->lanes);
    for (uint32_t i = 0; i < scorer->lane_count; i++) {
        tv_trainer_options of_lane = lane_options(&scorer->lanes[i]);
        TV_TRY(tv_trainer_create(model, &of_lane, &scorer->lanes[i].trainer));
    }
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
    for (uint32_t i = 0; i < scorer->lane_count; i++)
        tv_trainer_destroy(&scorer->lanes[i].trainer);
    free(scorer);
    *handle = NULL;
}

/* ---- scoring ---- */

/* Batches of one lane, from `next` on; filled and read in the same order. */
typedef struct scoring {
    const lane *lane;
    const tv_sequence *sequences;
    const tv_item_length *order;
    uint64_t next, visited, end;
    float *scores;
} scoring;

static tv_status fill_batch(void *context, tv_micro_batch *batch) {
    scoring *s = context;
    /* Token 0 pads: causal attention shows it to nobody. */
    memset(batch->tokens, 0, s->lane->rows * s->lane->width * sizeof *batch->tokens);
    for (uint64_t row = 0; row < s->lane->rows && s->next < s->end; row++, s->next++) {
        const tv_sequence *sequence = &s->sequences[s->order[s->next].item];
        memcpy(batch->tokens + row * s->lane->width, sequence->ids, sequence->length * sizeof *sequence->ids);
    }
    return TV_OK;
}

static tv_status read_scores(void *context, const tv_micro_batch *batch,
                             const float *const outputs[TV_HEAD_TENSORS]) {
    (void)batch;
    scoring *s = context;
    const float *values = outputs[TV_VALUE_VALUES];
    for (uint64_t row = 0; row < s->lane->rows && s->visited < s->end; row++, s->visited++) {
        const tv_item_length *n = &s->order[s->visited];
        float score = values[row * s->lane->width + n->length - 1];
        if (!isfinite(score))
            return tv_fail(TV_E_NUMERIC,
                           "the score of sequence %llu is not finite; the reward model's weights are damaged",
                           (unsigned long long)n->item);
        s->scores[n->item] = score;
    }
    return TV_OK;
}

/* The narrowest lane that takes the longest of what is left, and how many batches of it are full or, at the
 * end, the last. */
static tv_status score_next(tv_scorer *scorer, scoring *s, uint64_t count) {
    uint64_t first = s->next, length = s->order[first].length;
    uint32_t which = 0;
    while (which + 1 < scorer->lane_count && scorer->lanes[which + 1].width >= length)
        which++;
    const lane *l = &scorer->lanes[which];
    uint64_t narrower = which + 1 < scorer->lane_count ? scorer->lanes[which + 1].width : 0, wide = 0;
    while (first + wide < count && s->order[first + wide].length > narrower)
        wide++;
    uint64_t batches = tv_div_up(wide, l->rows);
    s->lane = l;
    s->visited = first;
    s->end = tv_min_u64(count, first + batches * l->rows);
    return tv_trainer_forward(l->trainer, batches, fill_batch, s, read_scores, s);
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
            goto fail;
        }
    }
    tv_sort_by_length(order, count);
    scoring s = {.sequences = sequences, .order = order, .scores = scores};
    while (s.next < count)
        TV_TRY(score_next(scorer, &s, count));
fail:
    free(order);
    return status;
}
