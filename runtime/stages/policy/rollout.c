/* One rollout on the host: see rollout.h. */
#include "stages/policy/rollout.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "base/tokens.h"
#include "model/policy_head.h"
#include "model/score_head.h"
#include "text/by_length.h"

tv_status tv_policy_rollout_create(uint64_t sequences, uint64_t tokens, tv_policy_rollout *rollout) {
    uint64_t count = sequences * tokens;
    *rollout = (tv_policy_rollout){.sequences = sequences, .tokens = tokens};
    rollout->items = calloc(sequences, sizeof *rollout->items);
    rollout->ids = calloc(sequences * (tokens + 1), sizeof *rollout->ids);
    rollout->targets = calloc(count, sizeof *rollout->targets);
    float **const floats[] = {&rollout->old_logprobs, &rollout->entropies,  &rollout->ref_logprobs,
                              &rollout->values,       &rollout->advantages, &rollout->returns};
    bool built = rollout->items && rollout->ids && rollout->targets;
    for (size_t i = 0; i < TV_COUNT(floats); i++) {
        *floats[i] = calloc(count, sizeof **floats[i]);
        built = built && *floats[i];
    }
    return built ? TV_OK
                 : tv_fail(TV_E_MEMORY, "out of host memory for %llu sequences of %llu tokens",
                           (unsigned long long)sequences, (unsigned long long)tokens);
}

void tv_policy_rollout_free(tv_policy_rollout *rollout) {
    free(rollout->items);
    free(rollout->ids);
    free(rollout->targets);
    free(rollout->old_logprobs);
    free(rollout->entropies);
    free(rollout->ref_logprobs);
    free(rollout->values);
    free(rollout->advantages);
    free(rollout->returns);
    *rollout = (tv_policy_rollout){0};
}

void tv_policy_rollout_set(tv_policy_rollout *rollout, uint64_t sequence, const uint32_t *ids,
                           uint64_t length, uint64_t prompt_length, bool ended) {
    uint64_t T = rollout->tokens;
    uint32_t *own = rollout->ids + sequence * (T + 1), *targets = rollout->targets + sequence * T;
    rollout->items[sequence].length = length;
    rollout->items[sequence].prompt_length = prompt_length;
    rollout->items[sequence].ended = ended;
    rollout->items[sequence].rated = false;
    memset(own, 0, (T + 1) * sizeof *own);
    memcpy(own, ids, length * sizeof *own);
    for (uint64_t t = 0; t < T; t++)
        targets[t] = t + 1 >= prompt_length && t + 1 < length ? ids[t + 1] : TV_IGNORED_TARGET;
}

void tv_policy_rollout_rate(tv_policy_rollout *rollout, uint64_t sequence, const float *logprobs,
                            const float *entropies) {
    const uint64_t T = rollout->tokens, first = rollout->items[sequence].prompt_length - 1,
                   count = rollout->items[sequence].length - 1 - first;
    float *const own[] = {rollout->old_logprobs + sequence * T, rollout->entropies + sequence * T};
    const float *const drawn[] = {logprobs, entropies};
    for (int i = 0; i < 2; i++) {
        memset(own[i], 0, T * sizeof *own[i]);
        memcpy(own[i] + first, drawn[i] + first + 1, count * sizeof *own[i]);
    }
    rollout->items[sequence].rated = true;
}

bool tv_policy_rollout_is_rated(const tv_policy_rollout *rollout) {
    bool rated = true;
    for (uint64_t s = 0; s < rollout->sequences; s++)
        rated = rated && rollout->items[s].rated;
    return rated;
}

uint64_t tv_policy_rollout_response_tokens(const tv_policy_rollout *rollout) {
    uint64_t total = 0;
    for (uint64_t s = 0; s < rollout->sequences; s++)
        total += rollout->items[s].length - rollout->items[s].prompt_length;
    return total;
}

/* ---- batches ---- */

tv_status tv_policy_rollout_order(const tv_policy_rollout *rollout, const uint64_t *among, uint64_t count,
                                  uint64_t minibatch, uint64_t seed, uint32_t pass, uint64_t *order) {
    const tv_rng rng = {.seed = seed, .stream = TV_STREAM_SHUFFLE, .step = pass};
    tv_item_length *drawn = calloc(count + 1, sizeof *drawn);
    if (!drawn)
        return tv_fail(TV_E_MEMORY, "out of host memory for the order of %llu sequences",
                       (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t place = tv_permute(&rng, i, count), sequence = among ? among[place] : place;
        drawn[i] = (tv_item_length){rollout->items[sequence].length, sequence};
    }
    for (uint64_t first = 0; first < count; first += minibatch)
        tv_sort_by_length(drawn + first, tv_min_u64(minibatch, count - first));
    for (uint64_t i = 0; i < count; i++)
        order[i] = drawn[i].item;
    free(drawn);
    return TV_OK;
}

/* Sequences of the micro-batch that begins at `next`. */
static uint64_t sequences_of(const tv_policy_batches *batches) {
    if (batches->next >= batches->end)
        return 0;
    uint64_t end = (batches->next / batches->minibatch + 1) * batches->minibatch;
    return tv_min_u64(batches->batch, tv_min_u64(end, batches->end) - batches->next);
}

uint64_t tv_policy_batches_left(const tv_policy_batches *batches) {
    tv_policy_batches rest = *batches;
    uint64_t count = 0;
    for (; rest.next < rest.end; count++)
        rest.next += sequences_of(&rest);
    return count;
}

static void fill_row(const tv_policy_batches *batches, uint64_t b, uint64_t sequence, tv_micro_batch *batch) {
    const tv_policy_rollout *r = batches->rollout;
    uint64_t T = r->tokens, at = b * batch->width, bytes = batch->width * sizeof(uint32_t);
    memcpy(batch->tokens + at, r->ids + sequence * (T + 1), bytes);
    memcpy(batch->targets + at, r->targets + sequence * T, bytes);
    if (batches->kind == TV_POLICY_BATCH_FORWARD)
        return;
    bool policy = batches->kind == TV_POLICY_BATCH_POLICY;
    float *old = batch->inputs[policy ? (int)TV_POLICY_OLD_LOGPROBS : (int)TV_VALUE_OLD_VALUES];
    float *aim = batch->inputs[policy ? (int)TV_POLICY_ADVANTAGES : (int)TV_VALUE_RETURNS];
    memcpy(old + at, (policy ? r->old_logprobs : r->values) + sequence * T, bytes);
    memcpy(aim + at, (policy ? r->advantages : r->returns) + sequence * T, bytes);
}

tv_status tv_policy_batches_next(void *context, tv_micro_batch *batch) {
    tv_policy_batches *batches = context;
    const tv_policy_sequence *items = batches->rollout->items;
    const uint64_t *order = batches->order + batches->next;
    uint64_t count = sequences_of(batches);
    /* Row t predicts token t + 1; the first sequence is the longest. */
    tv_micro_batch_narrow(batch, count ? items[order[0]].length - 1 : 1);
    batch->used = 0;
    for (uint64_t b = 0; b < count; b++) {
        fill_row(batches, b, order[b], batch);
        batch->used += items[order[b]].length;
    }
    for (uint64_t i = count * batch->width; i < batches->batch * batch->width; i++) {
        batch->tokens[i] = 0;
        batch->targets[i] = TV_IGNORED_TARGET;
    }
    batches->next += count;
    return TV_OK;
}

static void take(const float *values, uint64_t width, uint64_t T, float *row) {
    memcpy(row, values, width * sizeof *row);
    memset(row + width, 0, (T - width) * sizeof *row);
}

tv_status tv_policy_outputs_take(void *context, const tv_micro_batch *batch,
                                 const float *const values[TV_HEAD_TENSORS]) {
    tv_policy_outputs *outputs = context;
    tv_policy_batches *batches = &outputs->batches;
    uint64_t T = batches->rollout->tokens, width = batch->width, count = sequences_of(batches);
    for (uint64_t b = 0; b < count; b++) {
        uint64_t at = batches->order[batches->next + b] * T;
        if (outputs->first)
            take(values[0] + b * width, width, T, outputs->first + at);
        if (outputs->second)
            take(values[1] + b * width, width, T, outputs->second + at);
    }
    batches->next += count;
    return TV_OK;
}
