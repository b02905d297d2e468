/* Pairs for DPO: see dpo_pairs.h. */
#include "stages/dpo_pairs.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/tokens.h"
#include "formats/safetensors.h"

enum { MOST_LISTS = 2 };

static tv_status no_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory for pairs of responses");
}

/* ---- which they are ---- */

/* Calls for each pair of the group; with `items` NULL it only counts. */
static uint64_t pairs_of(const tv_preference_group *group, tv_dpo_item *items) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < group->count; i++)
        for (uint64_t j = i + 1; j < group->count; j++) {
            bool tie = group->responses[i].rank == group->responses[j].rank;
            if (tie && group->count > 2)
                continue;
            if (items)
                items[count] = (tv_dpo_item){.chosen = &group->responses[i],
                                             .rejected = &group->responses[j],
                                             .target = tie ? 0.5f : 1};
            count++;
        }
    return count;
}

tv_status tv_dpo_pairs_create(const tv_preference_list *list, uint64_t tokens, tv_dpo_pairs *pairs) {
    *pairs = (tv_dpo_pairs){.tokens = tokens, .end = UINT64_MAX};
    for (uint64_t i = 0; i < list->count; i++)
        pairs->count += pairs_of(list->items[i], NULL);
    pairs->items = calloc(tv_max_u64(pairs->count, 1), sizeof *pairs->items);
    if (!pairs->items)
        return no_memory();
    uint64_t at = 0;
    for (uint64_t i = 0; i < list->count; i++)
        at += pairs_of(list->items[i], pairs->items + at);
    return TV_OK;
}

void tv_dpo_pairs_free(tv_dpo_pairs *pairs) {
    for (uint64_t i = 0; pairs->made && i < pairs->count; i++)
        free((void *)pairs->made[i].ids);
    free(pairs->made);
    free(pairs->items);
    *pairs = (tv_dpo_pairs){0};
}

/* ---- micro-batches ---- */

const tv_dpo_item *tv_dpo_pairs_at(const tv_dpo_pairs *pairs, uint64_t i) {
    uint64_t pass = i / pairs->count, place = i % pairs->count;
    const tv_rng rng = {.seed = pairs->seed, .stream = TV_STREAM_SHUFFLE, .step = (uint32_t)pass};
    return &pairs->items[pairs->shuffle ? tv_permute(&rng, place, pairs->count) : place];
}

uint64_t tv_dpo_pairs_longest(const tv_dpo_pairs *pairs, uint64_t first, uint64_t batch_pairs) {
    uint64_t longest = 1, end = tv_min_u64(pairs->end, first + batch_pairs);
    for (uint64_t i = first; i < end; i++) {
        const tv_dpo_item *item = tv_dpo_pairs_at(pairs, i);
        longest = tv_max_u64(longest, tv_max_u64(item->chosen->length, item->rejected->length));
    }
    return longest;
}

void tv_dpo_put_response(const tv_preference_response *response, uint64_t row, tv_micro_batch *batch,
                         uint32_t *first, uint32_t *count) {
    uint64_t base = row * batch->width, slots = response->length - 1;
    uint64_t begin = tv_max_u64(response->prompt_length, 1) - 1;
    memcpy(batch->tokens + base, response->ids, slots * sizeof *batch->tokens);
    for (uint64_t t = begin; t < slots; t++)
        batch->targets[base + t] = response->ids[t + 1];
    *first = (uint32_t)(base + begin);
    *count = (uint32_t)(slots - begin);
    batch->used += slots;
}

void tv_dpo_pairs_fill(tv_dpo_pairs *pairs, uint64_t batch_pairs, tv_micro_batch *batch) {
    struct tv_dpo_pair *table = batch->inputs[TV_DPO_PAIRS];
    tv_micro_batch_narrow(batch, tv_dpo_pairs_longest(pairs, pairs->next, batch_pairs) - 1);
    uint64_t slots = 2 * batch_pairs * batch->width;
    memset(batch->tokens, 0, slots * sizeof *batch->tokens);
    memset(table, 0, batch_pairs * sizeof *table);
    for (uint64_t i = 0; i < slots; i++)
        batch->targets[i] = TV_IGNORED_TARGET;
    batch->terms = batch->used = 0;
    for (uint64_t p = 0; p < batch_pairs && pairs->next < pairs->end; p++) {
        const tv_dpo_item *item = tv_dpo_pairs_at(pairs, pairs->next++);
        struct tv_dpo_pair *pair = &table[p];
        tv_dpo_put_response(item->chosen, 2 * p, batch, &pair->chosen_first, &pair->chosen_count);
        tv_dpo_put_response(item->rejected, 2 * p + 1, batch, &pair->rejected_first, &pair->rejected_count);
        pair->chosen_reference = item->references[0];
        pair->rejected_reference = item->references[1];
        pair->target = item->target;
        pair->weight = 1;
        batch->terms++;
    }
}

uint64_t tv_dpo_pairs_there(const tv_micro_batch *batch, uint64_t batch_pairs) {
    const struct tv_dpo_pair *table = batch->inputs[TV_DPO_PAIRS];
    uint64_t there = 0;
    while (there < batch_pairs && table[there].chosen_count + table[there].rejected_count > 0)
        there++;
    return there;
}

/* ---- references ---- */

typedef struct scoring {
    tv_dpo_pairs *pairs;
    uint64_t batch_pairs, done;
} scoring;

static tv_status next_unscored(void *context, tv_micro_batch *batch) {
    scoring *s = context;
    tv_dpo_pairs_fill(s->pairs, s->batch_pairs, batch);
    return TV_OK;
}

static tv_status keep_sums(void *context, const tv_micro_batch *batch,
                           const float *const outputs[TV_HEAD_TENSORS]) {
    scoring *s = context;
    uint64_t there = tv_dpo_pairs_there(batch, s->batch_pairs);
    for (uint64_t p = 0; p < there; p++, s->done++) {
        const float *stats = outputs[TV_DPO_PAIR_STATS] + p * TV_DPO_STATS;
        s->pairs->items[s->done].references[0] = stats[TV_DPO_CHOSEN_LOGPROB];
        s->pairs->items[s->done].references[1] = stats[TV_DPO_REJECTED_LOGPROB];
    }
    return TV_OK;
}

tv_status tv_dpo_pairs_score(tv_dpo_pairs *pairs, uint64_t batch_pairs, tv_trainer *trainer) {
    tv_dpo_pairs in_order = *pairs;
    in_order.shuffle = false;
    in_order.next = 0;
    in_order.end = pairs->count;
    scoring s = {.pairs = &in_order, .batch_pairs = batch_pairs};
    return tv_trainer_forward(trainer, tv_div_up(pairs->count, batch_pairs), next_unscored, &s, keep_sums,
                              &s);
}

/* What the references are of: tokens, their order, and where the responses begin. */
static uint64_t hash_of(const tv_dpo_pairs *pairs) {
    uint64_t hash = pairs->count;
    for (uint64_t i = 0; i < pairs->count; i++) {
        const tv_preference_response *both[] = {pairs->items[i].chosen, pairs->items[i].rejected};
        for (int k = 0; k < 2; k++)
            hash = tv_hash_bytes(both[k]->ids, both[k]->length * sizeof *both[k]->ids,
                                 hash ^ both[k]->prompt_length << 32 ^ both[k]->length);
    }
    return hash;
}

enum { NAME_BYTES = 48 };

/* The tensor's name carries the hash of its pairs. */
static void name_of(const tv_dpo_pairs *pairs, uint32_t list, char name[NAME_BYTES]) {
    snprintf(name, NAME_BYTES, "%" PRIu32 "/%016" PRIx64, list, hash_of(pairs));
}

tv_status tv_dpo_references_write(const char *path, const tv_dpo_pairs *const *lists, uint32_t count) {
    tv_safetensor tensors[MOST_LISTS] = {{0}};
    char names[MOST_LISTS][NAME_BYTES];
    tv_safetensors_writer *writer = NULL;
    tv_status status;
    for (uint32_t i = 0; i < count; i++) {
        name_of(lists[i], i, names[i]);
        tensors[i] =
            (tv_safetensor){.name = names[i], .dtype = "F32", .rank = 2, .shape = {lists[i]->count, 2}};
    }
    TV_TRY(tv_safetensors_writer_open(path, tensors, count, &writer));
    for (uint32_t i = 0; i < count; i++)
        for (uint64_t p = 0; p < lists[i]->count; p++)
            TV_TRY(tv_safetensors_write(writer, lists[i]->items[p].references,
                                        sizeof lists[i]->items[p].references));
    TV_TRY(tv_safetensors_writer_commit(&writer));
done:
    tv_safetensors_writer_abort(&writer);
    return status;
}

static tv_status check_references(const char *path, const float *values, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return tv_fail(TV_E_DATA, "%s holds %g, which is no log-probability; the file is damaged", path,
                           (double)values[i]);
    return TV_OK;
}

tv_status tv_dpo_references_read(const char *path, tv_dpo_pairs *const *lists, uint32_t count) {
    tv_safetensors *file = NULL;
    float *values = NULL;
    tv_status status;
    TV_TRY(tv_safetensors_open(path, &file));
    for (uint32_t i = 0; i < count; i++) {
        char name[NAME_BYTES];
        uint64_t pairs = lists[i]->count;
        name_of(lists[i], i, name);
        const tv_safetensor *tensor = tv_safetensors_find(file, name);
        if (!tensor || tensor->count != 2 * pairs) {
            status = tv_fail(
                TV_E_DATA,
                "%s holds the reference's log-probabilities of other pairs than data.%s gives now; the "
                "run continues with the data, tokenizer and seed that it began with, or starts anew",
                path, i ? "val" : "train");
            goto done;
        }
        free(values);
        values = calloc(2 * pairs + 1, sizeof *values);
        if (!values) {
            status = no_memory();
            goto done;
        }
        TV_TRY(tv_safetensors_read(file, tensor, 0, pairs, false, values));
        TV_TRY(check_references(path, values, 2 * pairs));
        for (uint64_t p = 0; p < pairs; p++)
            memcpy(lists[i]->items[p].references, values + 2 * p, sizeof lists[i]->items[p].references);
    }
done:
    tv_safetensors_close(&file);
    free(values);
    return status;
}
