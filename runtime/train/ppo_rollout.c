/* One rollout on the host: see ppo_rollout.h. */
#include "train/ppo_rollout.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "base/tokens.h"
#include "model/policy_head.h"
#include "model/score_head.h"

tv_status tv_ppo_rollout_create(uint64_t sequences, uint64_t tokens, tv_ppo_rollout *rollout) {
    uint64_t count = sequences * tokens;
    *rollout = (tv_ppo_rollout){.sequences = sequences, .tokens = tokens};
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

void tv_ppo_rollout_free(tv_ppo_rollout *rollout) {
    free(rollout->items);
    free(rollout->ids);
    free(rollout->targets);
    free(rollout->old_logprobs);
    free(rollout->entropies);
    free(rollout->ref_logprobs);
    free(rollout->values);
    free(rollout->advantages);
    free(rollout->returns);
    *rollout = (tv_ppo_rollout){0};
}

void tv_ppo_rollout_set(tv_ppo_rollout *rollout, uint64_t sequence, const uint32_t *ids, uint64_t length,
                        uint64_t prompt_length, bool ended) {
    uint64_t T = rollout->tokens;
    uint32_t *own = rollout->ids + sequence * (T + 1), *targets = rollout->targets + sequence * T;
    rollout->items[sequence].length = length;
    rollout->items[sequence].prompt_length = prompt_length;
    rollout->items[sequence].ended = ended;
    memset(own, 0, (T + 1) * sizeof *own);
    memcpy(own, ids, length * sizeof *own);
    for (uint64_t t = 0; t < T; t++)
        targets[t] = t + 1 >= prompt_length && t + 1 < length ? ids[t + 1] : TV_IGNORED_TARGET;
}

uint64_t tv_ppo_rollout_response_tokens(const tv_ppo_rollout *rollout) {
    uint64_t total = 0;
    for (uint64_t s = 0; s < rollout->sequences; s++)
        total += rollout->items[s].length - rollout->items[s].prompt_length;
    return total;
}

/* ---- batches ---- */

static void fill_row(const tv_ppo_batches *batches, uint64_t b, uint64_t sequence, tv_micro_batch *batch) {
    const tv_ppo_rollout *r = batches->rollout;
    uint64_t T = r->tokens, bytes = T * sizeof(uint32_t);
    memcpy(batch->tokens + b * T, r->ids + sequence * (T + 1), bytes);
    memcpy(batch->targets + b * T, r->targets + sequence * T, bytes);
    if (batches->kind == TV_PPO_BATCH_FORWARD)
        return;
    bool policy = batches->kind == TV_PPO_BATCH_POLICY;
    float *old = batch->inputs[policy ? (int)TV_POLICY_OLD_LOGPROBS : (int)TV_VALUE_OLD_VALUES];
    float *aim = batch->inputs[policy ? (int)TV_POLICY_ADVANTAGES : (int)TV_VALUE_RETURNS];
    memcpy(old + b * T, (policy ? r->old_logprobs : r->values) + sequence * T, bytes);
    memcpy(aim + b * T, (policy ? r->advantages : r->returns) + sequence * T, bytes);
}

tv_status tv_ppo_batches_next(void *context, tv_micro_batch *batch) {
    tv_ppo_batches *batches = context;
    const tv_ppo_rollout *r = batches->rollout;
    const tv_rng rng = {.seed = batches->seed, .stream = TV_STREAM_SHUFFLE, .step = batches->pass};
    batch->used = 0;
    for (uint64_t b = 0; b < batches->batch; b++, batches->next++) {
        if (batches->next < batches->end) {
            uint64_t sequence =
                batches->shuffle ? tv_permute(&rng, batches->next, r->sequences) : batches->next;
            fill_row(batches, b, sequence, batch);
            batch->used += r->items[sequence].length;
            continue;
        }
        memset(batch->tokens + b * r->tokens, 0, r->tokens * sizeof *batch->tokens);
        for (uint64_t t = 0; t < r->tokens; t++)
            batch->targets[b * r->tokens + t] = TV_IGNORED_TARGET;
    }
    return TV_OK;
}

tv_status tv_ppo_outputs_take(void *context, const tv_micro_batch *batch,
                              const float *const values[TV_HEAD_TENSORS]) {
    tv_ppo_outputs *outputs = context;
    uint64_t T = outputs->rollout->tokens;
    (void)batch;
    for (uint64_t b = 0; b < outputs->batch && outputs->next < outputs->rollout->sequences;
         b++, outputs->next++) {
        if (outputs->first)
            memcpy(outputs->first + outputs->next * T, values[0] + b * T, T * sizeof(float));
        if (outputs->second)
            memcpy(outputs->second + outputs->next * T, values[1] + b * T, T * sizeof(float));
    }
    return TV_OK;
}
