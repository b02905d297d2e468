/* GAE over a rollout: see advantages.h. */
#include "stages/ppo/advantages.h"

#include <stdlib.h>

#include "vk/submit.h"
#include "vk/transfer.h"

enum {
    PART_EXTENTS,
    PART_BETA,
    PART_OLD_LOGPROBS,
    PART_REF_LOGPROBS,
    PART_VALUES,
    PART_ADVANTAGES,
    PART_RETURNS,
    PART_SUMS,
    PART_TOTALS,
    PART_SCRATCH,
    PART_COUNT
};

struct tv_ppo_advantages {
    tv_device *device;
    uint64_t sequences, tokens;
    tv_plan_item parts[PART_COUNT];
    tv_device_arena *arena;
    tv_recording *recording;
    struct tv_gae_extent *extents; /* (S), the host's */
};

static tv_status plan_parts(uint64_t sequences, uint64_t tokens, uint64_t limit, tv_plan_item *parts,
                            tv_memory_plan *plan) {
    uint64_t matrix = sequences * tokens * sizeof(float);
    const uint64_t bytes[PART_COUNT] = {
        [PART_EXTENTS] = sequences * sizeof(struct tv_gae_extent),
        [PART_BETA] = sizeof(float),
        [PART_OLD_LOGPROBS] = matrix,
        [PART_REF_LOGPROBS] = matrix,
        [PART_VALUES] = matrix,
        [PART_ADVANTAGES] = matrix,
        [PART_RETURNS] = matrix,
        [PART_SUMS] = sequences * TV_GAE_SUMS * sizeof(float),
        [PART_TOTALS] = TV_GAE_SUMS * sizeof(float),
        [PART_SCRATCH] = tv_gae_scratch(sequences),
    };
    for (int i = 0; i < PART_COUNT; i++)
        parts[i] = (tv_plan_item){.bytes = bytes[i]};
    return tv_memory_plan_sequence(parts, PART_COUNT, limit, plan);
}

uint64_t tv_ppo_advantages_bytes(uint64_t sequences, uint64_t tokens) {
    tv_plan_item parts[PART_COUNT];
    tv_memory_plan plan = {0};
    uint64_t bytes = 0;
    if (plan_parts(sequences, tokens, UINT64_MAX, parts, &plan) == TV_OK)
        bytes = plan.total_bytes;
    tv_memory_plan_free(&plan);
    return bytes;
}

static tv_tensor part(const tv_ppo_advantages *a, int which) {
    return (tv_tensor){tv_device_arena_span(a->arena, &a->parts[which]), TV_F32};
}

static tv_status record(tv_ppo_advantages *a, const tv_ppo_settings *settings) {
    static const uint32_t estimators[] = {[TV_KL_K1] = TV_KL_1, [TV_KL_K2] = TV_KL_2, [TV_KL_K3] = TV_KL_3};
    tv_recorder *recorder = NULL;
    tv_status status;
    TV_TRY_OR_FAIL(tv_recorder_begin(a->device, &(tv_recorder_options){.name = "ppo/advantages"}, &recorder));
    TV_TRY_OR_FAIL(tv_gae_record(recorder, &(tv_gae){.sequences = a->sequences,
                                                     .tokens = a->tokens,
                                                     .estimator = estimators[settings->kl_estimator],
                                                     .gamma = (float)settings->gamma,
                                                     .lambda = (float)settings->lambda,
                                                     .whiten = true,
                                                     .extents = part(a, PART_EXTENTS),
                                                     .beta = part(a, PART_BETA),
                                                     .old_logprobs = part(a, PART_OLD_LOGPROBS),
                                                     .ref_logprobs = part(a, PART_REF_LOGPROBS),
                                                     .values = part(a, PART_VALUES),
                                                     .advantages = part(a, PART_ADVANTAGES),
                                                     .returns = part(a, PART_RETURNS),
                                                     .sums = part(a, PART_SUMS),
                                                     .totals = part(a, PART_TOTALS),
                                                     .scratch = part(a, PART_SCRATCH)}));
    return tv_recorder_end(&recorder, &a->recording);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

tv_status tv_ppo_advantages_create(tv_device *device, const tv_ppo_settings *settings, uint64_t sequences,
                                   uint64_t tokens, tv_ppo_advantages **out) {
    *out = NULL;
    tv_status status;
    tv_memory_plan plan = {0};
    tv_ppo_advantages *a = calloc(1, sizeof *a);
    if (!a)
        return tv_fail(TV_E_MEMORY, "out of host memory for advantages");
    a->device = device;
    a->sequences = sequences;
    a->tokens = tokens;
    a->extents = calloc(sequences, sizeof *a->extents);
    if (!a->extents) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for advantages");
        goto fail;
    }
    TV_TRY_OR_FAIL(plan_parts(sequences, tokens, tv_device_caps(device)->buffer_bytes, a->parts, &plan));
    TV_TRY_OR_FAIL(tv_device_arena_create(device, &plan, TV_MEMORY_DEVICE, "advantages", &a->arena));
    TV_TRY_OR_FAIL(record(a, settings));
    tv_memory_plan_free(&plan);
    *out = a;
    return TV_OK;
fail:
    tv_memory_plan_free(&plan);
    tv_ppo_advantages_destroy(&a);
    return status;
}

void tv_ppo_advantages_destroy(tv_ppo_advantages **handle) {
    if (!handle || !*handle)
        return;
    tv_recording_destroy(&(*handle)->recording);
    tv_device_arena_destroy(&(*handle)->arena);
    free((*handle)->extents);
    free(*handle);
    *handle = NULL;
}

static tv_status upload(tv_ppo_advantages *a, int which, const void *from) {
    tv_span span = part(a, which).span;
    return tv_upload(a->device, span, from, a->parts[which].bytes);
}

static tv_status download(tv_ppo_advantages *a, int which, void *to) {
    return tv_download(a->device, part(a, which).span, to, a->parts[which].bytes);
}

tv_status tv_ppo_advantages_run(tv_ppo_advantages *a, tv_policy_rollout *rollout, const float *rewards,
                                double kl_coef, double totals[TV_GAE_SUMS]) {
    const float beta = (float)kl_coef;
    float sums[TV_GAE_SUMS];
    uint64_t value;
    for (uint64_t s = 0; s < a->sequences; s++) {
        const tv_policy_sequence *item = &rollout->items[s];
        a->extents[s] = (struct tv_gae_extent){.first = (uint32_t)(item->prompt_length - 1),
                                               .count = (uint32_t)(item->length - item->prompt_length),
                                               .score = rewards[s]};
    }
    TV_RETURN_IF_FAILED(upload(a, PART_EXTENTS, a->extents));
    TV_RETURN_IF_FAILED(upload(a, PART_BETA, &beta));
    TV_RETURN_IF_FAILED(upload(a, PART_OLD_LOGPROBS, rollout->old_logprobs));
    TV_RETURN_IF_FAILED(upload(a, PART_REF_LOGPROBS, rollout->ref_logprobs));
    TV_RETURN_IF_FAILED(upload(a, PART_VALUES, rollout->values));
    TV_RETURN_IF_FAILED(tv_submit(a->device, &a->recording, 1, &value));
    TV_RETURN_IF_FAILED(tv_wait(a->device, value));
    TV_RETURN_IF_FAILED(download(a, PART_VALUES, rollout->values));
    TV_RETURN_IF_FAILED(download(a, PART_ADVANTAGES, rollout->advantages));
    TV_RETURN_IF_FAILED(download(a, PART_RETURNS, rollout->returns));
    TV_RETURN_IF_FAILED(download(a, PART_TOTALS, sums));
    for (int i = 0; i < TV_GAE_SUMS; i++)
        totals[i] = (double)sums[i];
    return TV_OK;
}
