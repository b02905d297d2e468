/* Examples for KTO: see kto_examples.h. */
#include "stages/kto_examples.h"

#include <stdlib.h>
#include <string.h>

#include "base/tokens.h"

/* ---- which they are ---- */

static tv_status no_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory for examples");
}

/* Counts the group's examples; fills them where `items` is not NULL. */
static uint64_t examples_of(const tv_preference_group *group, tv_dpo_item *items) {
    const uint32_t last = group->responses[group->count - 1].rank;
    uint64_t count = 0;
    for (uint64_t i = 0; i < group->count; i++) {
        bool best = group->responses[i].rank == 0, alone = group->count == 1;
        if (!alone && !best && group->responses[i].rank != last)
            continue;
        if (items)
            items[count] = (tv_dpo_item){.chosen = &group->responses[i],
                                         .target = alone ? (float)group->desirable : (float)best};
        count++;
    }
    return count;
}

/* The hash of each example's prompt. */
static uint64_t *hashes_of(const tv_preference_list *list, uint64_t count) {
    uint64_t *hashes = calloc(count + 1, sizeof *hashes), at = 0;
    for (uint64_t g = 0; hashes && g < list->count; g++)
        for (uint64_t n = examples_of(list->items[g], NULL); n > 0; n--)
            hashes[at++] = list->items[g]->prompt_hash;
    return hashes;
}

/* The nearest one before `i` with another prompt; where all have the same, the one before. */
static uint64_t other_before(const uint64_t *hashes, uint64_t count, uint64_t i) {
    for (uint64_t back = 1; back < count; back++) {
        uint64_t other = (i + count - back) % count;
        if (hashes[other] != hashes[i])
            return other;
    }
    return (i + count - 1) % count;
}

/* Example `a`'s prompt with example `b`'s answer. */
static tv_status mismatch(tv_dpo_pairs *examples, uint64_t a, uint64_t b, tv_preference_response *made) {
    const tv_preference_response *prompt = examples->items[a].chosen, *answer = examples->items[b].chosen;
    if (!prompt || !answer) /* of each there is one */
        return no_memory();
    uint64_t length = prompt->prompt_length + answer->length - answer->prompt_length;
    uint32_t *ids = calloc(length, sizeof *ids);
    if (!ids)
        return no_memory();
    memcpy(ids, prompt->ids, prompt->prompt_length * sizeof *ids);
    memcpy(ids + prompt->prompt_length, answer->ids + answer->prompt_length,
           (answer->length - answer->prompt_length) * sizeof *ids);
    *made = (tv_preference_response){ids, tv_min_u64(length, examples->tokens + 1), prompt->prompt_length, 0};
    return TV_OK;
}

tv_status tv_kto_examples_create(const tv_preference_list *list, uint64_t tokens, tv_dpo_pairs *examples) {
    *examples = (tv_dpo_pairs){.tokens = tokens, .end = UINT64_MAX};
    for (uint64_t i = 0; i < list->count; i++)
        examples->count += examples_of(list->items[i], NULL);
    const uint64_t count = examples->count;
    examples->items = calloc(count + 1, sizeof *examples->items);
    examples->made = calloc(count + 1, sizeof *examples->made);
    uint64_t *hashes = hashes_of(list, count), at = 0;
    tv_status status = examples->items && examples->made && hashes ? TV_OK : no_memory();
    for (uint64_t i = 0; status == TV_OK && i < list->count; i++)
        at += examples_of(list->items[i], examples->items + at);
    for (uint64_t i = 0; status == TV_OK && i < count; i++) {
        status = mismatch(examples, i, other_before(hashes, count, i), &examples->made[i]);
        examples->items[i].rejected = &examples->made[i];
    }
    free(hashes);
    return status;
}

/* ---- micro-batches ---- */

typedef enum side { OWN, MISMATCHED } side;

static const tv_preference_response *response_of(const tv_dpo_item *item, side s) {
    return s == OWN ? item->chosen : item->rejected;
}

static uint64_t begin_batch(tv_dpo_pairs *examples, side s, uint64_t batch, tv_micro_batch *micro) {
    uint64_t longest = 2, there = 0;
    for (; there < batch && examples->next + there < examples->end; there++)
        longest =
            tv_max_u64(longest, response_of(tv_dpo_pairs_at(examples, examples->next + there), s)->length);
    tv_micro_batch_narrow(micro, longest - 1);
    memset(micro->tokens, 0, batch * micro->width * sizeof *micro->tokens);
    memset(micro->inputs[TV_DPO_PAIRS], 0, batch * sizeof(struct tv_dpo_pair));
    for (uint64_t i = 0; i < batch * micro->width; i++)
        micro->targets[i] = TV_IGNORED_TARGET;
    micro->terms = there;
    micro->used = 0;
    return there;
}

void tv_kto_examples_fill(tv_dpo_pairs *examples, const tv_kto_step *step, uint64_t batch,
                          tv_micro_batch *micro) {
    struct tv_dpo_pair *table = micro->inputs[TV_DPO_PAIRS];
    uint64_t there = begin_batch(examples, OWN, batch, micro);
    for (uint64_t p = 0; p < there; p++) {
        const tv_dpo_item *item = tv_dpo_pairs_at(examples, examples->next++);
        struct tv_dpo_pair *pair = &table[p];
        const bool good = item->target > 0.5f;
        const float reference = item->references[0], point = (float)-step->point;
        tv_dpo_put_response(item->chosen, p, micro, good ? &pair->chosen_first : &pair->rejected_first,
                            good ? &pair->chosen_count : &pair->rejected_count);
        pair->chosen_reference = good ? reference : point;
        pair->rejected_reference = good ? point : reference;
        pair->target = 1;
        pair->weight = (float)step->weights[good];
    }
}

/* ---- log-probabilities alone ---- */

typedef struct scoring {
    tv_dpo_pairs examples;
    side side;
    uint64_t batch, done;
    float *sums; /* of each example, in the order filled */
} scoring;

static tv_status next_unscored(void *context, tv_micro_batch *micro) {
    scoring *s = context;
    struct tv_dpo_pair *table = micro->inputs[TV_DPO_PAIRS];
    uint64_t there = begin_batch(&s->examples, s->side, s->batch, micro);
    for (uint64_t p = 0; p < there; p++) {
        const tv_dpo_item *item = tv_dpo_pairs_at(&s->examples, s->examples.next++);
        tv_dpo_put_response(response_of(item, s->side), p, micro, &table[p].chosen_first,
                            &table[p].chosen_count);
        table[p].target = table[p].weight = 1;
    }
    return TV_OK;
}

static tv_status keep_sums(void *context, const tv_micro_batch *micro,
                           const float *const outputs[TV_HEAD_TENSORS]) {
    scoring *s = context;
    uint64_t there = tv_dpo_pairs_there(micro, s->batch);
    for (uint64_t p = 0; p < there; p++)
        s->sums[s->done++] = outputs[TV_DPO_PAIR_STATS][p * TV_DPO_STATS + TV_DPO_CHOSEN_LOGPROB];
    return TV_OK;
}

/* Sums of `count` examples from number `first` of all passes. */
static tv_status score(const tv_dpo_pairs *examples, side of, uint64_t first, uint64_t count, uint64_t batch,
                       tv_trainer *trainer, float *sums) {
    scoring s = {.examples = *examples, .side = of, .batch = batch, .sums = sums};
    s.examples.next = first;
    s.examples.end = first + count;
    return tv_trainer_forward(trainer, tv_div_up(count, batch), next_unscored, &s, keep_sums, &s);
}

tv_status tv_kto_examples_score(tv_dpo_pairs *examples, uint64_t batch, tv_trainer *trainer) {
    tv_dpo_pairs in_order = *examples;
    tv_status status = TV_OK;
    in_order.shuffle = false;
    float *sums = calloc(examples->count + 1, sizeof *sums);
    if (!sums)
        return no_memory();
    for (int of = OWN; status == TV_OK && of <= MISMATCHED; of++) {
        status = score(&in_order, (side)of, 0, examples->count, batch, trainer, sums);
        for (uint64_t i = 0; i < examples->count; i++)
            examples->items[i].references[of] = sums[i];
    }
    free(sums);
    return status;
}

tv_status tv_kto_step_begin(const tv_dpo_pairs *examples, uint64_t first, uint64_t count, uint64_t batch,
                            tv_trainer *trainer, tv_kto_step *step) {
    float *sums = calloc(count + 1, sizeof *sums);
    if (!sums)
        return no_memory();
    tv_status status = score(examples, MISMATCHED, first, count, batch, trainer, sums);
    double mean = 0;
    step->desirable = 0;
    step->count = count;
    for (uint64_t i = 0; status == TV_OK && i < count; i++) {
        const tv_dpo_item *item = tv_dpo_pairs_at(examples, first + i);
        mean += ((double)sums[i] - (double)item->references[MISMATCHED]) / (double)count;
        step->desirable += item->target > 0.5f;
    }
    step->point = mean > 0 ? mean : 0;
    free(sums);
    return status;
}

void tv_kto_step_separate(const tv_kto_step *step, double beta, double *sums) {
    sums[TV_DPO_CHOSEN] -= (double)(step->count - step->desirable) * beta * step->point;
    sums[TV_DPO_REJECTED] -= (double)step->desirable * beta * step->point;
}
