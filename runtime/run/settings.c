/* Tables of keys, defaults and ranges: see settings.h. */
#include "run/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/config.h"
#include "base/log.h"

/* Beyond these a value is a slip of the keyboard, and products of them stay within 64 bits. */
#define MAX_STEPS  1e12
#define MAX_TOKENS 1e15
#define MAX_COEF   1e9

/* The keys of data, with the lists still as trees. */
typedef struct data_keys {
    const cJSON *train, *val, *ptx;
    tv_data_settings data;
} data_keys;

#define AT(key) offsetof(data_keys, key)
static const tv_config_field data_fields[] = {
    {"train", TV_CONFIG_TREE, AT(train), 0, 0, NULL},
    {"val", TV_CONFIG_TREE, AT(val), 0, 0, NULL},
    {"ptx", TV_CONFIG_TREE, AT(ptx), 0, 0, NULL},
    {"val_fraction", TV_CONFIG_NUMBER, AT(data.val_fraction), 0, 0.9, NULL},
    {"seq_len", TV_CONFIG_UINT, AT(data.seq_len), 1, 1 << 24, NULL},
    {"shuffle", TV_CONFIG_BOOL, AT(data.shuffle), 0, 0, NULL},
    {"document_mask", TV_CONFIG_BOOL, AT(data.document_mask), 0, 0, NULL},
    {"tokenizer", TV_CONFIG_STRING, AT(data.tokenizer), 0, 0, NULL},
};
#undef AT

#define SCHEDULES "cosine|linear|constant|wsd"
#define AT(key)   offsetof(tv_train_settings, key)
static const tv_config_field train_fields[] = {
    {"steps", TV_CONFIG_UINT, AT(steps), 0, MAX_STEPS, NULL},
    {"epochs", TV_CONFIG_NUMBER, AT(epochs), 0, 1e6, NULL},
    {"batch_size", TV_CONFIG_UINT, AT(batch_size), 1, 1 << 20, NULL},
    {"grad_accum", TV_CONFIG_UINT, AT(grad_accum), 1, 1 << 20, NULL},
    {"lr", TV_CONFIG_NUMBER, AT(lr), 0, 1e3, NULL},
    {"min_lr", TV_CONFIG_NUMBER, AT(min_lr), 0, 1e3, NULL},
    {"schedule", TV_CONFIG_CHOICE, AT(schedule), 0, 0, SCHEDULES},
    {"warmup_steps", TV_CONFIG_UINT, AT(warmup_steps), 0, MAX_STEPS, NULL},
    {"weight_decay", TV_CONFIG_NUMBER, AT(weight_decay), 0, 1e3, NULL},
    {"beta1", TV_CONFIG_NUMBER, AT(beta1), 0, 0.9999999, NULL},
    {"beta2", TV_CONFIG_NUMBER, AT(beta2), 0, 0.9999999, NULL},
    {"eps", TV_CONFIG_NUMBER, AT(eps), 1e-30, 1, NULL},
    {"grad_clip", TV_CONFIG_NUMBER, AT(grad_clip), 0, MAX_COEF, NULL},
    {"eval_every", TV_CONFIG_UINT, AT(eval_every), 0, MAX_STEPS, NULL},
    {"eval_tokens", TV_CONFIG_UINT, AT(eval_tokens), 0, MAX_TOKENS, NULL},
    {"checkpoint_every", TV_CONFIG_UINT, AT(checkpoint_every), 0, MAX_STEPS, NULL},
    {"keep", TV_CONFIG_UINT, AT(keep), 1, 1e6, NULL},
    {"seed", TV_CONFIG_UINT, AT(seed), 0, 0x1p64, NULL},
    {"recompute", TV_CONFIG_CHOICE, AT(recompute), 0, 0, "none|block"},
};
#undef AT

#define AT(key) offsetof(tv_sft_settings, key)
static const tv_config_field sft_fields[] = {
    {"packing", TV_CONFIG_BOOL, AT(packing), 0, 0, NULL},
};
#undef AT

#define AT(key) offsetof(tv_reward_settings, key)
static const tv_config_field reward_fields[] = {
    {"loss", TV_CONFIG_CHOICE, AT(loss), 0, 0, "pairs|kwise|listwise"},
    {"center", TV_CONFIG_NUMBER, AT(center), 0, MAX_COEF, NULL},
};
#undef AT

#define AT(key) offsetof(tv_dpo_settings, key)
static const tv_config_field dpo_fields[] = {
    {"beta", TV_CONFIG_NUMBER, AT(beta), 0, MAX_COEF, NULL},
};
#undef AT

#define AT(key) offsetof(tv_ppo_settings, key)
static const tv_config_field ppo_fields[] = {
    {"iterations", TV_CONFIG_UINT, AT(iterations), 1, MAX_STEPS, NULL},
    {"prompts", TV_CONFIG_UINT, AT(prompts), 1, 1 << 20, NULL},
    {"minibatch", TV_CONFIG_UINT, AT(minibatch), 1, 1 << 20, NULL},
    {"epochs", TV_CONFIG_UINT, AT(epochs), 1, 1e6, NULL},
    {"max_new_tokens", TV_CONFIG_UINT, AT(max_new_tokens), 1, 1 << 24, NULL},
    {"temperature", TV_CONFIG_NUMBER, AT(temperature), 0, 100, NULL},
    {"top_k", TV_CONFIG_UINT, AT(top_k), 0, 1 << 30, NULL},
    {"top_p", TV_CONFIG_NUMBER, AT(top_p), 0, 1, NULL},
    {"kl_coef", TV_CONFIG_NUMBER, AT(kl_coef), 0, MAX_COEF, NULL},
    {"kl_estimator", TV_CONFIG_CHOICE, AT(kl_estimator), 0, 0, "k1|k2|k3"},
    {"kl_controller", TV_CONFIG_CHOICE, AT(kl_controller), 0, 0, "fixed|adaptive"},
    {"kl_target", TV_CONFIG_NUMBER, AT(kl_target), 0, MAX_COEF, NULL},
    {"kl_horizon", TV_CONFIG_NUMBER, AT(kl_horizon), 1, MAX_TOKENS, NULL},
    {"clip", TV_CONFIG_NUMBER, AT(clip), 0, MAX_COEF, NULL},
    {"value_clip", TV_CONFIG_NUMBER, AT(value_clip), 0, MAX_COEF, NULL},
    {"vf_coef", TV_CONFIG_NUMBER, AT(vf_coef), 0, MAX_COEF, NULL},
    {"gamma", TV_CONFIG_NUMBER, AT(gamma), 0, 1, NULL},
    {"lambda", TV_CONFIG_NUMBER, AT(lambda), 0, 1, NULL},
    {"score_clip", TV_CONFIG_NUMBER, AT(score_clip), 0, MAX_COEF, NULL},
    {"missing_eos", TV_CONFIG_CHOICE, AT(missing_eos), 0, 0, "score|penalty|none"},
    {"missing_eos_score", TV_CONFIG_NUMBER, AT(missing_eos_score), -MAX_COEF, MAX_COEF, NULL},
    {"missing_eos_penalty", TV_CONFIG_NUMBER, AT(missing_eos_penalty), 0, MAX_COEF, NULL},
    {"early_stop_kl", TV_CONFIG_NUMBER, AT(early_stop_kl), 0, MAX_COEF, NULL},
    {"ptx_coef", TV_CONFIG_NUMBER, AT(ptx_coef), 0, MAX_COEF, NULL},
    {"value_init", TV_CONFIG_CHOICE, AT(value_init), 0, 0, "reward|policy"},
};
#undef AT

#define AT(key) offsetof(tv_lora_settings, key)
static const tv_config_field lora_fields[] = {
    {"rank", TV_CONFIG_UINT, AT(rank), 0, 1 << 16, NULL},
    {"alpha", TV_CONFIG_NUMBER, AT(alpha), 0, MAX_COEF, NULL},
    {"targets", TV_CONFIG_TREE, AT(targets), 0, 0, NULL},
};
#undef AT

/* The sections that are plain tables. */
typedef struct section {
    const char *name;
    const tv_config_field *fields;
    uint64_t count;
    size_t offset; /* into tv_run_settings */
} section;
static const section sections[] = {
    {"train", train_fields, TV_COUNT(train_fields), offsetof(tv_run_settings, train)},
    {"sft", sft_fields, TV_COUNT(sft_fields), offsetof(tv_run_settings, sft)},
    {"reward", reward_fields, TV_COUNT(reward_fields), offsetof(tv_run_settings, reward)},
    {"dpo", dpo_fields, TV_COUNT(dpo_fields), offsetof(tv_run_settings, dpo)},
    {"ppo", ppo_fields, TV_COUNT(ppo_fields), offsetof(tv_run_settings, ppo)},
    {"lora", lora_fields, TV_COUNT(lora_fields), offsetof(tv_run_settings, lora)},
};

static const tv_run_settings defaults = {
    .data = {.seq_len = 128, .shuffle = true},
    .train = {.batch_size = 16,
              .grad_accum = 1,
              .min_lr = 6e-5,
              .beta1 = 0.9,
              .eps = 1e-8,
              .grad_clip = 1,
              .keep = 2,
              .seed = 1},
    .sft = {.packing = true},
    .dpo = {.beta = 0.1},
    .ppo = {.iterations = 100,
            .prompts = 64,
            .minibatch = 16,
            .epochs = 4,
            .max_new_tokens = 64,
            .temperature = 0.7,
            .top_p = 1,
            .kl_coef = 0.05,
            .kl_target = 6,
            .kl_horizon = 10000,
            .clip = 0.2,
            .value_clip = 0.2,
            .vf_coef = 0.1,
            .gamma = 1,
            .lambda = 0.95,
            .score_clip = 10,
            .missing_eos_score = -1,
            .missing_eos_penalty = 1},
    .lora = {.alpha = 16},
};
enum { DEFAULT_STEPS = 1000 };

/* What a stage does differently (stages.md: learning rates, betas, no weight decay outside of stage 1). */
typedef struct stage_defaults {
    double lr, weight_decay, beta2, epochs;
    uint64_t warmup_steps, eval_every, checkpoint_every;
    int schedule;
} stage_defaults;
static const stage_defaults defaults_of_stage[] = {
    [TV_STAGE_PRETRAIN] = {6e-4, 0.1, 0.95, 0, 50, 100, 500, TV_SCHEDULE_COSINE},
    [TV_STAGE_SFT] = {2e-5, 0, 0.95, 1, 10, 100, 500, TV_SCHEDULE_COSINE},
    [TV_STAGE_REWARD] = {1e-5, 0, 0.999, 1, 10, 100, 500, TV_SCHEDULE_COSINE},
    [TV_STAGE_DPO] = {1e-6, 0, 0.999, 1, 10, 100, 500, TV_SCHEDULE_COSINE},
    [TV_STAGE_PPO] = {3e-6, 0, 0.95, 1, 0, 10, 10, TV_SCHEDULE_CONSTANT},
};
/* Fine-tuning validates on all of its data, which is small. */
static const uint64_t pretrain_eval_tokens = 16384;

static tv_run_settings defaults_for(tv_stage_kind stage) {
    const stage_defaults *d = &defaults_of_stage[stage];
    tv_run_settings settings = defaults;
    settings.train.lr = d->lr;
    settings.train.weight_decay = d->weight_decay;
    settings.train.beta2 = d->beta2;
    settings.train.warmup_steps = d->warmup_steps;
    settings.train.schedule = d->schedule;
    settings.train.eval_every = d->eval_every;
    settings.train.checkpoint_every = d->checkpoint_every;
    settings.train.eval_tokens = stage == TV_STAGE_PRETRAIN ? pretrain_eval_tokens : 0;
    return settings;
}

/* The top level, where each section is a tree. */
typedef struct root_keys {
    const cJSON *model, *data, *section[TV_COUNT(sections)];
} root_keys;

static tv_status read_root(const cJSON *root, const char *where, root_keys *keys) {
    tv_config_field fields[2 + TV_COUNT(sections)] = {
        {"model", TV_CONFIG_TREE, offsetof(root_keys, model), 0, 0, NULL},
        {"data", TV_CONFIG_TREE, offsetof(root_keys, data), 0, 0, NULL},
    };
    for (size_t i = 0; i < TV_COUNT(sections); i++)
        fields[2 + i] = (tv_config_field){
            sections[i].name, TV_CONFIG_TREE, offsetof(root_keys, section) + i * sizeof(cJSON *), 0, 0, NULL};
    return tv_config_read(root, where, fields, TV_COUNT(fields), keys);
}

static tv_status read_sources(const cJSON *list, const char *where, const char *key, tv_data_source **out,
                              uint64_t *count) {
    const char *expected = "a list of \"shard.bin\" or {\"path\": \"shard.bin\", \"weight\": 1}";
    if (!list)
        return TV_OK;
    if (!cJSON_IsArray(list))
        return tv_fail(TV_E_CONFIG, "%s.%s: expected %s, found an object", where, key, expected);
    tv_data_source *sources = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *sources);
    if (!sources)
        return tv_fail(TV_E_MEMORY, "out of host memory for the list of data");
    *out = sources;
    const cJSON *item;
    const tv_config_field fields[] = {
        {"path", TV_CONFIG_STRING, offsetof(tv_data_source, path), 0, 0, NULL},
        {"weight", TV_CONFIG_NUMBER, offsetof(tv_data_source, weight), 1e-9, 1e9, NULL},
    };
    cJSON_ArrayForEach(item, list) {
        tv_data_source *source = &sources[*count];
        char place[320];
        snprintf(place, sizeof place, "%.200s.%s[%llu]", where, key, (unsigned long long)*count);
        source->weight = 1;
        if (cJSON_IsString(item))
            source->path = item->valuestring;
        else if (cJSON_IsObject(item))
            TV_RETURN_IF_FAILED(tv_config_read(item, place, fields, TV_COUNT(fields), source));
        if (!source->path || !source->path[0])
            return tv_fail(TV_E_CONFIG, "%s: expected a path, as one item of %s", place, expected);
        (*count)++;
    }
    return TV_OK;
}

static tv_status read_data(const cJSON *object, const char *where, tv_data_settings *data) {
    data_keys keys = {.data = *data};
    TV_RETURN_IF_FAILED(tv_config_read(object, where, data_fields, TV_COUNT(data_fields), &keys));
    *data = keys.data;
    TV_RETURN_IF_FAILED(read_sources(keys.train, where, "train", &data->train, &data->train_count));
    TV_RETURN_IF_FAILED(read_sources(keys.val, where, "val", &data->val, &data->val_count));
    return read_sources(keys.ptx, where, "ptx", &data->ptx, &data->ptx_count);
}

static tv_status check_data(const tv_data_settings *data, const char *where, tv_stage_kind stage) {
    if (data->val_fraction > 0 && stage != TV_STAGE_REWARD && stage != TV_STAGE_DPO)
        return tv_fail(
            TV_E_CONFIG,
            "%s.val_fraction: only preferences are split by prompt here; name validation data with "
            "%s.val instead",
            where, where);
    if (data->val_fraction > 0 && data->val_count)
        return tv_fail(TV_E_CONFIG, "%s: expected val or val_fraction, found both; set the other to 0 or []",
                       where);
    return TV_OK;
}

/* What one table row cannot say. */
static tv_status check_train(const cJSON *given, const char *where, uint64_t seq_len, tv_stage_kind stage,
                             tv_train_settings *train) {
    if (train->steps && train->epochs > 0)
        return tv_fail(TV_E_CONFIG, "%s: expected steps or epochs, found both; set the other to 0", where);
    if (!train->steps && !(train->epochs > 0)) {
        train->epochs = defaults_of_stage[stage].epochs;
        train->steps = train->epochs > 0 ? 0 : DEFAULT_STEPS;
    }
    bool decays = train->schedule != TV_SCHEDULE_CONSTANT;
    /* The default floor would lie above a small peak. */
    if (!tv_json_get(given, "min_lr") && train->min_lr >= train->lr) {
        /* JSON is written with 15 digits; rounded to them, the value survives a resume to the last bit. */
        char digits[32];
        snprintf(digits, sizeof digits, "%.15g", train->lr / 10);
        train->min_lr = strtod(digits, NULL);
    }
    if (decays && train->min_lr > train->lr)
        return tv_fail(TV_E_CONFIG, "%s: expected min_lr at most lr (%g), found %g", where, train->lr,
                       train->min_lr);
    uint64_t batch_tokens = train->batch_size * seq_len;
    if (batch_tokens > UINT64_C(1) << 31)
        return tv_fail(TV_E_CONFIG,
                       "%s: batch_size x seq_len = %llu x %llu is more than 2^31 tokens in one micro-batch; "
                       "lower batch_size and raise grad_accum",
                       where, (unsigned long long)train->batch_size, (unsigned long long)seq_len);
    if (train->steps && train->warmup_steps > train->steps)
        tv_warn("train.warmup_steps is %llu and train.steps %llu: the learning rate stops rising at %.0f %% "
                "of lr; "
                "set train.warmup_steps lower to reach it",
                (unsigned long long)train->warmup_steps, (unsigned long long)train->steps,
                100.0 * (double)train->steps / (double)train->warmup_steps);
    return TV_OK;
}

static tv_status check_lora(const cJSON *targets, const char *where) {
    const cJSON *item;
    if (targets && !cJSON_IsArray(targets))
        return tv_fail(TV_E_CONFIG, "%s.targets: expected a list of names, found an object", where);
    cJSON_ArrayForEach(item, targets) {
        if (!cJSON_IsString(item))
            return tv_fail(TV_E_CONFIG, "%s.targets: expected a list of names", where);
    }
    return TV_OK;
}

tv_status tv_run_settings_read(const char *path, const char *const *sets, uint64_t set_count,
                               tv_stage_kind stage, tv_run_settings *settings) {
    cJSON *root = NULL;
    *settings = (tv_run_settings){0};
    if (path)
        TV_RETURN_IF_FAILED(tv_json_read_file(path, &root));
    else if (!(root = cJSON_CreateObject()))
        return tv_fail(TV_E_MEMORY, "out of host memory for the settings");
    return tv_run_settings_from_tree(root, path ? path : "settings", sets, set_count, stage, settings);
}

tv_status tv_run_settings_from_tree(cJSON *root, const char *where, const char *const *sets,
                                    uint64_t set_count, tv_stage_kind stage, tv_run_settings *settings) {
    tv_status status;
    root_keys keys = {0};
    char place[512];
    *settings = defaults_for(stage);
    settings->root = root;
    for (uint64_t i = 0; i < set_count; i++)
        TV_TRY(tv_config_set(settings->root, sets[i]));
    TV_TRY(read_root(settings->root, where, &keys));
    settings->model = keys.model;
    if (keys.model && !cJSON_IsObject(keys.model)) {
        status = tv_fail(TV_E_CONFIG, "%s.model: expected an object, found a list", where);
        goto fail;
    }
    snprintf(place, sizeof place, "%.480s: data", where);
    TV_TRY(read_data(keys.data, place, &settings->data));
    TV_TRY(check_data(&settings->data, place, stage));
    for (size_t i = 0; i < TV_COUNT(sections); i++) {
        snprintf(place, sizeof place, "%.480s: %s", where, sections[i].name);
        TV_TRY(tv_config_read(keys.section[i], place, sections[i].fields, sections[i].count,
                              (char *)settings + sections[i].offset));
    }
    snprintf(place, sizeof place, "%.480s: lora", where);
    TV_TRY(check_lora(settings->lora.targets, place));
    if (settings->lora.rank) {
        status = tv_fail(TV_E_CONFIG, "%s.rank: adapters are not in this version yet; expected 0, found %llu",
                         place, (unsigned long long)settings->lora.rank);
        goto fail;
    }
    snprintf(place, sizeof place, "%.480s: train", where);
    TV_TRY(check_train(tv_json_get(settings->root, "train"), place, settings->data.seq_len, stage,
                       &settings->train));
    return TV_OK;
fail:
    tv_run_settings_free(settings);
    return status;
}

void tv_run_settings_free(tv_run_settings *settings) {
    free(settings->data.train);
    free(settings->data.val);
    free(settings->data.ptx);
    cJSON_Delete(settings->root);
    *settings = (tv_run_settings){0};
}

const char **tv_data_paths(const tv_data_source *sources, uint64_t count) {
    const char **paths = calloc(count + 1, sizeof *paths);
    for (uint64_t i = 0; paths && i < count; i++)
        paths[i] = sources[i].path;
    return paths;
}

void tv_free_paths(const char ***paths) {
    free((void *)*paths);
    *paths = NULL;
}

/* A source without a weight of its own stays a plain path. */
static bool write_sources(cJSON *object, const char *key, const tv_data_source *sources, uint64_t count) {
    cJSON *list = cJSON_AddArrayToObject(object, key);
    for (uint64_t i = 0; list && i < count; i++) {
        cJSON *item = sources[i].weight == 1 ? cJSON_CreateString(sources[i].path) : cJSON_CreateObject();
        if (!item || !cJSON_AddItemToArray(list, item))
            return false;
        if (cJSON_IsObject(item) && (!tv_json_set_string(item, "path", sources[i].path) ||
                                     !tv_json_set_number(item, "weight", sources[i].weight)))
            return false;
    }
    return list != NULL;
}

tv_status tv_run_settings_resolve(const tv_run_settings *settings, cJSON **out) {
    tv_status status = TV_OK;
    bool built = true;
    cJSON *root = cJSON_CreateObject();
    cJSON *model = settings->model ? cJSON_Duplicate(settings->model, true) : NULL;
    *out = NULL;
    if (settings->model)
        built = root && model && cJSON_AddItemToObject(root, "model", model);
    cJSON *data = built ? cJSON_AddObjectToObject(root, "data") : NULL;
    data_keys keys = {.data = settings->data};
    built = data && write_sources(data, "train", settings->data.train, settings->data.train_count) &&
            write_sources(data, "val", settings->data.val, settings->data.val_count) &&
            (settings->data.ptx_count == 0 ||
             write_sources(data, "ptx", settings->data.ptx, settings->data.ptx_count));
    if (built)
        status = tv_config_write(data, data_fields, TV_COUNT(data_fields), &keys);
    for (size_t i = 0; i < TV_COUNT(sections) && built && status == TV_OK; i++) {
        bool is_train = sections[i].fields == train_fields;
        if (!is_train && !tv_json_get(settings->root, sections[i].name))
            continue;
        cJSON *object = cJSON_AddObjectToObject(root, sections[i].name);
        built = object != NULL;
        if (built)
            status = tv_config_write(object, sections[i].fields, sections[i].count,
                                     (const char *)settings + sections[i].offset);
        if (is_train && built)
            cJSON_DeleteItemFromObjectCaseSensitive(object, settings->train.steps ? "epochs" : "steps");
    }
    if (!built)
        status = tv_fail(TV_E_MEMORY, "out of host memory for the settings");
    if (status != TV_OK)
        cJSON_Delete(root);
    else
        *out = root;
    return status;
}
