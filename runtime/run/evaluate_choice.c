/* Endings through the forward pass, longest first: see evaluate_choice.h. */
#include "run/evaluate_choice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/classifier.h"
#include "text/by_length.h"

tv_trainer_options tv_choice_trainer(uint64_t longest, uint64_t batch) {
    return (tv_trainer_options){
        .stage = "eval", .batch = batch, .tokens = longest - 1, .narrow = true, .more_rows = true};
}

/* Filled and read in the same order. */
typedef struct scoring {
    const tv_multiple_choice *questions;
    const tv_item_length *order;
    uint64_t next, visited;
    double *logprobs;
} scoring;

static tv_status fill_batch(void *context, tv_micro_batch *batch) {
    scoring *s = context;
    uint64_t count = s->questions->ending_count;
    batch->end = s->next == count;
    if (batch->end)
        return TV_OK;
    tv_micro_batch_narrow(batch, s->order[s->next].length - 1);
    uint64_t cells = batch->rows * batch->width;
    /* Token 0 pads: causal attention shows it to nobody. */
    memset(batch->tokens, 0, cells * sizeof *batch->tokens);
    for (uint64_t i = 0; i < cells; i++)
        batch->targets[i] = TV_IGNORED_TARGET;
    for (uint64_t row = 0; row < batch->rows && s->next < count; row++, s->next++) {
        const tv_ending *ending = &s->questions->endings[s->order[s->next].item];
        memcpy(batch->tokens + row * batch->width, ending->ids, (ending->length - 1) * sizeof *ending->ids);
        memcpy(batch->targets + row * batch->width + ending->first - 1, ending->ids + ending->first,
               (ending->length - ending->first) * sizeof *ending->ids);
    }
    return TV_OK;
}

static tv_status add_up(void *context, const tv_micro_batch *batch,
                        const float *const outputs[TV_HEAD_TENSORS]) {
    scoring *s = context;
    for (uint64_t row = 0; row < batch->rows && s->visited < s->questions->ending_count;
         row++, s->visited++) {
        uint64_t item = s->order[s->visited].item;
        const tv_ending *ending = &s->questions->endings[item];
        double sum = 0;
        for (uint64_t t = ending->first - 1; t < ending->length - 1; t++)
            sum -= (double)outputs[0][row * batch->width + t];
        if (!isfinite(sum))
            return tv_fail(
                TV_E_NUMERIC,
                "the log-probability of ending %llu of all is not finite; the weights are broken, or too "
                "large for fp32",
                (unsigned long long)item + 1);
        s->logprobs[item] = sum;
    }
    return TV_OK;
}

tv_status tv_choice_score(tv_trainer *trainer, const tv_multiple_choice *questions, double *logprobs) {
    uint64_t count = questions->ending_count;
    tv_item_length *order = calloc(count, sizeof *order);
    if (!order)
        return tv_fail(TV_E_MEMORY, "out of host memory for %llu endings", (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++)
        order[i] = (tv_item_length){questions->endings[i].length, i};
    tv_sort_by_length(order, count);
    scoring s = {.questions = questions, .order = order, .logprobs = logprobs};
    tv_status status = tv_trainer_forward(trainer, UINT64_MAX, fill_batch, &s, add_up, &s);
    free(order);
    return status;
}

void tv_choice_accuracy(const tv_multiple_choice *questions, const double *logprobs, double *accuracy,
                        double *accuracy_norm) {
    uint64_t right[2] = {0};
    for (uint64_t q = 0; q < questions->count; q++) {
        const tv_question *question = &questions->questions[q];
        uint32_t best[2] = {0};
        double most[2] = {-INFINITY, -INFINITY};
        for (uint32_t i = 0; i < question->count; i++) {
            uint64_t at = question->first + i;
            const double by[2] = {logprobs[at], logprobs[at] / (double)questions->endings[at].bytes};
            for (int k = 0; k < 2; k++)
                if (by[k] > most[k]) {
                    most[k] = by[k];
                    best[k] = i;
                }
        }
        for (int k = 0; k < 2; k++)
            right[k] += best[k] == question->right;
    }
    *accuracy = (double)right[0] / (double)questions->count;
    *accuracy_norm = (double)right[1] / (double)questions->count;
}
