/* Batches here and there, outputs everywhere: see shared_forward.h. */
#include "train/shared_forward.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* Of a rank's batches in a block: enough that handing round is rare, little beside a model. */
static const uint64_t block_bytes = UINT64_C(4) << 20;
enum { MOST_BATCHES = 64 };

typedef struct sharing {
    const tv_forward_share *share;
    tv_batch_source source;
    void *context;
    uint64_t ranks, own;
    uint64_t drawn;          /* batches of all ranks, so far */
    uint64_t first, behind;  /* the block's first, and the first behind it */
    bool ended;              /* the source has no more */
    uint64_t words;          /* of a batch */
    tv_micro_batch *batches; /* of the block, over `copies` */
    uint32_t *copies;
    uint64_t output_floats; /* of a batch, at most */
    float *outputs;         /* of this rank's batches of the block */
    uint64_t filled;        /* floats there */
} sharing;

static uint32_t width_of(const tv_trainer_layout *layout, uint64_t width) {
    uint32_t w = 0;
    while (w + 1 < layout->count && layout->widths[w] < width)
        w++;
    return w;
}

static uint32_t *moved(uint32_t *part, const uint32_t *from, uint32_t *to) {
    return part ? to + (part - from) : NULL;
}

static void keep_batch(sharing *s, const tv_micro_batch *batch) {
    const uint64_t number = s->drawn - s->first;
    uint32_t *from = batch->tokens - tv_trainer_layout_upload_offset(s->share->layout, TV_UPLOAD_TOKENS);
    uint32_t *to = s->copies + number * s->words;
    tv_micro_batch *copy = &s->batches[number];
    memcpy(to, from, s->words * sizeof *to);
    *copy = *batch;
    copy->tokens = moved(batch->tokens, from, to);
    copy->positions = moved(batch->positions, from, to);
    copy->doc_start = moved(batch->doc_start, from, to);
    copy->targets = moved(batch->targets, from, to);
    for (uint32_t i = 0; i < TV_HEAD_TENSORS; i++)
        copy->inputs[i] = moved(batch->inputs[i], from, to);
}

/* Draws up to this rank's next batch, and behind its last one to the block's end. */
static tv_status next_own(void *context, tv_micro_batch *batch) {
    sharing *s = context;
    const tv_micro_batch preset = *batch;
    while (s->drawn < s->behind && !s->ended) {
        *batch = preset;
        TV_RETURN_IF_FAILED(s->source(s->context, batch));
        s->ended = batch->end;
        if (s->ended)
            break;
        keep_batch(s, batch);
        if (s->drawn++ % s->ranks == s->own)
            return TV_OK;
    }
    batch->end = true;
    return TV_OK;
}

static tv_status keep_outputs(void *context, const tv_micro_batch *batch,
                              const float *const outputs[TV_HEAD_TENSORS]) {
    sharing *s = context;
    const tv_loss_head *head = &s->share->layout->heads[width_of(s->share->layout, batch->width)];
    for (uint32_t i = 0; i < TV_HEAD_TENSORS; i++) {
        if (!outputs[i])
            continue;
        memcpy(s->outputs + s->filled, outputs[i], head->output_words[i] * sizeof *outputs[i]);
        s->filled += head->output_words[i];
    }
    return TV_OK;
}

/* `floats` of each rank up to its `ends`, in bytes. */
static tv_status visit_block(const sharing *s, const float *floats, const uint64_t *ends, uint64_t *next,
                             tv_outputs_visitor visit, void *visit_context) {
    const uint64_t ranks = tv_max_u64(1, s->ranks);
    for (uint64_t r = 0; r < ranks; r++)
        next[r] = r ? ends[r - 1] / sizeof(float) : 0;
    for (uint64_t number = s->first; number < s->drawn; number++) {
        const tv_micro_batch *batch = &s->batches[number - s->first];
        const tv_loss_head *head = &s->share->layout->heads[width_of(s->share->layout, batch->width)];
        const uint64_t rank = number % ranks;
        const float *outputs[TV_HEAD_TENSORS] = {0};
        for (uint32_t i = 0; i < TV_HEAD_TENSORS; i++) {
            if (!head->output_words[i])
                continue;
            outputs[i] = floats + next[rank];
            next[rank] += head->output_words[i];
        }
        if (next[rank] > ends[rank] / sizeof(float))
            return tv_fail(TV_E_IO, "rank %u on %s handed round less than its batches give", (uint32_t)rank,
                           tv_ranks_host(s->share->ranks, (uint32_t)rank));
        TV_RETURN_IF_FAILED(visit(visit_context, batch, outputs));
    }
    return TV_OK;
}

static tv_status all_blocks(sharing *s, uint64_t batches, uint64_t block, uint64_t *ends,
                            tv_outputs_visitor visit, void *visit_context) {
    while (s->drawn < batches && !s->ended) {
        uint8_t *all;
        s->first = s->drawn;
        s->behind = batches - s->first < block ? batches : s->first + block;
        s->filled = 0;
        TV_RETURN_IF_FAILED(s->share->pass(s->share->trainer, UINT64_MAX, next_own, s, keep_outputs, s));
        if (s->drawn == s->first)
            break;
        TV_RETURN_IF_FAILED(
            tv_ranks_collect(s->share->ranks, s->outputs, s->filled * sizeof *s->outputs, &all, ends));
        tv_status status =
            visit_block(s, (const float *)(const void *)all, ends, ends + s->ranks, visit, visit_context);
        free(all);
        TV_RETURN_IF_FAILED(status);
    }
    return TV_OK;
}

tv_status tv_shared_forward(const tv_forward_share *share, uint64_t batches, tv_batch_source source,
                            void *context, tv_outputs_visitor visit, void *visit_context) {
    sharing s = {.share = share,
                 .source = source,
                 .context = context,
                 .ranks = tv_max_u64(1, tv_ranks_count(share->ranks)),
                 .own = tv_ranks_own(share->ranks),
                 .words = tv_trainer_layout_upload_offset(share->layout, TV_UPLOAD_COUNT),
                 .output_floats = tv_trainer_layout_output_offset(share->layout, TV_HEAD_TENSORS)};
    const uint64_t bytes = (s.words + s.output_floats) * sizeof(float),
                   own = tv_max_u64(1, tv_min_u64(MOST_BATCHES, block_bytes / tv_max_u64(1, bytes)));
    uint64_t *ends = calloc(2 * s.ranks, sizeof *ends);
    tv_status status;
    s.batches = calloc(s.ranks * own, sizeof *s.batches);
    s.copies = calloc(s.ranks * own, s.words * sizeof *s.copies);
    s.outputs = calloc(own, tv_max_u64(1, s.output_floats) * sizeof *s.outputs);
    if (!ends || !s.batches || !s.copies || !s.outputs)
        status = tv_fail(TV_E_MEMORY, "out of host memory for batches of the ranks");
    else
        status = all_blocks(&s, batches, s.ranks * own, ends, visit, visit_context);
    free(ends);
    free(s.batches);
    free(s.copies);
    free(s.outputs);
    return status;
}
