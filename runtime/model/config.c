/* config.json, read and checked: see config.h. What differs between the families stands in families.c. */
#include "model/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/choices.h"
#include "model/config_keys.h"

/* Read for every family, or without effect on the arithmetic. */
static const char *const shared_keys[] = {"architectures",
                                          "model_type",
                                          "initializer_range",
                                          "tie_word_embeddings",
                                          "bos_token_id",
                                          "eos_token_id",
                                          "pad_token_id",
                                          "torch_dtype",
                                          "dtype",
                                          "transformers_version",
                                          "use_cache",
                                          "task_specific_params",
                                          "_name_or_path",
                                          "_attn_implementation",
                                          "quantization_config",
                                          "num_labels",
                                          "id2label",
                                          "label2id",
                                          "problem_type"};

/* What would change the result in some family and is not computed in any; absent and null are fine. */
static const tv_fixed_key fixed_everywhere[] = {
    {"attn_logit_softcapping", {NULL}, 0},
    {"final_logit_softcapping", {NULL}, 0},
    {"partial_rotary_factor", {NULL}, 1},
    {"num_experts", {NULL}, 0},
    {"num_local_experts", {NULL}, 0},
    {"n_routed_experts", {NULL}, 0},
    {"use_mrope", {NULL}, 0},
    {"clip_qkv", {NULL}, 0},
    {"alibi", {NULL}, 0},
};

static const char *const dropout_keys[] = {"attn_pdrop", "embd_pdrop", "resid_pdrop", "attention_dropout"};

static bool find_name(const tv_family *family, const char *name, tv_model_head *head) {
    *head = TV_MODEL_HEAD_LANGUAGE;
    if (strcmp(name, family->headless) == 0)
        return true;
    for (int i = 0; i < (int)TV_COUNT(family->architectures); i++)
        if (strcmp(name, family->architectures[i]) == 0) {
            *head = (tv_model_head)i;
            return true;
        }
    return false;
}

/* "GPT2LMHeadModel, LlamaForCausalLM, ..." */
static const char *names_of_families(char *text, size_t size) {
    size_t used = 0;
    for (int i = 0; i < TV_ARCH_COUNT && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "",
                                 tv_family_of((tv_architecture)i)->architectures[TV_MODEL_HEAD_LANGUAGE]);
    return text;
}

/* `architectures` decides where it is given, `model_type` otherwise; both must agree. */
static tv_status find_family(const cJSON *root, const char *where, tv_architecture *architecture,
                             tv_model_head *head) {
    char names[512];
    const char *type = NULL, *name = NULL;
    TV_RETURN_IF_FAILED(tv_as_config(tv_json_string(root, "model_type", where, NULL, &type)));
    const cJSON *list = tv_json_get(root, "architectures");
    if (list && !cJSON_IsNull(list)) {
        if (!cJSON_IsArray(list) || !cJSON_IsString(list->child) || list->child->next)
            return tv_fail(TV_E_CONFIG,
                           "%s: expected a list of one text for \"architectures\", such as "
                           "[\"LlamaForCausalLM\"]",
                           where);
        name = list->child->valuestring;
    }
    if (!name && !type)
        return tv_fail(TV_E_CONFIG,
                       "%s: expected \"architectures\": [one of %s] (or \"model_type\": such as \"llama\"), "
                       "found neither",
                       where, names_of_families(names, sizeof names));
    for (int i = 0; i < TV_ARCH_COUNT; i++) {
        const tv_family *family = tv_family_of((tv_architecture)i);
        bool is_named = name && find_name(family, name, head);
        bool is_type = type && strcmp(type, family->model_type) == 0;
        if ((is_named || !name) && (is_type || !type)) {
            *architecture = (tv_architecture)i;
            return TV_OK;
        }
        if (is_named)
            return tv_fail(TV_E_CONFIG, "%s: \"architectures\" says %s, but \"model_type\" says %s", where,
                           name, type);
    }
    return tv_fail(
        TV_E_CONFIG,
        "%s: expected one of the architectures %s (or the same for sequence classification), found "
        "%s; models of other families cannot be read",
        where, names_of_families(names, sizeof names), name ? name : type);
}

enum { MAX_KNOWN_KEYS = 96 };

static tv_status check_keys(const cJSON *root, const char *where, const tv_family *family) {
    const char *known[MAX_KNOWN_KEYS];
    uint64_t count = 0;
    for (uint64_t i = 0; i < TV_COUNT(shared_keys); i++)
        known[count++] = shared_keys[i];
    for (uint64_t i = 0; i < family->size_count; i++) {
        known[count++] = family->sizes[i].key;
        if (family->sizes[i].alias)
            known[count++] = family->sizes[i].alias;
    }
    known[count++] = family->norm_eps_key;
    const char *const optional[] = {family->attention_bias_key, family->mlp_bias_key,
                                    family->query_scalar_key};
    for (uint64_t i = 0; i < TV_COUNT(optional); i++)
        if (optional[i])
            known[count++] = optional[i];
    for (uint64_t i = 0; i < TV_COUNT(family->fixed) && family->fixed[i].key; i++)
        known[count++] = family->fixed[i].key;
    for (uint64_t i = 0; i < TV_COUNT(fixed_everywhere); i++)
        known[count++] = fixed_everywhere[i].key;
    count += tv_window_keys(family, known + count);
    count += tv_rotary_keys(family, known + count);
    for (uint64_t i = 0; i < TV_COUNT(family->other_keys) && family->other_keys[i]; i++)
        known[count++] = family->other_keys[i];

    const cJSON *item;
    cJSON_ArrayForEach(item, root) {
        bool found = false;
        for (uint64_t i = 0; i < count && !found; i++)
            found = strcmp(known[i], item->string) == 0;
        if (found)
            continue;
        const char *nearest = tv_nearest_word(item->string, known, count);
        if (nearest)
            return tv_fail(TV_E_CONFIG, "%s: unknown key \"%s\" for a %s; the nearest known one is \"%s\"",
                           where, item->string, family->name, nearest);
        return tv_fail(TV_E_CONFIG, "%s: unknown key \"%s\" for a %s", where, item->string, family->name);
    }
    return TV_OK;
}

static tv_status read_size(const cJSON *root, const char *where, const tv_family *family,
                           const tv_size_key *size, tv_model_config *config) {
    int64_t value = 0, other = 0;
    int64_t maximum = (int64_t)size->maximum;
    TV_RETURN_IF_FAILED(tv_as_config(tv_json_integer(root, size->key, where, 1, maximum, 0, &value)));
    if (size->alias)
        TV_RETURN_IF_FAILED(tv_as_config(tv_json_integer(root, size->alias, where, 1, maximum, 0, &other)));
    if (value && other && value != other)
        return tv_fail(TV_E_CONFIG, "%s: \"%s\" is %lld, but \"%s\", another name for it, is %lld", where,
                       size->key, (long long)value, size->alias, (long long)other);
    value = value ? value : other;
    if (!value && size->fallback == TV_SIZE_REQUIRED)
        return tv_fail(TV_E_CONFIG, "%s: expected \"%s\" for a %s, found none", where, size->key,
                       family->name);
    if (!value && size->fallback != TV_SIZE_DERIVED)
        value = (int64_t)size->fallback;
    *tv_size_slot(config, size) = (uint64_t)value;
    return TV_OK;
}

/* What follows from the other sizes where the file leaves it out. */
static tv_status derive_sizes(const char *where, const tv_family *family, tv_model_config *config) {
    if (!config->n_kv_head)
        config->n_kv_head = config->n_head;
    if (!config->head_size) {
        config->head_size = config->channels / config->n_head;
        if (config->channels % config->n_head) {
            return tv_fail(TV_E_CONFIG, "%s: \"%s\" %llu does not divide \"%s\" %llu; a %s needs equal heads",
                           where, family->heads_key, (unsigned long long)config->n_head, family->channels_key,
                           (unsigned long long)config->channels, family->name);
        }
    }
    if (!config->ffn)
        config->ffn = 4 * config->channels;
    return TV_OK;
}

static tv_status expect_fixed(const cJSON *root, const char *where, const tv_fixed_key *fixed) {
    const cJSON *item = tv_json_get(root, fixed->key);
    if (!item || cJSON_IsNull(item))
        return TV_OK;
    if (fixed->texts[0]) {
        const char *value = NULL;
        TV_RETURN_IF_FAILED(tv_as_config(tv_json_string(root, fixed->key, where, NULL, &value)));
        if (strcmp(value, fixed->texts[0]) != 0 && strcmp(value, fixed->texts[1]) != 0)
            return tv_fail(TV_E_CONFIG, "%s: expected \"%s\" (or \"%s\") for \"%s\", found \"%s\"", where,
                           fixed->texts[0], fixed->texts[1], fixed->key, value);
        return TV_OK;
    }
    if (cJSON_IsBool(item) && cJSON_IsTrue(item) == (fixed->number > 0))
        return TV_OK;
    if (cJSON_IsNumber(item) && fabs(item->valuedouble - fixed->number) <= 0)
        return TV_OK;
    char found[32];
    if (cJSON_IsNumber(item))
        snprintf(found, sizeof found, "%.9g", item->valuedouble);
    else
        snprintf(found, sizeof found, "%s", tv_json_kind(item));
    bool on = fixed->number > 0;
    return tv_fail(TV_E_CONFIG, "%s: \"%s\": %s is not supported, only %s", where, fixed->key, found,
                   cJSON_IsBool(item) ? (on ? "true" : "false") : (on ? "1" : "null"));
}

/* An id outside the vocabulary ends or starts nothing: transformers writes its default 50256 beside any
 * vocabulary. In trivium's own files it is a mistake. */
static int64_t token_id(int64_t id, bool strict, const tv_model_config *config) {
    return !strict && id >= (int64_t)config->vocab_size ? -1 : id;
}

static tv_status read_tokens(const cJSON *root, const char *where, bool strict, tv_model_config *config) {
    int64_t *const ids[] = {&config->bos_token_id, &config->pad_token_id, &config->eos_token_id};
    static const char *const keys[] = {"bos_token_id", "pad_token_id", "eos_token_id"};
    const cJSON *list = tv_json_get(root, keys[2]);
    bool has_list = cJSON_IsArray(list);
    for (int i = 0; i < (has_list ? 2 : 3); i++) {
        TV_RETURN_IF_FAILED(tv_as_config(tv_json_integer(root, keys[i], where, -1, INT32_MAX, -1, ids[i])));
        *ids[i] = token_id(*ids[i], strict, config);
    }
    if (!has_list)
        return TV_OK;
    uint64_t count = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        double number = cJSON_IsNumber(item) ? item->valuedouble : -1;
        if (!(number >= 0 && number <= INT32_MAX) || number > floor(number) || count > TV_MAX_MORE_EOS)
            return tv_fail(TV_E_CONFIG, "%s: expected one token id, or a list of up to %d, for \"%s\"", where,
                           TV_MAX_MORE_EOS + 1, keys[2]);
        int64_t id = token_id((int64_t)number, strict, config);
        if (id < 0)
            continue;
        *(count ? &config->more_eos_token_ids[count - 1] : &config->eos_token_id) = id;
        count++;
    }
    return TV_OK;
}

static void read_dropout(const cJSON *root, tv_model_config *config) {
    for (uint64_t i = 0; i < TV_COUNT(dropout_keys); i++) {
        const cJSON *item = tv_json_get(root, dropout_keys[i]);
        if (cJSON_IsNumber(item) && item->valuedouble > config->dropout)
            config->dropout = item->valuedouble;
    }
}

static tv_status read_switches(const cJSON *root, const char *where, const tv_family *family,
                               tv_model_config *config) {
    for (uint64_t i = 0; i < TV_COUNT(family->fixed) && family->fixed[i].key; i++)
        TV_RETURN_IF_FAILED(expect_fixed(root, where, &family->fixed[i]));
    for (uint64_t i = 0; i < TV_COUNT(fixed_everywhere); i++)
        TV_RETURN_IF_FAILED(expect_fixed(root, where, &fixed_everywhere[i]));
    if (family->attention_bias_key) {
        TV_RETURN_IF_FAILED(tv_as_config(
            tv_json_bool(root, family->attention_bias_key, where, false, &config->attention_bias)));
        config->attention_out_bias = config->attention_bias;
    }
    if (family->mlp_bias_key)
        TV_RETURN_IF_FAILED(
            tv_as_config(tv_json_bool(root, family->mlp_bias_key, where, false, &config->mlp_bias)));
    if (family->query_scalar_key)
        TV_RETURN_IF_FAILED(tv_as_config(tv_json_number(root, family->query_scalar_key, where,
                                                        config->query_scalar, &config->query_scalar)));
    TV_RETURN_IF_FAILED(tv_window_read(root, where, family, config));
    return tv_rotary_read(root, where, family, config);
}

/* transformers counts the entries of id2label, and takes a file without one for two labels. */
static tv_status expect_one_label(const cJSON *root, const char *where) {
    const char *architecture = tv_json_get(root, "architectures")->child->valuestring;
    const cJSON *map = tv_json_get(root, "id2label");
    int64_t count = -1, entries = -1;
    TV_RETURN_IF_FAILED(tv_as_config(tv_json_integer(root, "num_labels", where, 0, INT32_MAX, -1, &count)));
    if (map && !cJSON_IsNull(map)) {
        if (!cJSON_IsObject(map))
            return tv_fail(TV_E_CONFIG,
                           "%s: expected an object such as {\"0\": \"LABEL_0\"} for \"id2label\"", where);
        entries = cJSON_GetArraySize(map);
    }
    if (count < 0 && entries < 0)
        return tv_fail(TV_E_CONFIG,
                       "%s: expected \"num_labels\": 1 (or an \"id2label\" of one entry) for a %s, found "
                       "neither, which means two labels",
                       where, architecture);
    if ((count >= 0 && count != 1) || (entries >= 0 && entries != 1))
        return tv_fail(TV_E_CONFIG,
                       "%s: a %s with \"%s\" of %lld is a classifier; only models of one label, which is a "
                       "score, can be read",
                       where, architecture, count >= 0 && count != 1 ? "num_labels" : "id2label",
                       (long long)(count >= 0 && count != 1 ? count : entries));
    return TV_OK;
}

tv_status tv_model_config_read(const cJSON *root, const char *where, bool strict, tv_model_config *config) {
    if (!cJSON_IsObject(root))
        return tv_fail(TV_E_CONFIG, "%s: expected an object with a model's configuration", where);
    tv_architecture architecture = TV_ARCH_GPT2;
    tv_model_head head = TV_MODEL_HEAD_LANGUAGE;
    TV_RETURN_IF_FAILED(find_family(root, where, &architecture, &head));
    const tv_family *family = tv_family_of(architecture);
    if (strict)
        TV_RETURN_IF_FAILED(check_keys(root, where, family));
    const cJSON *quantization = tv_json_get(root, "quantization_config");
    if (quantization && !cJSON_IsNull(quantization))
        return tv_fail(TV_E_CONFIG,
                       "%s: \"quantization_config\": quantized weights cannot be trained; use "
                       "the model's unquantized version",
                       where);

    tv_model_config read = tv_model_config_defaults(architecture);
    read.head = head;
    if (head == TV_MODEL_HEAD_SCORE)
        TV_RETURN_IF_FAILED(expect_one_label(root, where));
    for (uint64_t i = 0; i < family->size_count; i++)
        TV_RETURN_IF_FAILED(read_size(root, where, family, &family->sizes[i], &read));
    TV_RETURN_IF_FAILED(derive_sizes(where, family, &read));
    TV_RETURN_IF_FAILED(
        tv_as_config(tv_json_number(root, family->norm_eps_key, where, read.norm_eps, &read.norm_eps)));
    TV_RETURN_IF_FAILED(tv_as_config(
        tv_json_number(root, "initializer_range", where, read.initializer_range, &read.initializer_range)));
    TV_RETURN_IF_FAILED(
        tv_as_config(tv_json_bool(root, "tie_word_embeddings", where, read.tied, &read.tied)));
    TV_RETURN_IF_FAILED(read_switches(root, where, family, &read));
    read_dropout(root, &read);
    TV_RETURN_IF_FAILED(read_tokens(root, where, strict, &read));
    TV_RETURN_IF_FAILED(tv_model_config_check(&read, where));
    *config = read;
    return TV_OK;
}

tv_status tv_model_config_read_file(const char *path, tv_model_config *config) {
    cJSON *root = NULL;
    TV_RETURN_IF_FAILED(tv_json_read_file(path, &root));
    tv_status status = tv_model_config_read(root, path, false, config);
    cJSON_Delete(root);
    return status;
}

static tv_status check_token(const tv_model_config *config, const char *where, const char *key, int64_t id) {
    if (id < -1 || id >= (int64_t)config->vocab_size)
        return tv_fail(TV_E_CONFIG, "%s: \"%s\" is %lld, outside the vocabulary of %llu tokens", where, key,
                       (long long)id, (unsigned long long)config->vocab_size);
    return TV_OK;
}

tv_status tv_model_config_check(const tv_model_config *config, const char *where) {
    if ((unsigned)config->architecture >= TV_ARCH_COUNT)
        return tv_fail(TV_E_CONFIG, "%s: unknown architecture %d", where, (int)config->architecture);
    if (config->head != TV_MODEL_HEAD_LANGUAGE && config->head != TV_MODEL_HEAD_SCORE)
        return tv_fail(TV_E_CONFIG, "%s: unknown head %d", where, (int)config->head);
    const tv_family *family = tv_family_of(config->architecture);
    tv_model_config copy = *config;
    for (uint64_t i = 0; i < family->size_count; i++) {
        uint64_t value = *tv_size_slot(&copy, &family->sizes[i]);
        if (value < 1 || value > family->sizes[i].maximum)
            return tv_fail(TV_E_CONFIG, "%s: expected \"%s\" from 1 to %llu, found %llu", where,
                           family->sizes[i].key, (unsigned long long)family->sizes[i].maximum,
                           (unsigned long long)value);
    }
    unsigned long long heads = config->n_head, kv_heads = config->n_kv_head, size = config->head_size;
    if (kv_heads < 1 || kv_heads > heads || heads % kv_heads)
        return tv_fail(TV_E_CONFIG,
                       "%s: \"num_key_value_heads\" %llu does not divide \"num_attention_heads\" %llu; each "
                       "key-value head serves a whole number of query heads",
                       where, kv_heads, heads);
    if (size < 1 || size > TV_MAX_HEAD_SIZE || heads * size > TV_MAX_FFN)
        return tv_fail(TV_E_CONFIG, "%s: %llu heads of size %llu are more than %d channels", where, heads,
                       size, TV_MAX_FFN);
    if (family->whole_heads && (heads * size != config->channels || kv_heads != heads))
        return tv_fail(TV_E_CONFIG,
                       "%s: %llu heads (%llu for keys and values) of size %llu do not make "
                       "\"%s\" %llu, as a %s needs",
                       where, heads, kv_heads, size, family->channels_key,
                       (unsigned long long)config->channels, family->name);
    if (config->positions == TV_POSITIONS_ROTARY && size % 2)
        return tv_fail(
            TV_E_CONFIG,
            "%s: rotary positions turn pairs of channels, but the size of a head (\"head_dim\", or "
            "\"hidden_size\" / \"num_attention_heads\") is %llu, which is odd",
            where, size);
    TV_RETURN_IF_FAILED(tv_check_range(where, family->norm_eps_key, config->norm_eps, 0, 1));
    TV_RETURN_IF_FAILED(tv_check_range(where, "initializer_range", config->initializer_range, 0, 10));
    if (config->query_scalar > 0 || config->query_scalar < 0)
        TV_RETURN_IF_FAILED(
            tv_check_range(where, "query_pre_attn_scalar", config->query_scalar, 0, TV_MAX_CHANNELS));
    TV_RETURN_IF_FAILED(tv_window_check(config, where));
    TV_RETURN_IF_FAILED(tv_rotary_check(config, where));
    TV_RETURN_IF_FAILED(check_token(config, where, "bos_token_id", config->bos_token_id));
    TV_RETURN_IF_FAILED(check_token(config, where, "pad_token_id", config->pad_token_id));
    TV_RETURN_IF_FAILED(check_token(config, where, "eos_token_id", config->eos_token_id));
    for (int i = 0; i < TV_MAX_MORE_EOS; i++)
        TV_RETURN_IF_FAILED(check_token(config, where, "eos_token_id", config->more_eos_token_ids[i]));
    return TV_OK;
}

tv_status tv_model_config_expect_head(const tv_model_config *config, tv_model_head head, const char *where) {
    if (config->head == head)
        return TV_OK;
    if (head == TV_MODEL_HEAD_LANGUAGE)
        return tv_fail(
            TV_E_DATA,
            "%s: expected a language model, found a reward model (%s), which gives scores and no text", where,
            tv_model_config_architecture(config));
    return tv_fail(TV_E_DATA, "%s: expected a reward model (%s), found a language model (%s)", where,
                   tv_family_of(config->architecture)->architectures[head],
                   tv_model_config_architecture(config));
}

bool tv_model_config_has_local_rotary(const tv_model_config *config) {
    bool local = false;
    for (uint64_t l = 0; l < config->n_layer; l++)
        local |= tv_model_config_is_local(config, l);
    return local && config->positions == TV_POSITIONS_ROTARY &&
           !tv_rotary_same(&config->rotary, &config->rotary_local);
}

bool tv_model_config_same_body(const tv_model_config *a, const tv_model_config *b) {
    bool rotary = a->positions == TV_POSITIONS_ROTARY, local = false;
    for (uint64_t l = 0; l < a->n_layer; l++) {
        if (tv_model_config_is_local(a, l) != tv_model_config_is_local(b, l))
            return false;
        local |= tv_model_config_is_local(a, l);
    }
    return a->norm == b->norm && a->positions == b->positions && a->activation == b->activation &&
           a->attention_bias == b->attention_bias && a->attention_out_bias == b->attention_out_bias &&
           a->mlp_bias == b->mlp_bias && a->qk_norm == b->qk_norm && a->post_norms == b->post_norms &&
           a->gain_from_one == b->gain_from_one && a->scaled_embedding == b->scaled_embedding &&
           a->vocab_size == b->vocab_size && a->n_layer == b->n_layer && a->n_head == b->n_head &&
           a->n_kv_head == b->n_kv_head && a->channels == b->channels && a->head_size == b->head_size &&
           a->ffn == b->ffn && (rotary || a->max_positions == b->max_positions) &&
           (!local || a->window == b->window) && !(fabs(a->norm_eps - b->norm_eps) > 0) &&
           !(fabsf(tv_model_config_score_scale(a) - tv_model_config_score_scale(b)) > 0) &&
           (!rotary || (tv_rotary_same(&a->rotary, &b->rotary) &&
                        (!local || tv_rotary_same(&a->rotary_local, &b->rotary_local))));
}

bool tv_model_config_ends(const tv_model_config *config, int64_t id) {
    bool ends = id >= 0 && config->eos_token_id == id;
    for (int i = 0; id >= 0 && i < TV_MAX_MORE_EOS; i++)
        ends |= config->more_eos_token_ids[i] == id;
    return ends;
}

void tv_model_config_end_with(tv_model_config *config, int64_t id) {
    int64_t moved = config->eos_token_id;
    config->eos_token_id = id;
    for (int i = 0; i < TV_MAX_MORE_EOS && moved >= 0 && moved != id; i++) {
        int64_t next = config->more_eos_token_ids[i];
        config->more_eos_token_ids[i] = moved;
        moved = next;
    }
}

tv_status tv_model_config_check_published(const tv_model_config *config) {
    const tv_family *family = tv_family_of(config->architecture);
    const tv_model_config *own = &family->defaults;
    bool attention = config->attention_bias == config->attention_out_bias;
    if (!family->attention_bias_key)
        attention = config->attention_bias == own->attention_bias &&
                    config->attention_out_bias == own->attention_out_bias;
    bool mlp = family->mlp_bias_key || config->mlp_bias == own->mlp_bias;
    bool query = family->query_scalar_key || !(config->query_scalar > 0);
    if (config->norm == own->norm && config->positions == own->positions &&
        config->activation == own->activation && config->qk_norm == own->qk_norm &&
        config->post_norms == own->post_norms && config->gain_from_one == own->gain_from_one &&
        config->scaled_embedding == own->scaled_embedding && attention && mlp && query)
        return TV_OK;
    return tv_fail(
        TV_E_CONFIG,
        "model: norm, positions, activation, biases or scales are not those of a %s, so there is no "
        "published layout to read or write it in",
        family->name);
}
