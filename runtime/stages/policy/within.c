/* An iteration that is not through: see within.h. */
#include "stages/policy/within.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/os.h"
#include "stages/policy/rollout_file.h"

static const char key[] = "within";

void tv_policy_within_add(tv_policy_within *w, const char *name, double *values, uint64_t count) {
    if (w->sum_count < TV_POLICY_MOST_SUMS)
        w->sums[w->sum_count] = (tv_policy_sums){name, values, count};
    w->sum_count++;
}

static tv_status expect_room(const tv_policy_within *w) {
    return w->sum_count <= TV_POLICY_MOST_SUMS
               ? TV_OK
               : tv_fail(TV_E_USAGE,
                         "an iteration has %d sums, and a checkpoint room for %d (TV_POLICY_MOST_SUMS)",
                         (int)w->sum_count, (int)TV_POLICY_MOST_SUMS);
}

void tv_policy_within_add_times(tv_policy_within *w, tv_policy_times *times) {
    tv_policy_within_add(w, "draw_rate", &times->draw_rate, 1);
    tv_policy_within_add(w, "prompt_shared", &times->prompt_shared, 1);
    tv_policy_within_add(w, "seconds_draw", &times->draw, 1);
    tv_policy_within_add(w, "seconds_score", &times->score, 1);
    tv_policy_within_add(w, "seconds_forward", &times->forward, 1);
    tv_policy_within_add(w, "seconds_update", &times->update, 1);
}

double tv_policy_times_sum(const tv_policy_times *times) {
    return times->draw + times->score + times->forward + times->update;
}

void tv_policy_times_describe(const tv_policy_times *times, tv_metric_number *numbers, uint64_t *count) {
    const tv_metric_number own[TV_POLICY_TIMES_NUMBERS] = {{"draw/tokens_per_second", times->draw_rate},
                                                           {"draw/prompt_shared", times->prompt_shared},
                                                           {"seconds/draw", times->draw},
                                                           {"seconds/score", times->score},
                                                           {"seconds/forward", times->forward},
                                                           {"seconds/update", times->update}};
    memcpy(numbers + *count, own, sizeof own);
    *count += TV_POLICY_TIMES_NUMBERS;
}

void tv_policy_within_restart(tv_policy_within *w) {
    w->models = TV_POLICY_UNTOUCHED;
    w->epoch = w->first = 0;
    w->updated = false;
}

/* ---- in a checkpoint ---- */

static bool set_sums(cJSON *object, const tv_policy_sums *sums) {
    if (sums->count == 1)
        return tv_json_set_number(object, sums->name, *sums->values);
    cJSON *list = cJSON_CreateDoubleArray(sums->values, (int)sums->count);
    const bool built = list && cJSON_AddItemToObject(object, sums->name, list);
    if (!built)
        cJSON_Delete(list);
    return built;
}

tv_status tv_policy_within_write(const tv_policy_within *w, cJSON *state, const char *directory) {
    TV_RETURN_IF_FAILED(expect_room(w));
    cJSON *object = cJSON_AddObjectToObject(state, key);
    bool built = object && cJSON_AddBoolToObject(object, "updated", w->updated) &&
                 tv_json_set_number(object, "epoch", (double)w->epoch) &&
                 tv_json_set_number(object, "first", (double)w->first) &&
                 tv_policy_rewards_add_sums(w->scorers, object);
    for (uint64_t i = 0; built && i < w->sum_count; i++)
        built = set_sums(object, &w->sums[i]);
    return built ? tv_policy_rollout_write(directory, w->rollout)
                 : tv_fail(TV_E_MEMORY, "out of host memory for the state of an iteration");
}

static tv_status read_sums(const cJSON *object, const char *where, const tv_policy_sums *sums) {
    const cJSON *list = tv_json_get(object, sums->name), *item;
    uint64_t count = 0;
    if (sums->count == 1)
        return tv_json_number(object, sums->name, where, NAN, sums->values);
    if ((uint64_t)cJSON_GetArraySize(list) != sums->count)
        return tv_fail(TV_E_DATA, "%s: expected %d numbers \"%s\" in \"%s\"", where, (int)sums->count,
                       sums->name, key);
    cJSON_ArrayForEach(item, list)
        sums->values[count++] = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    return TV_OK;
}

static tv_status read_place(tv_policy_within *w, const cJSON *object, const char *where) {
    const uint64_t sequences = w->rollout->sequences;
    int64_t epoch, first;
    w->updated = cJSON_IsTrue(tv_json_get(object, "updated"));
    w->epoch = w->first = 0;
    if (w->updated)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_json_integer(object, "epoch", where, 0, (int64_t)w->epochs - 1, -1, &epoch));
    TV_RETURN_IF_FAILED(tv_json_integer(object, "first", where, 0, (int64_t)sequences - 1, -1, &first));
    if (epoch < 0 || first < 0 || (uint64_t)first % w->minibatch)
        return tv_fail(TV_E_DATA,
                       "%s: expected an update of %s.epochs and %s.minibatch as they are in \"%s\"", where,
                       w->run->stage->name, w->run->stage->name, key);
    w->epoch = (uint64_t)epoch;
    w->first = (uint64_t)first;
    return TV_OK;
}

static tv_status read_state(tv_policy_within *w, const cJSON *state, const char *where) {
    const cJSON *object = tv_json_get(state, key);
    TV_RETURN_IF_FAILED(expect_room(w));
    if (!cJSON_IsObject(object))
        return tv_fail(TV_E_DATA, "%s: expected \"%s\", how far the iteration is, found none", where, key);
    TV_RETURN_IF_FAILED(read_place(w, object, where));
    for (uint64_t i = 0; i < w->sum_count; i++)
        TV_RETURN_IF_FAILED(read_sums(object, where, &w->sums[i]));
    tv_policy_rewards_read_sums(w->scorers, object);
    return TV_OK;
}

tv_status tv_policy_within_read(tv_policy_within *w, const char *directory, const char *state_name) {
    cJSON *root = NULL;
    char *path = tv_format("%s/%s", directory, state_name);
    tv_status status =
        path ? tv_json_read_file(path, &root) : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (status == TV_OK)
        status = read_state(w, root, path);
    if (status == TV_OK)
        status = tv_policy_rollout_read(directory, w->prompts, w->run->list->config.vocab_size, w->rollout);
    w->taken_up = status == TV_OK;
    cJSON_Delete(root);
    free(path);
    return tv_fail_advice(status, TV_E_DATA,
                          "move checkpoints/within away to go on from the last whole iteration");
}

/* ---- the updates ---- */

tv_status tv_policy_drain(tv_trainer *trainer, void (*take)(void *context, const tv_step_result *result),
                          void *context) {
    tv_step_result result;
    bool has_result = true;
    while (has_result) {
        TV_RETURN_IF_FAILED(tv_trainer_drain(trainer, &result, &has_result));
        if (has_result)
            take(context, &result);
    }
    return TV_OK;
}

static tv_status update_epoch(tv_policy_within *w, const tv_policy_updates *u,
                              const struct tv_step_constants *constants) {
    TV_RETURN_IF_FAILED(u->order(u->context, w->epoch));
    for (; w->first < u->count; w->first += w->minibatch) {
        TV_RETURN_IF_FAILED(tv_run_check_interrupt(w->run));
        if (w->run->interrupted)
            return tv_fail(TV_E_INTERRUPTED, "interrupted between two updates");
        w->models = TV_POLICY_IN_FLIGHT;
        TV_RETURN_IF_FAILED(u->update(u->context, constants, w->first));
    }
    return u->enough ? u->enough(u->context, &w->updated) : TV_OK;
}

tv_status tv_policy_within_update(tv_policy_within *w, const tv_policy_updates *u) {
    TV_RETURN_IF_FAILED(expect_room(w));
    const struct tv_step_constants constants = tv_run_constants(w->run, w->run->state.step);
    const double begin = tv_seconds();
    tv_status status = TV_OK;
    w->run->last.lr = (double)constants.lr;
    while (!w->updated && status == TV_OK) {
        status = update_epoch(w, u, &constants);
        if (status == TV_OK) {
            w->first = 0;
            w->updated = ++w->epoch >= w->epochs || w->updated;
        }
    }
    if (status != TV_OK && status != TV_E_INTERRUPTED)
        return status;
    TV_RETURN_IF_FAILED(u->drain(u->context));
    *u->seconds += tv_seconds() - begin;
    w->models = TV_POLICY_SETTLED;
    return status;
}
