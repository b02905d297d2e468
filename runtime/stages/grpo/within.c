/* An iteration that is half done: see within.h. */
#include "stages/grpo/within.h"

#include <math.h>

#include "base/bytes.h"
#include "stages/ppo/rollout_file.h"

static const char key[] = "within";

/* Of tv_grpo_sums; the rewards' are made anew from the answers. */
static const struct {
    const char *name;
    size_t offset;
} numbers[] = {
    {"drawn", offsetof(tv_grpo_sums, drawn)},
    {"drawn_reward", offsetof(tv_grpo_sums, drawn_reward)},
    {"loss", offsetof(tv_grpo_sums, loss)},
    {"first_ratio_deviation", offsetof(tv_grpo_sums, first_deviation)},
    {"grad_norm", offsetof(tv_grpo_sums, grad_norm)},
    {"draw_rate", offsetof(tv_grpo_sums, draw_rate)},
    {"prompt_shared", offsetof(tv_grpo_sums, prompt_shared)},
    {"seconds_draw", offsetof(tv_grpo_sums, draw_seconds)},
    {"seconds_score", offsetof(tv_grpo_sums, score_seconds)},
    {"seconds_forward", offsetof(tv_grpo_sums, forward_seconds)},
    {"seconds_update", offsetof(tv_grpo_sums, update_seconds)},
};

tv_status tv_grpo_within_write(const tv_grpo *g, cJSON *state, const char *directory) {
    cJSON *object = cJSON_AddObjectToObject(state, key),
          *stats = cJSON_CreateDoubleArray(g->sums.stats, TV_HEAD_STATS);
    bool built = object && stats && tv_json_set_number(object, "epoch", (double)g->epoch) &&
                 tv_json_set_number(object, "first", (double)g->first) &&
                 tv_json_set_number(object, "updates", (double)g->sums.updates) &&
                 tv_json_set_number(object, "skipped", (double)g->sums.skipped) &&
                 tv_ppo_rewards_add_sums(g->scorers, object);
    for (size_t i = 0; built && i < TV_COUNT(numbers); i++)
        built = tv_json_set_number(object, numbers[i].name,
                                   *(const double *)((const char *)&g->sums + numbers[i].offset));
    if (built && cJSON_AddItemToObject(object, "stats", stats))
        stats = NULL;
    built = built && !stats;
    cJSON_Delete(stats);
    return built ? tv_ppo_rollout_write(directory, &g->rollout)
                 : tv_fail(TV_E_MEMORY, "out of host memory for the state of GRPO");
}

static tv_status read_stats(const cJSON *object, const char *where, double *out) {
    const cJSON *stats = tv_json_get(object, "stats"), *item;
    int count = 0;
    if (cJSON_GetArraySize(stats) != TV_HEAD_STATS)
        return tv_fail(TV_E_DATA, "%s: expected %d \"stats\" in \"%s\"", where, TV_HEAD_STATS, key);
    cJSON_ArrayForEach(item, stats) out[count++] = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    return TV_OK;
}

tv_status tv_grpo_within_read(tv_grpo *g, const cJSON *state, const char *where, const char *directory) {
    const tv_grpo_settings *settings = &g->run->settings.grpo;
    const cJSON *object = tv_json_get(state, key);
    const uint64_t answers = g->rollout.sequences;
    int64_t epoch, first, updates, skipped;
    if (!cJSON_IsObject(object))
        return tv_fail(TV_E_DATA, "%s: expected \"%s\", how far the iteration is, found none", where, key);
    TV_RETURN_IF_FAILED(
        tv_json_integer(object, "epoch", where, 0, (int64_t)settings->epochs - 1, -1, &epoch));
    TV_RETURN_IF_FAILED(tv_json_integer(object, "first", where, 0, (int64_t)answers - 1, -1, &first));
    TV_RETURN_IF_FAILED(tv_json_integer(object, "updates", where, 0, UINT32_MAX, -1, &updates));
    TV_RETURN_IF_FAILED(tv_json_integer(object, "skipped", where, 0, UINT32_MAX, -1, &skipped));
    if (epoch < 0 || first < 0 || updates < 0 || skipped < 0 || (uint64_t)first % settings->minibatch)
        return tv_fail(TV_E_DATA,
                       "%s: expected an update of grpo.epochs and grpo.minibatch as they are in \"%s\"",
                       where, key);
    for (size_t i = 0; i < TV_COUNT(numbers); i++)
        TV_RETURN_IF_FAILED(tv_json_number(object, numbers[i].name, where, NAN,
                                           (double *)((char *)&g->sums + numbers[i].offset)));
    TV_RETURN_IF_FAILED(read_stats(object, where, g->sums.stats));
    tv_ppo_rewards_read_sums(g->scorers, object);
    TV_RETURN_IF_FAILED(
        tv_ppo_rollout_read(directory, g->prompts, g->run->list->config.vocab_size, &g->rollout));
    g->epoch = (uint64_t)epoch;
    g->first = (uint64_t)first;
    g->sums.updates = (uint64_t)updates;
    g->sums.skipped = (uint64_t)skipped;
    g->half_done = true;
    return TV_OK;
}
