/* Several rewards as one: see rewards.h. */
#include "stages/policy/rewards.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"

typedef struct part {
    tv_policy_reward *reward;
    const tv_reward_source *source;
    double *scores; /* (sequences) of the last rollout */
    double sum, squares;
    uint64_t seen, scored;            /* answers; those that it applies to */
    char *mean, *deviation, *applies; /* names of numbers */
} part;

struct tv_policy_rewards {
    part parts[TV_MOST_REWARDS];
    uint64_t count, sequences;
    uint8_t *drawn; /* (sequences) of the rollout: 1 where the answer stands there */
    uint64_t told;  /* of them, those that programs were asked about */
};

static tv_status open_part(const tv_policy_rewards_options *o, const tv_reward_source *source, part *p) {
    p->source = source;
    p->scores = calloc(o->sequences + 1, sizeof *p->scores);
    p->mean = tv_format("reward/%s/mean", source->name);
    p->deviation = tv_format("reward/%s/std", source->name);
    p->applies = tv_format("reward/%s/applies", source->name);
    if (!p->scores || !p->mean || !p->deviation || !p->applies)
        return tv_fail(TV_E_MEMORY, "out of host memory for the rewards");
    const tv_policy_reward_options options = {.ranks = o->ranks,
                                              .kind = source->kind,
                                              .text = source->text,
                                              .name = o->sources->count > 1 ? source->name : NULL,
                                              .tokenizer = o->tokenizer,
                                              .max_tokens = o->max_tokens,
                                              .sequences = o->sequences,
                                              .weights = o->weights,
                                              .batch = o->batch,
                                              .timeout = o->timeout,
                                              .shared = o->shared};
    return tv_policy_reward_open(&options, &p->reward);
}

tv_status tv_policy_rewards_open(const tv_policy_rewards_options *options, tv_policy_rewards **out) {
    tv_policy_rewards *rewards = calloc(1, sizeof *rewards);
    *out = rewards;
    if (!rewards)
        return tv_fail(TV_E_MEMORY, "out of host memory for the rewards");
    rewards->sequences = options->sequences;
    rewards->drawn = calloc(options->sequences + 1, sizeof *rewards->drawn);
    tv_status status = rewards->drawn ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the rewards");
    for (uint64_t i = 0; i < options->sources->count && status == TV_OK; i++) {
        rewards->count++;
        status = open_part(options, &options->sources->rewards[i], &rewards->parts[i]);
    }
    if (status != TV_OK)
        tv_policy_rewards_close(out);
    return status;
}

void tv_policy_rewards_close(tv_policy_rewards **handle) {
    if (!handle || !*handle)
        return;
    tv_policy_rewards *rewards = *handle;
    for (uint64_t i = 0; i < rewards->count; i++) {
        part *p = &rewards->parts[i];
        tv_policy_reward_close(&p->reward);
        free(p->scores);
        free(p->mean);
        free(p->deviation);
        free(p->applies);
    }
    free(rewards->drawn);
    free(rewards);
    *handle = NULL;
}

uint64_t tv_policy_rewards_count(const tv_policy_rewards *rewards) {
    return rewards->count;
}

tv_policy_reward *tv_policy_rewards_at(const tv_policy_rewards *rewards, uint64_t index) {
    return rewards->parts[index].reward;
}

tv_policy_reward *tv_policy_rewards_model(const tv_policy_rewards *rewards) {
    for (uint64_t i = 0; i < rewards->count; i++)
        if (tv_policy_reward_model(rewards->parts[i].reward))
            return rewards->parts[i].reward;
    return NULL;
}

tv_status tv_policy_rewards_measure(tv_policy_rewards *rewards, const tv_parameter_list *policy,
                                    const tv_caps *caps, uint64_t *bytes) {
    *bytes = 0;
    for (uint64_t i = 0; i < rewards->count; i++) {
        uint64_t own;
        TV_RETURN_IF_FAILED(tv_policy_reward_measure(rewards->parts[i].reward, policy, caps, &own));
        *bytes += own;
    }
    return TV_OK;
}

const char *tv_policy_rewards_row(const tv_policy_rewards *rewards, const tv_parameter_list *policy) {
    uint64_t models = 0, shared = 0;
    for (uint64_t i = 0; i < rewards->count; i++) {
        models += tv_policy_reward_model(rewards->parts[i].reward) != NULL;
        shared += tv_policy_reward_shares_base(rewards->parts[i].reward, policy);
    }
    if (models > 1)
        return shared == models ? "reward models, policy's base" : "reward models";
    return shared ? "reward model, policy's base" : "reward model";
}

uint64_t tv_policy_rewards_context(const tv_policy_rewards *rewards, const tv_parameter_list *policy) {
    uint64_t most = 0;
    for (uint64_t i = 0; i < rewards->count; i++)
        most = tv_max_u64(most, tv_policy_reward_context(rewards->parts[i].reward, policy));
    return most;
}

tv_status tv_policy_rewards_start(tv_policy_rewards *rewards, const tv_model *policy) {
    for (uint64_t i = 0; i < rewards->count; i++)
        TV_RETURN_IF_FAILED(tv_policy_reward_start(rewards->parts[i].reward, policy));
    return TV_OK;
}

tv_status tv_policy_rewards_finish(tv_policy_rewards *rewards) {
    for (uint64_t i = 0; i < rewards->count; i++)
        TV_RETURN_IF_FAILED(tv_policy_reward_finish(rewards->parts[i].reward));
    return TV_OK;
}

static void count_scores(part *p, uint64_t sequences) {
    p->seen += sequences;
    for (uint64_t s = 0; s < sequences; s++) {
        if (isnan(p->scores[s]))
            continue;
        p->scored++;
        p->sum += p->scores[s];
        p->squares += p->scores[s] * p->scores[s];
    }
}

bool tv_policy_rewards_ask(const tv_policy_rewards *rewards) {
    for (uint64_t i = 0; i < rewards->count; i++)
        if (rewards->parts[i].source->kind == TV_REWARD_PROGRAM)
            return true;
    return false;
}

tv_status tv_policy_rewards_expect(tv_policy_rewards *rewards, const tv_policy_rollout *rollout) {
    memset(rewards->drawn, 0, rewards->sequences);
    rewards->told = 0;
    for (uint64_t i = 0; i < rewards->count; i++)
        TV_RETURN_IF_FAILED(tv_policy_reward_begin(rewards->parts[i].reward, rollout->sequences));
    return TV_OK;
}

tv_status tv_policy_rewards_drawn(tv_policy_rewards *rewards, const tv_prompts *prompts,
                                  const tv_policy_rollout *rollout, uint64_t sequence) {
    rewards->drawn[sequence] = 1;
    for (; rewards->told < rollout->sequences && rewards->drawn[rewards->told]; rewards->told++)
        for (uint64_t i = 0; i < rewards->count; i++)
            TV_RETURN_IF_FAILED(tv_policy_reward_drawn(rewards->parts[i].reward, prompts, rollout));
    return TV_OK;
}

void tv_policy_rewards_abandon(tv_policy_rewards *rewards) {
    for (uint64_t i = 0; i < rewards->count; i++)
        tv_policy_reward_abandon(rewards->parts[i].reward);
}

tv_status tv_policy_rewards_score(tv_policy_rewards *rewards, const tv_prompts *prompts,
                                  tv_policy_rollout *rollout, bool counted) {
    for (uint64_t s = 0; s < rollout->sequences; s++)
        rollout->items[s].score = NAN;
    for (uint64_t i = 0; i < rewards->count; i++) {
        part *p = &rewards->parts[i];
        TV_RETURN_IF_FAILED(tv_policy_reward_score(p->reward, prompts, rollout, p->scores));
        if (counted)
            count_scores(p, rollout->sequences);
        for (uint64_t s = 0; s < rollout->sequences; s++)
            if (!isnan(p->scores[s])) {
                double *score = &rollout->items[s].score;
                *score = (isnan(*score) ? 0 : *score) + p->source->weight * p->scores[s];
            }
    }
    return TV_OK;
}

tv_status tv_policy_rewards_expect_all(const tv_prompts *prompts, const tv_policy_rollout *rollout) {
    for (uint64_t s = 0; s < rollout->sequences; s++)
        if (isnan(rollout->items[s].score))
            return tv_fail(TV_E_DATA,
                           "no reward applies to a response to prompt %s: --reward-cmd answered null, and "
                           "nothing else scores it; expected a number of one reward at least",
                           prompts->items[rollout->items[s].prompt].id);
    return TV_OK;
}

void tv_policy_rewards_begin(tv_policy_rewards *rewards) {
    for (uint64_t i = 0; i < rewards->count; i++) {
        part *p = &rewards->parts[i];
        p->sum = p->squares = 0;
        p->seen = p->scored = 0;
    }
}

void tv_policy_rewards_describe(const tv_policy_rewards *rewards, tv_metric_number *numbers,
                                uint64_t *count) {
    for (uint64_t i = 0; rewards->count > 1 && i < rewards->count; i++) {
        const part *p = &rewards->parts[i];
        double n = (double)p->scored, mean = p->sum / n;
        if (p->scored < p->seen)
            numbers[(*count)++] = (tv_metric_number){p->applies, n / (double)p->seen};
        if (p->scored == 0)
            continue;
        numbers[(*count)++] = (tv_metric_number){p->mean, mean};
        numbers[(*count)++] = (tv_metric_number){p->deviation, sqrt(fmax(p->squares / n - mean * mean, 0))};
    }
}

static const char sums_key[] = "rewards";
enum { SUMS = 4 /* of each */ };

bool tv_policy_rewards_add_sums(const tv_policy_rewards *rewards, cJSON *state) {
    double sums[SUMS * TV_MOST_REWARDS];
    for (uint64_t i = 0; i < rewards->count; i++) {
        const part *p = &rewards->parts[i];
        double *own = &sums[SUMS * i];
        own[0] = p->sum;
        own[1] = p->squares;
        own[2] = (double)p->scored;
        own[3] = (double)p->seen;
    }
    cJSON *list = cJSON_CreateDoubleArray(sums, SUMS * (int)rewards->count);
    bool built = list && cJSON_AddItemToObject(state, sums_key, list);
    if (!built)
        cJSON_Delete(list);
    return built;
}

static double number_at(const cJSON *list, uint64_t index) {
    const cJSON *item = cJSON_GetArrayItem(list, (int)index);
    return item ? item->valuedouble : 0;
}

void tv_policy_rewards_read_sums(tv_policy_rewards *rewards, const cJSON *state) {
    const cJSON *list = tv_json_get(state, sums_key);
    tv_policy_rewards_begin(rewards);
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != SUMS * (int)rewards->count)
        return;
    for (uint64_t i = 0; i < rewards->count; i++) {
        part *p = &rewards->parts[i];
        double scored = number_at(list, SUMS * i + 2), seen = number_at(list, SUMS * i + 3);
        p->sum = number_at(list, SUMS * i);
        p->squares = number_at(list, SUMS * i + 1);
        p->scored = scored >= 0 && scored <= UINT32_MAX ? (uint64_t)scored : 0;
        p->seen = seen >= 0 && seen <= UINT32_MAX ? (uint64_t)seen : 0;
    }
}
