/* align.json, and settings step by step: see align_plan.h. */
#include "tools/align_plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "human/candidates.h"
#include "reward/model.h"
#include "run/inputs.h"
#include "stages/sample.h"

enum { MOST_ROUNDS = 1000 };

static const char *const learners[] = {"dpo", "ppo", "grpo"};
static const tv_stage_kind learner_stages[] = {TV_STAGE_DPO, TV_STAGE_PPO, TV_STAGE_GRPO};

static tv_status no_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory for the plan of the rounds");
}

uint64_t tv_align_training_steps(const tv_align_plan *plan, tv_stage_kind steps[2]) {
    uint64_t count = 0;
    if (plan->learner != TV_ALIGN_DPO)
        steps[count++] = TV_STAGE_REWARD;
    steps[count++] = learner_stages[plan->learner];
    return count;
}

bool tv_align_has_rankings(const tv_align_plan *plan) {
    return plan->reward == NULL;
}

/* ---- settings ---- */

/* The step that a setting names: "dpo.beta", "dpo.train.lr"; false where it names none. `own` is what that
 * step knows it by. */
static bool names_step(const char *set, tv_stage_kind *stage, const char **own) {
    const uint64_t end = strcspn(set, "="), dot = strcspn(set, ".");
    *own = set;
    if (dot >= end)
        return false;
    for (int kind = 0; kind < TV_STAGE_KINDS; kind++) {
        const char *name = tv_stage_kind_name((tv_stage_kind)kind);
        if (strlen(name) != dot || strncmp(set, name, dot) != 0)
            continue;
        *stage = (tv_stage_kind)kind;
        if (dot + 1 + strcspn(set + dot + 1, ".") < end)
            *own = set + dot + 1;
        return true;
    }
    return false;
}

tv_status tv_align_sets_of(const tv_align_plan *plan, tv_stage_kind stage, char ***sets, uint64_t *count) {
    *count = 0;
    *sets = calloc(plan->sets.count + 1, sizeof **sets);
    if (!*sets)
        return no_memory();
    for (uint64_t i = 0; i < plan->sets.count; i++) {
        tv_stage_kind named;
        const char *own;
        if (names_step(plan->sets.items[i], &named, &own) && named != stage)
            continue;
        (*sets)[*count] = tv_format("%s", own);
        if (!(*sets)[(*count)++]) {
            tv_align_sets_free(sets, *count);
            return no_memory();
        }
    }
    return TV_OK;
}

void tv_align_sets_free(char ***sets, uint64_t count) {
    for (uint64_t i = 0; *sets && i < count; i++)
        free((*sets)[i]);
    free(*sets);
    *sets = NULL;
}

/* What the command itself gives to the steps. */
static tv_status check_own(const char *key) {
    static const char *const own[][2] = {
        {"data.train=", "preferences come from the rounds, prompts from --prompts"},
        {"data.val=", "--val-fraction holds out preferences"},
        {"data.val_fraction=", "it is --val-fraction here"},
        {"train.seed=", "it is --seed here"}};
    for (size_t i = 0; i < TV_COUNT(own); i++)
        if (strncmp(key, own[i][0], strlen(own[i][0])) == 0)
            return tv_fail(TV_E_USAGE, "--set %s: %s", key, own[i][1]);
    return TV_OK;
}

static tv_status check_sets(const tv_align_plan *plan) {
    tv_stage_kind steps[2];
    const uint64_t step_count = tv_align_training_steps(plan, steps);
    for (uint64_t i = 0; i < plan->sets.count; i++) {
        tv_stage_kind named = steps[0];
        const char *own;
        const bool names = names_step(plan->sets.items[i], &named, &own);
        if (names && named != steps[0] && named != steps[step_count - 1])
            return tv_fail(TV_E_USAGE, "--set %s: no step of these rounds is %s; they train %s%s%s",
                           plan->sets.items[i], tv_stage_kind_name(named), tv_stage_kind_name(steps[0]),
                           step_count > 1 ? " and " : "", step_count > 1 ? tv_stage_kind_name(steps[1]) : "");
        TV_RETURN_IF_FAILED(check_own(own));
    }
    for (uint64_t s = 0; s < step_count; s++) {
        char **sets;
        uint64_t count;
        tv_run_settings settings = {0};
        const char *name = tv_stage_kind_name(steps[s]);
        TV_RETURN_IF_FAILED(tv_align_sets_of(plan, steps[s], &sets, &count));
        tv_status status = tv_run_settings_read(NULL, (const char *const *)sets, count, steps[s], &settings);
        if (status == TV_OK)
            tv_run_settings_free(&settings);
        else
            status = tv_fail_advice(tv_fail_context(status, "for %s", name), TV_E_CONFIG,
                                    "--set %s.SECTION.KEY=VALUE is for that step alone", name);
        tv_align_sets_free(&sets, count);
        TV_RETURN_IF_FAILED(status);
    }
    return TV_OK;
}

tv_status tv_align_plan_check(const tv_align_plan *plan) {
    const int judges = (plan->reward != NULL) + (plan->judge != NULL) + plan->people;
    if (!plan->model || !plan->prompts.count)
        return tv_fail(TV_E_USAGE,
                       "expected --model DIR and --prompts F, with which the rounds begin (or --resume "
                       "with the --out of rounds that were begun)");
    if (judges != 1)
        return tv_fail(TV_E_USAGE,
                       "expected one who judges the answers, found %s: --people on a page, a program "
                       "with --judge CMD, or a reward model with --reward DIR",
                       judges ? "several" : "none");
    if (plan->candidates < TV_MIN_RESPONSES ||
        plan->candidates > (plan->reward ? (uint64_t)TV_MAX_CANDIDATES : (uint64_t)TV_MAX_RESPONSES))
        return tv_fail(TV_E_USAGE, "-k is %" PRIu64 "; %s", plan->candidates,
                       plan->candidates < TV_MIN_RESPONSES ? "answers are compared, so there are two at least"
                       : plan->reward                      ? "a reward model orders at most 256"
                                                           : "people and programs rank at most 16");
    return check_sets(plan);
}

/* ---- align.json ---- */

bool tv_align_is_begun(const char *out) {
    char *path = tv_format("%s/align.json", out);
    bool begun = path && tv_path_exists(path);
    free(path);
    return begun;
}

static bool add_texts(cJSON *root, const char *key, const tv_texts *texts) {
    cJSON *list = cJSON_AddArrayToObject(root, key);
    bool built = list != NULL;
    for (uint64_t i = 0; built && i < texts->count; i++)
        built = cJSON_AddItemToArray(list, cJSON_CreateString(texts->items[i]));
    return built;
}

/* Prompts, model and reward model by what they hold. */
static tv_status add_fingerprints(const tv_align_plan *plan, cJSON *root) {
    char text[TV_HASH_TEXT];
    cJSON *prints = cJSON_AddObjectToObject(root, "fingerprints");
    bool built = prints != NULL;
    for (uint64_t i = 0; built && i < plan->prompts.count; i++) {
        char name[40];
        snprintf(name, sizeof name, "prompts[%" PRIu64 "]", i);
        TV_RETURN_IF_FAILED(tv_fingerprint(plan->prompts.items[i], text));
        built = tv_json_set_string(prints, name, text);
    }
    TV_RETURN_IF_FAILED(tv_fingerprint_model(plan->model, text));
    built = built && tv_json_set_string(prints, "model", text);
    if (plan->reward)
        TV_RETURN_IF_FAILED(tv_fingerprint_model(plan->reward, text));
    built = built && (!plan->reward || tv_json_set_string(prints, "reward", text));
    return built ? TV_OK : no_memory();
}

static tv_status build(const tv_align_plan *plan, cJSON **root) {
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, plan->seed); /* exact, which a double is not */
    *root = cJSON_CreateObject();
    bool built = *root && tv_json_set_string(*root, "trivium", TRIVIUM_VERSION) &&
                 tv_json_set_string(*root, "model", plan->model) &&
                 add_texts(*root, "prompts", &plan->prompts) &&
                 tv_json_set_number(*root, "rounds", (double)plan->rounds) &&
                 tv_json_set_string(*root, "learn", learners[plan->learner]) &&
                 (!plan->reward || tv_json_set_string(*root, "reward", plan->reward)) &&
                 (!plan->judge || tv_json_set_string(*root, "judge", plan->judge)) &&
                 tv_json_set_bool(*root, "people", plan->people) &&
                 tv_json_set_number(*root, "candidates", (double)plan->candidates) &&
                 tv_json_set_number(*root, "max_tokens", (double)plan->max_tokens) &&
                 tv_json_set_number(*root, "rows", (double)plan->rows) &&
                 tv_json_set_number(*root, "temperature", plan->temperature) &&
                 tv_json_set_number(*root, "top_k", (double)plan->top_k) &&
                 tv_json_set_number(*root, "top_p", plan->top_p) &&
                 tv_json_set_number(*root, "val_fraction", plan->val_fraction) &&
                 tv_json_set_string(*root, "seed", seed) && add_texts(*root, "set", &plan->sets);
    tv_status status = built ? add_fingerprints(plan, *root) : no_memory();
    if (status != TV_OK) {
        cJSON_Delete(*root);
        *root = NULL;
    }
    return status;
}

static tv_status read_texts(const cJSON *root, const char *key, const char *where, tv_texts *texts) {
    const cJSON *list = tv_json_get(root, key), *item;
    const int count = cJSON_GetArraySize(list);
    if (!cJSON_IsArray(list))
        return tv_fail(TV_E_DATA, "%s: expected a list of texts for \"%s\", found %s", where, key,
                       tv_json_kind(list));
    texts->items = calloc((size_t)count + 1, sizeof *texts->items);
    if (!texts->items)
        return no_memory();
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsString(item))
            return tv_fail(TV_E_DATA, "%s: expected a list of texts for \"%s\", found %s in it", where, key,
                           tv_json_kind(item));
        texts->items[texts->count++] = item->valuestring;
    }
    return TV_OK;
}

static tv_status read_count(const cJSON *root, const char *key, const char *where, int64_t least,
                            int64_t most, uint64_t *value) {
    int64_t number;
    if (!tv_json_get(root, key))
        return tv_fail(TV_E_DATA, "%s: expected \"%s\", found no such key", where, key);
    TV_RETURN_IF_FAILED(tv_json_integer(root, key, where, least, most, least, &number));
    *value = (uint64_t)number;
    return TV_OK;
}

static tv_status read_number(const cJSON *root, const char *key, const char *where, double least, double most,
                             double *value) {
    TV_RETURN_IF_FAILED(tv_json_number(root, key, where, NAN, value));
    return *value >= least && *value <= most
               ? TV_OK
               : tv_fail(TV_E_DATA, "%s: expected a number from %g to %g for \"%s\", found %g", where, least,
                         most, key, *value);
}

static tv_status read_learner(const cJSON *root, const char *where, int *learner) {
    const char *text;
    TV_RETURN_IF_FAILED(tv_json_string(root, "learn", where, "", &text));
    for (size_t i = 0; i < TV_COUNT(learners); i++)
        if (strcmp(text, learners[i]) == 0) {
            *learner = (int)i;
            return TV_OK;
        }
    return tv_fail(TV_E_DATA, "%s: expected dpo, ppo or grpo for \"learn\", found \"%.40s\"", where, text);
}

static tv_status read_plan(const cJSON *root, const char *where, tv_align_plan *plan) {
    const char *seed;
    if (!cJSON_IsObject(root))
        return tv_fail(TV_E_DATA, "%s: expected the plan of rounds, found %s", where, tv_json_kind(root));
    TV_RETURN_IF_FAILED(tv_json_string(root, "model", where, NULL, &plan->model));
    TV_RETURN_IF_FAILED(tv_json_string(root, "reward", where, NULL, &plan->reward));
    TV_RETURN_IF_FAILED(tv_json_string(root, "judge", where, NULL, &plan->judge));
    TV_RETURN_IF_FAILED(tv_json_bool(root, "people", where, false, &plan->people));
    TV_RETURN_IF_FAILED(read_texts(root, "prompts", where, &plan->prompts));
    TV_RETURN_IF_FAILED(read_texts(root, "set", where, &plan->sets));
    TV_RETURN_IF_FAILED(read_learner(root, where, &plan->learner));
    TV_RETURN_IF_FAILED(read_count(root, "rounds", where, 1, MOST_ROUNDS, &plan->rounds));
    TV_RETURN_IF_FAILED(read_count(root, "candidates", where, 1, TV_MAX_CANDIDATES, &plan->candidates));
    TV_RETURN_IF_FAILED(read_count(root, "max_tokens", where, 1, UINT32_MAX, &plan->max_tokens));
    TV_RETURN_IF_FAILED(read_count(root, "rows", where, 1, 1 << 16, &plan->rows));
    TV_RETURN_IF_FAILED(read_number(root, "temperature", where, 0, 1e6, &plan->temperature));
    TV_RETURN_IF_FAILED(read_count(root, "top_k", where, 0, UINT32_MAX, &plan->top_k));
    TV_RETURN_IF_FAILED(read_number(root, "top_p", where, 1e-6, 1, &plan->top_p));
    TV_RETURN_IF_FAILED(read_number(root, "val_fraction", where, 0, 0.9, &plan->val_fraction));
    TV_RETURN_IF_FAILED(tv_json_string(root, "seed", where, "", &seed));
    char *end;
    plan->seed = strtoull(seed, &end, 10);
    if (!seed[0] || *end || strspn(seed, "0123456789") != strlen(seed))
        return tv_fail(TV_E_DATA, "%s: expected a whole number as a text for \"seed\", found \"%.40s\"",
                       where, seed);
    return TV_OK;
}

tv_status tv_align_plan_parse(const char *text, uint64_t size, const char *where, tv_align_plan *plan) {
    *plan = (tv_align_plan){.out = plan->out};
    TV_RETURN_IF_FAILED(tv_json_parse(text, size, where, &plan->kept));
    tv_status status = read_plan(plan->kept, where, plan);
    if (status != TV_OK)
        tv_align_plan_free(plan);
    return status;
}

tv_status tv_align_plan_read(const char *out, tv_align_plan *plan) {
    char *path = tv_format("%s/align.json", out), *text = NULL;
    uint64_t size;
    tv_status status;
    plan->out = out;
    if (!path)
        return no_memory();
    if (!tv_path_exists(path)) {
        status =
            tv_fail(TV_E_USAGE,
                    "--resume: expected rounds that were begun in %s, found no align.json there; begin them "
                    "without --resume",
                    out);
        goto done;
    }
    TV_TRY(tv_read_file(path, &text, &size));
    TV_TRY(tv_align_plan_parse(text, size, path, plan));
done:
    free(text);
    free(path);
    return status;
}

void tv_align_plan_free(tv_align_plan *plan) {
    tv_texts_free(&plan->prompts);
    tv_texts_free(&plan->sets);
    cJSON_Delete(plan->kept);
    plan->kept = NULL;
}

/* ---- a directory that was begun ---- */

static tv_status say_difference(const char *path, const char *what, const cJSON *before, const cJSON *now) {
    char *old = before ? cJSON_PrintUnformatted(before) : NULL,
         *new = now ? cJSON_PrintUnformatted(now) : NULL;
    tv_status status =
        tv_fail(TV_E_USAGE,
                "%s: \"%s\" was %.200s and is %.200s; rounds go on with what they began with: give "
                "another --out",
                path, what, old ? old : "not there", new ? new : "not there");
    cJSON_free(old);
    cJSON_free(new);
    return status;
}

/* Every member but those that may change. A model by another path is the same by its fingerprint. */
static tv_status compare(const char *path, const cJSON *before, const cJSON *now) {
    static const char *const keys[] = {"learn",        "people",      "judge", "candidates",
                                       "max_tokens",   "temperature", "top_k", "top_p",
                                       "val_fraction", "seed",        "set"};
    const cJSON *prints = tv_json_get(before, "fingerprints"), *own = tv_json_get(now, "fingerprints"), *item;
    for (size_t i = 0; i < TV_COUNT(keys); i++) {
        const cJSON *a = tv_json_get(before, keys[i]), *b = tv_json_get(now, keys[i]);
        if (a != b && !cJSON_Compare(a, b, true))
            return say_difference(path, keys[i], a, b);
    }
    cJSON_ArrayForEach(item, own) {
        const cJSON *old = tv_json_get(prints, item->string);
        if (!cJSON_Compare(old, item, true))
            return tv_fail(TV_E_USAGE,
                           "%s: --%s%s not what the rounds began with; give those again, or another --out",
                           path, item->string, strncmp(item->string, "prompts", 7) == 0 ? " are" : " is");
    }
    if (cJSON_GetArraySize(prints) != cJSON_GetArraySize(own))
        return tv_fail(TV_E_USAGE,
                       "%s: the rounds began with %d models and files, and now there are %d; give another "
                       "--out",
                       path, cJSON_GetArraySize(prints), cJSON_GetArraySize(own));
    return TV_OK;
}

tv_status tv_align_plan_settle(const tv_align_plan *plan) {
    cJSON *now = NULL, *before = NULL;
    char *path = tv_format("%s/align.json", plan->out);
    tv_status status;
    if (!path)
        return no_memory();
    TV_TRY(build(plan, &now));
    if (tv_path_exists(path)) {
        TV_TRY(tv_json_read_file(path, &before));
        TV_TRY(compare(path, before, now));
    }
    if (!before || !cJSON_Compare(before, now, true))
        TV_TRY(tv_json_write_file(path, now));
done:
    cJSON_Delete(before);
    cJSON_Delete(now);
    free(path);
    return status;
}
