/* What changed between a stop and resuming: see made_with.h. */
#include "run/made_with.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"

/* ---- the file ---- */

tv_status tv_made_with_write(const char *checkpoint, const tv_made_with *made) {
    cJSON *root = cJSON_CreateObject(), *settings = cJSON_Duplicate(made->settings, true), *inputs = NULL;
    char *path = tv_format("%s/made_with.json", checkpoint);
    tv_status status = TV_OK;
    if (!root || !settings || !path || !cJSON_AddItemToObject(root, "settings", settings)) {
        cJSON_Delete(settings);
        status = tv_fail(TV_E_MEMORY, "out of host memory for a checkpoint's settings");
        goto done;
    }
    TV_TRY(tv_inputs_tree(&made->inputs, &inputs));
    if (!cJSON_AddItemToObject(root, "inputs", inputs)) {
        cJSON_Delete(inputs);
        status = tv_fail(TV_E_MEMORY, "out of host memory for a checkpoint's inputs");
        goto done;
    }
    TV_TRY(tv_json_write_file(path, root));
done:
    cJSON_Delete(root);
    free(path);
    return status;
}

tv_status tv_made_with_read(const char *checkpoint, tv_made_with *made) {
    cJSON *root = NULL;
    tv_status status;
    char *path = tv_format("%s/made_with.json", checkpoint);
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    TV_TRY(tv_json_read_file(path, &root));
    const cJSON *settings = tv_json_get(root, "settings"), *inputs = tv_json_get(root, "inputs"), *section;
    if (!cJSON_IsObject(settings) || !cJSON_IsObject(inputs)) {
        status = tv_fail(TV_E_DATA, "%s: expected the objects \"settings\" and \"inputs\", found less", path);
        goto done;
    }
    cJSON_ArrayForEach(section, settings) {
        if (!cJSON_IsObject(section)) {
            status = tv_fail(TV_E_DATA,
                             "%s: expected an object for each section of \"settings\", found %s for \"%s\"",
                             path, tv_json_kind(section), section->string);
            goto done;
        }
    }
    TV_TRY(tv_json_expect_each_once(root, path));
    TV_TRY(tv_inputs_read(inputs, path, &made->inputs));
    made->settings = cJSON_Duplicate(settings, true);
    if (!made->settings)
        status = tv_fail(TV_E_MEMORY, "out of host memory for a checkpoint's settings");
done:
    cJSON_Delete(root);
    free(path);
    return status;
}

void tv_made_with_free(tv_made_with *made) {
    cJSON_Delete(made->settings);
    tv_inputs_free(&made->inputs);
    *made = (tv_made_with){0};
}

/* ---- what a change means ---- */

enum {
    STEERS = 0,     /* may change at any time */
    ORDERS = 1,     /* decides which example comes next */
    MEASURES = 2,   /* decides what a validation loss is a loss of */
    UNCHANGING = 4, /* the checkpoint has its own */
};

typedef struct meaning {
    const char *section, *key;
    int what;
    const char *earlier; /* what versions that did not have the key did, as JSON; NULL: nothing of the kind */
} meaning;

static meaning meaning_of(const char *section, const char *key) {
    static const meaning meanings[] = {
        {"data", "shuffle", ORDERS, NULL},
        {"data", "seq_len", ORDERS | MEASURES, NULL},
        {"data", "document_mask", MEASURES, NULL},
        {"data", "val_fraction", ORDERS | MEASURES, NULL},
        {"data", "tokenizer", UNCHANGING, NULL},
        {"train", "seed", ORDERS, NULL},
        {"train", "optimizer", UNCHANGING, "\"adamw\""},
        {"train", "grad_groups", STEERS, "1"},
        {"train", "grad_exchange", STEERS, "\"f32\""},
        {"muon", "momentum", STEERS, "0.95"},
        {"muon", "rms", STEERS, "0.2"},
        {"train", "eval_tokens", MEASURES, NULL},
        {"sft", "packing", ORDERS | MEASURES, NULL},
        {"reward", "loss", ORDERS | MEASURES, NULL},
        {"reward", "center", MEASURES, NULL},
        {"dpo", "loss", UNCHANGING, "\"sigmoid\""},
        {"dpo", "beta", MEASURES, NULL},
        {"dpo", "gamma", MEASURES, NULL},
        {"dpo", "label_smoothing", MEASURES, "0"},
        {"dpo", "nll", MEASURES, "0"},
        {"dpo", "desirable_weight", MEASURES, "1"},
        {"dpo", "undesirable_weight", MEASURES, "1"},
        {"data", "annotators", ORDERS | MEASURES, "\"majority\""},
        {"rewards", "weights", MEASURES, NULL},
        {"rewards", "batch", STEERS, "1"},
        {"rewards", "timeout", STEERS, "600"},
        {"grpo", "answers", ORDERS, NULL},
        {"grpo", "temperature", MEASURES, NULL},
        {"grpo", "top_k", MEASURES, NULL},
        {"grpo", "top_p", MEASURES, NULL},
        {"grpo", "max_new_tokens", MEASURES, NULL},
        {"ppo", "temperature", MEASURES, NULL},
        {"ppo", "top_k", MEASURES, NULL},
        {"ppo", "top_p", MEASURES, NULL},
        {"ppo", "max_new_tokens", MEASURES, NULL},
        {"ppo", "kl_coef", MEASURES, NULL},
        {"ppo", "score_clip", MEASURES, NULL},
        {"ppo", "missing_eos", MEASURES, NULL},
        {"ppo", "missing_eos_score", MEASURES, NULL},
        {"ppo", "missing_eos_penalty", MEASURES, NULL},
    };
    for (size_t i = 0; i < TV_COUNT(meanings); i++)
        if (strcmp(meanings[i].section, section) == 0 && strcmp(meanings[i].key, key) == 0)
            return meanings[i];
    return (meaning){section, key, STEERS, NULL};
}

/* ---- comparing ---- */

enum { SHOWN = 6 }; /* differences in a sentence */

typedef struct comparison {
    const tv_made_with *before, *now;
    const tv_made_with_rules *rules;
    char *refused; /* what would be, "; " between */
    uint64_t count;
    bool lost; /* memory ran out */
} comparison;

/* Takes `text` over. */
static void refuse(comparison *c, char *text) {
    c->lost |= !text;
    if (text && c->count++ < SHOWN) {
        char *longer = c->refused ? tv_format("%s; %s", c->refused, text) : tv_format("%s", text);
        c->lost |= !longer;
        free(c->refused);
        c->refused = longer;
    }
    free(text);
}

/* As JSON; the caller frees with cJSON_free. */
static char *shown(const cJSON *value) {
    return value ? cJSON_PrintUnformatted(value) : NULL;
}

static tv_status compare_values(comparison *c, const char *section, const char *key, const cJSON *before,
                                const cJSON *now) {
    if ((!before && !now) || (before && now && cJSON_Compare(before, now, true)))
        return TV_OK;
    int what = meaning_of(section, key).what;
    if (c->rules->own_length && strcmp(section, "data") == 0 && strcmp(key, "seq_len") == 0)
        return TV_OK;
    char *old = shown(before), *new = shown(now);
    const char *was = old ? old : "absent", *is = new ? new : "absent";
    tv_status status = TV_OK;
    *c->rules->other_measure |= (what & MEASURES) != 0;
    if (what & UNCHANGING)
        status =
            tv_fail(TV_E_CONFIG,
                    "%s.%s was %s and is %s: a run keeps what stands in its checkpoints (%s); begin a new "
                    "run for another one",
                    section, key, was, is, c->rules->checkpoint);
    else if (what & ORDERS)
        refuse(c, tv_format("%s.%s was %s and is %s", section, key, was, is));
    else
        tv_info("%s.%s was %s and is %s from here on", section, key, was, is);
    cJSON_free(old);
    cJSON_free(new);
    return status;
}

static tv_status compare_setting(comparison *c, const char *section, const char *key, const cJSON *before,
                                 const cJSON *now) {
    const char *earlier = meaning_of(section, key).earlier;
    if (before || !earlier)
        return compare_values(c, section, key, before, now);
    cJSON *was = cJSON_Parse(earlier);
    c->lost |= !was;
    tv_status status = compare_values(c, section, key, was, now);
    cJSON_Delete(was);
    return status;
}

static double weight_of(const cJSON *source) {
    const cJSON *weight = tv_json_get(source, "weight");
    return cJSON_IsNumber(weight) ? weight->valuedouble : 1;
}

/* What sources hold is the inputs' to say; here are their shares. */
static void compare_weights(comparison *c, const char *key, const cJSON *before, const cJSON *now) {
    const cJSON *a = before ? before->child : NULL, *b = now ? now->child : NULL;
    for (uint64_t i = 0; a && b; i++, a = a->next, b = b->next)
        if (weight_of(a) != weight_of(b))
            refuse(c, tv_format("data.%s[%" PRIu64 "].weight was %g and is %g", key, i, weight_of(a),
                                weight_of(b)));
}

static tv_status compare_section(comparison *c, const cJSON *before, const cJSON *now, const char *section) {
    const cJSON *item;
    cJSON_ArrayForEach(item, now) {
        const cJSON *old = tv_json_get(before, item->string);
        if (strcmp(section, "data") == 0 && cJSON_IsArray(item))
            compare_weights(c, item->string, old, item);
        else
            TV_RETURN_IF_FAILED(compare_setting(c, section, item->string, old, item));
    }
    cJSON_ArrayForEach(item, before) {
        if (!tv_json_get(now, item->string) && !cJSON_IsArray(item))
            TV_RETURN_IF_FAILED(compare_setting(c, section, item->string, item, NULL));
    }
    return TV_OK;
}

static tv_status compare_settings(comparison *c) {
    const cJSON *section;
    cJSON_ArrayForEach(section, c->now->settings) {
        const cJSON *before = tv_json_get(c->before->settings, section->string);
        TV_RETURN_IF_FAILED(compare_section(c, before, section, section->string));
    }
    return TV_OK;
}

static bool begins_with(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

/* Training data is measured by too where a share of it is held out. */
static bool is_measured_by(const comparison *c, const char *name) {
    const cJSON *share = tv_json_get(tv_json_get(c->now->settings, "data"), "val_fraction");
    return begins_with(name, "data.val") || begins_with(name, "reward") || begins_with(name, "reference") ||
           (begins_with(name, "data.train") && cJSON_IsNumber(share) && share->valuedouble > 0);
}

static bool is_same(const tv_input *a, const tv_input *b) {
    return !a->fingerprint[0] || !b->fingerprint[0] || strcmp(a->fingerprint, b->fingerprint) == 0;
}

/* The model that a run began from is not read again; naming it once more does no harm. */
static tv_status compare_model(comparison *c) {
    const tv_input *before = tv_inputs_find(&c->before->inputs, "model"),
                   *now = tv_inputs_find(&c->now->inputs, "model");
    if (!now || (before && is_same(before, now)))
        return TV_OK;
    if (before && strcmp(before->path, now->path) == 0) {
        refuse(c, tv_format("the model %s, from which the run began, is another one now", now->path));
        return TV_OK;
    }
    return tv_fail(
        TV_E_CONFIG,
        "%s is not the model that the run began from (%s), and a run that is resumed goes on with its "
        "own checkpoint, %s; leave the model out, or begin a new run in another directory",
        now->path, before ? before->path : "its parameters were drawn", c->rules->checkpoint);
}

static void compare_input(comparison *c, const tv_input *before, const tv_input *now) {
    if (before && now && is_same(before, now))
        return;
    *c->rules->other_measure |= is_measured_by(c, before ? before->name : now->name);
    if (!now)
        refuse(c, tv_format("%s was %s and is not named now", before->name, before->path));
    else if (!before)
        refuse(c, tv_format("%s is %s and was not named before", now->name, now->path));
    else if (strcmp(before->path, now->path) == 0)
        refuse(c, tv_format("%s (%s) has other content", now->name, now->path));
    else
        refuse(c, tv_format("%s was %s and is %s, with other content", now->name, before->path, now->path));
}

static void compare_inputs(comparison *c) {
    const tv_inputs *before = &c->before->inputs, *now = &c->now->inputs;
    for (uint64_t i = 0; i < before->count; i++)
        if (strcmp(before->items[i].name, "model") != 0)
            compare_input(c, &before->items[i], tv_inputs_find(now, before->items[i].name));
    for (uint64_t i = 0; i < now->count; i++)
        if (strcmp(now->items[i].name, "model") != 0 && !tv_inputs_find(before, now->items[i].name))
            compare_input(c, NULL, &now->items[i]);
}

tv_status tv_made_with_compare(const tv_made_with *before, const tv_made_with *now,
                               const tv_made_with_rules *rules) {
    comparison c = {.before = before, .now = now, .rules = rules};
    tv_status status;
    *rules->other_measure = false;
    TV_TRY(compare_model(&c));
    TV_TRY(compare_settings(&c));
    compare_inputs(&c);
    if (c.lost) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for what changed");
    } else if (c.count > 0) {
        char more[48] = "";
        if (c.count > SHOWN)
            snprintf(more, sizeof more, "; and %" PRIu64 " more", c.count - SHOWN);
        if (rules->accept)
            tv_info("taken over since %s: %s%s", rules->checkpoint, c.refused, more);
        else
            status =
                tv_fail(TV_E_CONFIG,
                        "changed since %s was saved: %s%s. Examples would be missed or seen twice, or the "
                        "results be of something else; put it back, or take the change over with "
                        "--accept-changes",
                        rules->checkpoint, c.refused, more);
    }
done:
    free(c.refused);
    return status;
}

bool tv_made_with_setting_changed(const tv_made_with *before, const tv_made_with *now, const char *section,
                                  const char *key) {
    const cJSON *a = tv_json_get(tv_json_get(before->settings, section), key),
                *b = tv_json_get(tv_json_get(now->settings, section), key);
    return a && b && !cJSON_Compare(a, b, true);
}
