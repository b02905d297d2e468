/* config.json of GPT-2 and Llama models: see config.h. Keys, defaults and meanings are those of
 * transformers' GPT2Config and LlamaConfig. */
#include "model/config.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

/* With these bounds a layer has fewer than 2^45 parameters, all layers fewer than 2^57. */
enum {
    MAX_LAYERS = 1 << 12,
    MAX_HEADS = 1 << 16,
    MAX_HEAD_SIZE = 1 << 16,
    MAX_CHANNELS = 1 << 20,
    MAX_FFN = 1 << 22,
    MAX_ROWS = INT32_MAX, /* vocabulary, positions */
};

/* A size under the name that a family gives it. */
typedef struct size_key {
    const char *key, *alias;
    size_t offset;
    uint64_t maximum;
    uint64_t fallback; /* REQUIRED, DERIVED, or the family's default */
} size_key;
enum { REQUIRED = 0, DERIVED = UINT32_MAX };

#define SIZE(field) offsetof(tv_model_config, field)

static const size_key gpt2_sizes[] = {
    {"vocab_size", NULL, SIZE(vocab_size), MAX_ROWS, REQUIRED},
    {"n_layer", "num_hidden_layers", SIZE(n_layer), MAX_LAYERS, REQUIRED},
    {"n_head", "num_attention_heads", SIZE(n_head), MAX_HEADS, REQUIRED},
    {"n_embd", "hidden_size", SIZE(channels), MAX_CHANNELS, REQUIRED},
    {"n_inner", NULL, SIZE(ffn), MAX_FFN, DERIVED},
    {"n_positions", "max_position_embeddings", SIZE(max_positions), MAX_ROWS, 1024},
};

static const size_key llama_sizes[] = {
    {"vocab_size", NULL, SIZE(vocab_size), MAX_ROWS, REQUIRED},
    {"num_hidden_layers", NULL, SIZE(n_layer), MAX_LAYERS, REQUIRED},
    {"num_attention_heads", NULL, SIZE(n_head), MAX_HEADS, REQUIRED},
    {"num_key_value_heads", NULL, SIZE(n_kv_head), MAX_HEADS, DERIVED},
    {"hidden_size", NULL, SIZE(channels), MAX_CHANNELS, REQUIRED},
    {"head_dim", NULL, SIZE(head_size), MAX_HEAD_SIZE, DERIVED},
    {"intermediate_size", NULL, SIZE(ffn), MAX_FFN, REQUIRED},
    {"max_position_embeddings", NULL, SIZE(max_positions), MAX_ROWS, 2048},
};

typedef struct family_keys {
    const char *name, *model_type;
    const char *architectures[2]; /* in the order of tv_model_head */
    const char *headless;         /* files of the body alone; read as a language model */
    const size_key *sizes;
    uint64_t n_sizes;
    const char *norm_eps;
    const char *other_keys[16]; /* known beside the sizes, norm_eps and shared_keys */
} family_keys;

/* In the order of tv_architecture. */
static const family_keys families[] = {
    {"GPT-2",
     "gpt2",
     {"GPT2LMHeadModel", "GPT2ForSequenceClassification"},
     "GPT2Model",
     gpt2_sizes,
     TV_COUNT(gpt2_sizes),
     "layer_norm_epsilon",
     {"activation_function", "n_ctx", "attn_pdrop", "embd_pdrop", "resid_pdrop", "scale_attn_weights",
      "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention",
      "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type",
      "summary_use_proj"}},
    {"Llama",
     "llama",
     {"LlamaForCausalLM", "LlamaForSequenceClassification"},
     "LlamaModel",
     llama_sizes,
     TV_COUNT(llama_sizes),
     "rms_norm_eps",
     {"hidden_act", "attention_bias", "mlp_bias", "attention_dropout", "rope_theta", "rope_parameters",
      "rope_scaling", "pretraining_tp"}},
};
enum { FAMILIES = TV_COUNT(families) };

/* Read by both families, or without effect on the arithmetic. */
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
enum { SHARED_KEYS = TV_COUNT(shared_keys) };

static const char *const dropout_keys[] = {"attn_pdrop", "embd_pdrop", "resid_pdrop", "attention_dropout"};

static uint64_t *size_slot(tv_model_config *config, const size_key *size) {
    return (uint64_t *)((char *)config + size->offset);
}

/* The JSON getters speak of data; a wrong value here is a wrong configuration. */
static tv_status as_config(tv_status status) {
    return status == TV_E_DATA ? TV_E_CONFIG : status;
}

tv_model_config tv_model_config_defaults(tv_architecture architecture) {
    bool gpt2 = architecture == TV_ARCH_GPT2;
    tv_model_config config = {
        .architecture = architecture,
        .norm = gpt2 ? TV_NORM_LAYER : TV_NORM_RMS,
        .positions = gpt2 ? TV_POSITIONS_LEARNED : TV_POSITIONS_ROTARY,
        .activation = gpt2 ? TV_ACTIVATION_GELU_TANH : TV_ACTIVATION_SWIGLU,
        .attention_bias = gpt2,
        .mlp_bias = gpt2,
        .tied = gpt2,
        .norm_eps = gpt2 ? 1e-5 : 1e-6,
        .rope_theta = 10000,
        .initializer_range = 0.02,
        .bos_token_id = -1,
        .eos_token_id = -1,
        .pad_token_id = -1,
    };
    for (int i = 0; i < TV_MAX_MORE_EOS; i++)
        config.more_eos_token_ids[i] = -1;
    return config;
}

const char *tv_model_config_architecture(const tv_model_config *config) {
    return families[config->architecture].architectures[config->head];
}

static bool find_name(const family_keys *family, const char *name, tv_model_head *head) {
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

/* `architectures` decides where it is given, `model_type` otherwise; both must agree. */
static tv_status find_family(const cJSON *root, const char *where, tv_architecture *architecture,
                             tv_model_head *head) {
    const char *type = NULL, *name = NULL;
    TV_RETURN_IF_FAILED(as_config(tv_json_string(root, "model_type", where, NULL, &type)));
    const cJSON *list = tv_json_get(root, "architectures");
    if (list && !cJSON_IsNull(list)) {
        if (!cJSON_IsArray(list) || !cJSON_IsString(list->child) || list->child->next)
            return tv_fail(TV_E_CONFIG,
                           "%s: expected a list of one text for \"architectures\", such as "
                           "[\"GPT2LMHeadModel\"]",
                           where);
        name = list->child->valuestring;
    }
    if (!name && !type)
        return tv_fail(TV_E_CONFIG,
                       "%s: expected \"architectures\": [\"GPT2LMHeadModel\"] or [\"LlamaForCausalLM\"] (or "
                       "\"model_type\": \"gpt2\" or \"llama\"), found neither",
                       where);
    for (int i = 0; i < FAMILIES; i++) {
        bool is_named = name && find_name(&families[i], name, head);
        bool is_type = type && strcmp(type, families[i].model_type) == 0;
        if ((is_named || !name) && (is_type || !type)) {
            *architecture = (tv_architecture)i;
            return TV_OK;
        }
        if (is_named)
            return tv_fail(TV_E_CONFIG, "%s: \"architectures\" says %s, but \"model_type\" says %s", where,
                           name, type);
    }
    return tv_fail(TV_E_CONFIG,
                   "%s: expected the architecture GPT2LMHeadModel or LlamaForCausalLM (or "
                   "GPT2ForSequenceClassification or LlamaForSequenceClassification), found %s; models of "
                   "other families cannot be read",
                   where, name ? name : type);
}

static tv_status check_keys(const cJSON *root, const char *where, const family_keys *family) {
    const char *known[64];
    uint64_t count = 0;
    for (uint64_t i = 0; i < SHARED_KEYS; i++)
        known[count++] = shared_keys[i];
    for (uint64_t i = 0; i < family->n_sizes; i++) {
        known[count++] = family->sizes[i].key;
        if (family->sizes[i].alias)
            known[count++] = family->sizes[i].alias;
    }
    known[count++] = family->norm_eps;
    for (uint64_t i = 0; family->other_keys[i]; i++)
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
    for (uint64_t i = 0; i < TV_COUNT(dropout_keys); i++) {
        item = tv_json_get(root, dropout_keys[i]);
        if (cJSON_IsNumber(item) && item->valuedouble > 0)
            tv_warn("%s: \"%s\" is %g, but there is no dropout here; it has no effect", where,
                    dropout_keys[i], item->valuedouble);
    }
    return TV_OK;
}

static tv_status read_size(const cJSON *root, const char *where, const family_keys *family,
                           const size_key *size, tv_model_config *config) {
    int64_t value = 0, other = 0;
    int64_t maximum = (int64_t)size->maximum;
    TV_RETURN_IF_FAILED(as_config(tv_json_integer(root, size->key, where, 1, maximum, 0, &value)));
    if (size->alias)
        TV_RETURN_IF_FAILED(as_config(tv_json_integer(root, size->alias, where, 1, maximum, 0, &other)));
    if (value && other && value != other)
        return tv_fail(TV_E_CONFIG, "%s: \"%s\" is %lld, but \"%s\", another name for it, is %lld", where,
                       size->key, (long long)value, size->alias, (long long)other);
    value = value ? value : other;
    if (!value && size->fallback == REQUIRED)
        return tv_fail(TV_E_CONFIG, "%s: expected \"%s\" for a %s, found none", where, size->key,
                       family->name);
    if (!value && size->fallback != DERIVED)
        value = (int64_t)size->fallback;
    *size_slot(config, size) = (uint64_t)value;
    return TV_OK;
}

/* What follows from the other sizes where the file leaves it out. */
static tv_status derive_sizes(const char *where, const family_keys *family, tv_model_config *config) {
    if (!config->n_kv_head)
        config->n_kv_head = config->n_head;
    if (!config->head_size) {
        config->head_size = config->channels / config->n_head;
        if (config->channels % config->n_head) {
            const char *channels = config->architecture == TV_ARCH_GPT2 ? "n_embd" : "hidden_size";
            const char *heads = config->architecture == TV_ARCH_GPT2 ? "n_head" : "num_attention_heads";
            return tv_fail(TV_E_CONFIG, "%s: \"%s\" %llu does not divide \"%s\" %llu; a %s needs equal heads",
                           where, heads, (unsigned long long)config->n_head, channels,
                           (unsigned long long)config->channels, family->name);
        }
    }
    if (!config->ffn)
        config->ffn = 4 * config->channels;
    return TV_OK;
}

static tv_status expect_text(const cJSON *root, const char *where, const char *key, const char *first,
                             const char *second) {
    const char *value = NULL;
    TV_RETURN_IF_FAILED(as_config(tv_json_string(root, key, where, first, &value)));
    if (strcmp(value, first) != 0 && strcmp(value, second) != 0)
        return tv_fail(TV_E_CONFIG, "%s: expected \"%s\" (or \"%s\") for \"%s\", found \"%s\"", where, first,
                       second, key, value);
    return TV_OK;
}

static tv_status expect_flag(const cJSON *root, const char *where, const char *key, bool expected) {
    bool value = expected;
    TV_RETURN_IF_FAILED(as_config(tv_json_bool(root, key, where, expected, &value)));
    if (value != expected)
        return tv_fail(TV_E_CONFIG, "%s: \"%s\": %s is not supported, only %s", where, key,
                       value ? "true" : "false", expected ? "true" : "false");
    return TV_OK;
}

/* Scaled positions are other positions: read without their scaling, a model would answer nonsense. */
static tv_status check_rope_type(const cJSON *rope, const char *inside) {
    const char *type = NULL, *old_type = NULL;
    double factor = 1;
    TV_RETURN_IF_FAILED(as_config(tv_json_string(rope, "type", inside, NULL, &old_type)));
    TV_RETURN_IF_FAILED(as_config(tv_json_string(rope, "rope_type", inside, old_type, &type)));
    TV_RETURN_IF_FAILED(as_config(tv_json_number(rope, "factor", inside, 1, &factor)));
    if (type && (strcmp(type, "default") != 0 || (old_type && strcmp(old_type, "default") != 0)))
        return tv_fail(
            TV_E_CONFIG,
            "%s: expected positions without scaling (\"default\"), found the rope type \"%s\"; models "
            "with scaled positions cannot be read",
            inside, strcmp(type, "default") != 0 ? type : old_type);
    if (!type && !(fabs(factor - 1) <= 0))
        return tv_fail(
            TV_E_CONFIG,
            "%s: expected positions without scaling (\"default\"), found a \"factor\" of %g without a "
            "\"rope_type\"",
            inside, factor);
    return TV_OK;
}

/* Older files: rope_theta and rope_scaling {"type" or "rope_type"}; newer ones: rope_parameters with both. */
static tv_status read_rope(const cJSON *root, const char *where, tv_model_config *config) {
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};
    TV_RETURN_IF_FAILED(
        as_config(tv_json_number(root, "rope_theta", where, config->rope_theta, &config->rope_theta)));
    for (int i = 0; i < 2; i++) {
        const cJSON *rope = tv_json_get(root, keys[i]);
        if (!rope || cJSON_IsNull(rope))
            continue;
        if (!cJSON_IsObject(rope))
            return tv_fail(TV_E_CONFIG, "%s: expected an object or null for \"%s\"", where, keys[i]);
        char inside[256];
        snprintf(inside, sizeof inside, "%s: %s", where, keys[i]);
        TV_RETURN_IF_FAILED(check_rope_type(rope, inside));
        double partial = 1;
        TV_RETURN_IF_FAILED(as_config(tv_json_number(rope, "partial_rotary_factor", inside, 1, &partial)));
        if (!(fabs(partial - 1) <= 0))
            return tv_fail(TV_E_CONFIG, "%s: expected 1 for \"partial_rotary_factor\", found %g", inside,
                           partial);
        TV_RETURN_IF_FAILED(
            as_config(tv_json_number(rope, "rope_theta", inside, config->rope_theta, &config->rope_theta)));
    }
    return TV_OK;
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
        TV_RETURN_IF_FAILED(as_config(tv_json_integer(root, keys[i], where, -1, INT32_MAX, -1, ids[i])));
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

static tv_status read_family_switches(const cJSON *root, const char *where, tv_model_config *config) {
    if (config->architecture == TV_ARCH_GPT2) {
        TV_RETURN_IF_FAILED(expect_text(root, where, "activation_function", "gelu_new", "gelu_pytorch_tanh"));
        TV_RETURN_IF_FAILED(expect_flag(root, where, "scale_attn_weights", true));
        TV_RETURN_IF_FAILED(expect_flag(root, where, "scale_attn_by_inverse_layer_idx", false));
        return expect_flag(root, where, "add_cross_attention", false);
    }
    TV_RETURN_IF_FAILED(expect_text(root, where, "hidden_act", "silu", "swish"));
    TV_RETURN_IF_FAILED(
        as_config(tv_json_bool(root, "attention_bias", where, false, &config->attention_bias)));
    TV_RETURN_IF_FAILED(as_config(tv_json_bool(root, "mlp_bias", where, false, &config->mlp_bias)));
    return read_rope(root, where, config);
}

/* transformers counts the entries of id2label, and takes a file without one for two labels. */
static tv_status expect_one_label(const cJSON *root, const char *where) {
    const char *architecture = tv_json_get(root, "architectures")->child->valuestring;
    const cJSON *map = tv_json_get(root, "id2label");
    int64_t count = -1, entries = -1;
    TV_RETURN_IF_FAILED(as_config(tv_json_integer(root, "num_labels", where, 0, INT32_MAX, -1, &count)));
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
    const family_keys *family = &families[architecture];
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
    for (uint64_t i = 0; i < family->n_sizes; i++)
        TV_RETURN_IF_FAILED(read_size(root, where, family, &family->sizes[i], &read));
    TV_RETURN_IF_FAILED(derive_sizes(where, family, &read));
    TV_RETURN_IF_FAILED(
        as_config(tv_json_number(root, family->norm_eps, where, read.norm_eps, &read.norm_eps)));
    TV_RETURN_IF_FAILED(as_config(
        tv_json_number(root, "initializer_range", where, read.initializer_range, &read.initializer_range)));
    TV_RETURN_IF_FAILED(as_config(tv_json_bool(root, "tie_word_embeddings", where, read.tied, &read.tied)));
    TV_RETURN_IF_FAILED(read_family_switches(root, where, &read));
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

static tv_status check_range(const char *where, const char *key, double value, double above, double maximum) {
    if (!(value > above && value <= maximum))
        return tv_fail(TV_E_CONFIG, "%s: expected \"%s\" above %g and at most %g, found %g", where, key,
                       above, maximum, value);
    return TV_OK;
}

static tv_status check_token(const tv_model_config *config, const char *where, const char *key, int64_t id) {
    if (id < -1 || id >= (int64_t)config->vocab_size)
        return tv_fail(TV_E_CONFIG, "%s: \"%s\" is %lld, outside the vocabulary of %llu tokens", where, key,
                       (long long)id, (unsigned long long)config->vocab_size);
    return TV_OK;
}

tv_status tv_model_config_check(const tv_model_config *config, const char *where) {
    if (config->architecture != TV_ARCH_GPT2 && config->architecture != TV_ARCH_LLAMA)
        return tv_fail(TV_E_CONFIG, "%s: unknown architecture %d", where, (int)config->architecture);
    if (config->head != TV_MODEL_HEAD_LANGUAGE && config->head != TV_MODEL_HEAD_SCORE)
        return tv_fail(TV_E_CONFIG, "%s: unknown head %d", where, (int)config->head);
    const family_keys *family = &families[config->architecture];
    tv_model_config copy = *config;
    for (uint64_t i = 0; i < family->n_sizes; i++) {
        uint64_t value = *size_slot(&copy, &family->sizes[i]);
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
    if (size < 1 || size > MAX_HEAD_SIZE || heads * size > MAX_FFN)
        return tv_fail(TV_E_CONFIG, "%s: %llu heads of size %llu are more than %d channels", where, heads,
                       size, MAX_FFN);
    if (config->architecture == TV_ARCH_GPT2 && (heads * size != config->channels || kv_heads != heads))
        return tv_fail(TV_E_CONFIG,
                       "%s: %llu heads (%llu for keys and values) of size %llu do not make "
                       "\"n_embd\" %llu, as a GPT-2 needs",
                       where, heads, kv_heads, size, (unsigned long long)config->channels);
    if (config->positions == TV_POSITIONS_ROTARY && size % 2)
        return tv_fail(
            TV_E_CONFIG,
            "%s: rotary positions turn pairs of channels, but the size of a head (\"head_dim\", or "
            "\"hidden_size\" / \"num_attention_heads\") is %llu, which is odd",
            where, size);
    TV_RETURN_IF_FAILED(check_range(where, family->norm_eps, config->norm_eps, 0, 1));
    TV_RETURN_IF_FAILED(check_range(where, "initializer_range", config->initializer_range, 0, 10));
    TV_RETURN_IF_FAILED(check_range(where, "rope_theta", config->rope_theta, 1, 1e12));
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
                   families[config->architecture].architectures[head], tv_model_config_architecture(config));
}

bool tv_model_config_same_body(const tv_model_config *a, const tv_model_config *b) {
    bool rotary = a->positions == TV_POSITIONS_ROTARY;
    return a->norm == b->norm && a->positions == b->positions && a->activation == b->activation &&
           a->attention_bias == b->attention_bias && a->mlp_bias == b->mlp_bias &&
           a->vocab_size == b->vocab_size && a->n_layer == b->n_layer && a->n_head == b->n_head &&
           a->n_kv_head == b->n_kv_head && a->channels == b->channels && a->head_size == b->head_size &&
           a->ffn == b->ffn && (rotary || a->max_positions == b->max_positions) &&
           !(fabs(a->norm_eps - b->norm_eps) > 0) && (!rotary || !(fabs(a->rope_theta - b->rope_theta) > 0));
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

static bool set_token(cJSON *root, const char *key, int64_t id) {
    return id >= 0 ? tv_json_set_number(root, key, (double)id) : cJSON_AddNullToObject(root, key) != NULL;
}

static bool set_eos(cJSON *root, const tv_model_config *config) {
    if (config->more_eos_token_ids[0] < 0)
        return set_token(root, "eos_token_id", config->eos_token_id);
    cJSON *list = cJSON_AddArrayToObject(root, "eos_token_id");
    bool done = list && cJSON_AddItemToArray(list, cJSON_CreateNumber((double)config->eos_token_id));
    for (int i = 0; done && i < TV_MAX_MORE_EOS && config->more_eos_token_ids[i] >= 0; i++)
        done = cJSON_AddItemToArray(list, cJSON_CreateNumber((double)config->more_eos_token_ids[i]));
    return done;
}

/* id2label is what transformers writes and counts; num_labels is what people look for. */
static bool set_one_label(cJSON *root) {
    cJSON *names = cJSON_AddObjectToObject(root, "id2label");
    cJSON *numbers = cJSON_AddObjectToObject(root, "label2id");
    return names && numbers && tv_json_set_string(names, "0", "LABEL_0") &&
           tv_json_set_number(numbers, "LABEL_0", 0) && tv_json_set_number(root, "num_labels", 1);
}

tv_status tv_model_config_tree(const tv_model_config *config, cJSON **root) {
    const family_keys *family = &families[config->architecture];
    tv_model_config copy = *config;
    cJSON *tree = cJSON_CreateObject();
    cJSON *list = tree ? cJSON_AddArrayToObject(tree, "architectures") : NULL;
    bool done = list &&
                cJSON_AddItemToArray(list, cJSON_CreateString(tv_model_config_architecture(config))) &&
                tv_json_set_string(tree, "model_type", family->model_type);
    for (uint64_t i = 0; done && i < family->n_sizes; i++)
        done = tv_json_set_number(tree, family->sizes[i].key, (double)*size_slot(&copy, &family->sizes[i]));
    done = done && tv_json_set_number(tree, family->norm_eps, config->norm_eps) &&
           tv_json_set_number(tree, "initializer_range", config->initializer_range) &&
           tv_json_set_bool(tree, "tie_word_embeddings", config->tied) &&
           set_token(tree, "bos_token_id", config->bos_token_id) && set_eos(tree, config) &&
           set_token(tree, "pad_token_id", config->pad_token_id) &&
           tv_json_set_string(tree, "torch_dtype", "float32");
    /* Newer transformers still read rope_theta and torch_dtype; older ones do not know rope_parameters and
     * dtype. GPT2Config's dropout would be 0.1 unless told. */
    if (config->architecture == TV_ARCH_GPT2)
        done = done && tv_json_set_string(tree, "activation_function", "gelu_new") &&
               tv_json_set_number(tree, "attn_pdrop", 0) && tv_json_set_number(tree, "embd_pdrop", 0) &&
               tv_json_set_number(tree, "resid_pdrop", 0);
    else
        done = done && tv_json_set_string(tree, "hidden_act", "silu") &&
               tv_json_set_bool(tree, "attention_bias", config->attention_bias) &&
               tv_json_set_bool(tree, "mlp_bias", config->mlp_bias) &&
               tv_json_set_number(tree, "rope_theta", config->rope_theta);
    if (config->head == TV_MODEL_HEAD_SCORE)
        done = done && set_one_label(tree);
    if (!done) {
        cJSON_Delete(tree);
        return tv_fail(TV_E_MEMORY, "out of host memory for a model's configuration");
    }
    *root = tree;
    return TV_OK;
}

tv_status tv_model_config_write_file(const tv_model_config *config, const char *path) {
    cJSON *root = NULL;
    TV_RETURN_IF_FAILED(tv_model_config_tree(config, &root));
    tv_status status = tv_json_write_file(path, root);
    cJSON_Delete(root);
    return status;
}
