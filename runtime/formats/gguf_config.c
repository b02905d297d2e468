/* Config and metadata: see gguf_config.h. */
#include "formats/gguf_config.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "formats/gguf_names.h"
#include "formats/gguf_rotary.h"
#include "model/families.h"

enum { QUANTIZATION_VERSION = 2, GEMMA3_27B_LAYERS = 62 };

/* Sizes behind "FAMILY."; several keys may say one. */
typedef struct size_key {
    const char *name;
    size_t offset;
    bool since_llama; /* GPT-2 has no such key */
} size_key;
#define SIZE(field) offsetof(tv_model_config, field)
static const size_key sizes[] = {
    {"context_length", SIZE(max_positions), false},  {"embedding_length", SIZE(channels), false},
    {"block_count", SIZE(n_layer), false},           {"feed_forward_length", SIZE(ffn), false},
    {"attention.head_count", SIZE(n_head), false},   {"attention.head_count_kv", SIZE(n_kv_head), true},
    {"attention.key_length", SIZE(head_size), true}, {"attention.value_length", SIZE(head_size), true},
    {"rope.dimension_count", SIZE(head_size), true}, {"vocab_size", SIZE(vocab_size), false},
};

static uint64_t *slot(tv_model_config *config, const size_key *key) {
    return (uint64_t *)((char *)config + key->offset);
}

typedef struct key_text {
    char text[128];
} key_text;

static key_text of(const char *family, const char *name) {
    key_text key;
    snprintf(key.text, sizeof key.text, "%.40s.%.80s", family, name);
    return key;
}

static const char *norm_key(const tv_model_config *config) {
    return config->norm == TV_NORM_LAYER ? "attention.layer_norm_epsilon"
                                         : "attention.layer_norm_rms_epsilon";
}

/* What YaRN's paper makes of its factor; llama.cpp multiplies with it by itself. */
static double usual_attention_factor(double factor) {
    return factor > 1 ? 0.1 * log(factor) + 1 : 1;
}

/* ---- out ---- */

static tv_status no_form(const char *where, const char *what) {
    return tv_fail(TV_E_CONFIG, "%s: %s, for which GGUF files of this family have no key", where, what);
}

static tv_status set_rotary(tv_gguf_writer *writer, const tv_model_config *config, const char *family,
                            const char *where) {
    const tv_rotary_scaling *r = &config->rotary;
    if (config->positions != TV_POSITIONS_ROTARY)
        return TV_OK;
    tv_gguf_set_float32(writer, of(family, "rope.freq_base").text, r->theta);
    if (r->kind == TV_ROTARY_LLAMA3 && strcmp(family, "llama") != 0)
        return no_form(where, "the rope type \"llama3\"");
    if (r->kind == TV_ROTARY_YARN && r->exact_range)
        return no_form(where, "the rope type \"yarn\" with \"truncate\" false");
    if (config->rotary_local.kind != TV_ROTARY_PLAIN && tv_family_of(config->architecture)->has_local_rotary)
        return no_form(where, "scaled positions of local layers");
    if (tv_family_of(config->architecture)->has_local_rotary)
        tv_gguf_set_float32(writer, of(family, "rope.freq_base_swa").text, config->rotary_local.theta);
    if (r->kind != TV_ROTARY_LINEAR && r->kind != TV_ROTARY_YARN)
        return TV_OK;
    bool yarn = r->kind == TV_ROTARY_YARN;
    tv_gguf_set_text(writer, of(family, "rope.scaling.type").text, yarn ? "yarn" : "linear");
    tv_gguf_set_float32(writer, of(family, "rope.scaling.factor").text, r->factor);
    if (!yarn)
        return TV_OK;
    tv_gguf_set_uint32(writer, of(family, "rope.scaling.original_context_length").text,
                       (uint64_t)r->original_positions);
    tv_gguf_set_float32(writer, of(family, "rope.scaling.attn_factor").text,
                        r->attention_factor / usual_attention_factor(r->factor));
    tv_gguf_set_float32(writer, of(family, "rope.scaling.yarn_beta_fast").text, r->fast_rotations);
    tv_gguf_set_float32(writer, of(family, "rope.scaling.yarn_beta_slow").text, r->slow_rotations);
    return TV_OK;
}

/* The layers of which every period-th, counted from 1, is not local; 0: none are so. */
static uint64_t period_of(const tv_model_config *config) {
    for (uint64_t period = 1; period <= config->n_layer + 1; period++) {
        bool same = true;
        for (uint64_t l = 0; l < config->n_layer; l++)
            same = same && tv_model_config_is_local(config, l) == ((l + 1) % period > 0);
        if (same)
            return period;
    }
    return 0;
}

static tv_status set_window(tv_gguf_writer *writer, const tv_model_config *config, const char *family,
                            const char *where) {
    bool pattern = tv_family_of(config->architecture)->window_style == TV_WINDOW_PATTERN;
    if (config->window == 0)
        return TV_OK;
    uint64_t period = period_of(config);
    if (pattern && period == 0)
        return no_form(where, "local layers without a period");
    tv_gguf_set_uint32(writer, of(family, "attention.sliding_window").text, config->window);
    if (pattern)
        tv_gguf_set_uint32(writer, of(family, "attention.sliding_window_pattern").text, period);
    else if (config->window < config->max_positions)
        tv_warn("%s: its layers see %llu tokens back, but llama.cpp has no such window for the family %s and "
                "sees all of a "
                "longer text",
                where, (unsigned long long)config->window, family);
    return TV_OK;
}

/* What llama.cpp takes for granted. */
static tv_status check_constants(const tv_model_config *config, const char *where) {
    double scalar = config->query_scalar > 0 ? config->query_scalar : (double)config->head_size;
    double expected = config->n_layer == GEMMA3_27B_LAYERS && config->architecture == TV_ARCH_GEMMA3
                          ? (double)config->channels / (double)config->n_head
                          : (double)config->head_size;
    if (fabs(scalar - expected) > 0)
        return no_form(where, "a \"query_pre_attn_scalar\" that is not the size of a head");
    if (config->architecture == TV_ARCH_QWEN3 && config->attention_bias)
        return no_form(where, "an \"attention_bias\" of a Qwen3");
    if (config->architecture == TV_ARCH_GEMMA3 && config->attention_bias)
        return no_form(where, "an \"attention_bias\" of a Gemma 3");
    return TV_OK;
}

tv_status tv_gguf_set_config(tv_gguf_writer *writer, const tv_model_config *config, const char *name,
                             const tv_gguf_type *type, const char *where) {
    const char *architecture = tv_model_config_architecture(config);
    const char *family = tv_gguf_family_of(architecture);
    if (!family)
        return tv_fail(TV_E_CONFIG, "%s: a %s has no form in GGUF", where, architecture);
    TV_RETURN_IF_FAILED(check_constants(config, where));
    tv_gguf_set_text(writer, "general.architecture", family);
    tv_gguf_set_text(writer, "general.type", "model");
    tv_gguf_set_text(writer, "general.name", name);
    tv_gguf_set_uint32(writer, "general.file_type", type->file_type);
    if (type->block > 1)
        tv_gguf_set_uint32(writer, "general.quantization_version", QUANTIZATION_VERSION);
    tv_model_config copy = *config;
    for (size_t i = 0; i < TV_COUNT(sizes); i++)
        if (config->positions == TV_POSITIONS_ROTARY || !sizes[i].since_llama)
            tv_gguf_set_uint32(writer, of(family, sizes[i].name).text, *slot(&copy, &sizes[i]));
    tv_gguf_set_float32(writer, of(family, norm_key(config)).text, config->norm_eps);
    TV_RETURN_IF_FAILED(set_window(writer, config, family, where));
    return set_rotary(writer, config, family, where);
}

/* ---- in ---- */

/* The file's family, and what the file is at all. */
static tv_status find_family(const tv_gguf *file, const char **family, tv_model_config *config) {
    const char *where = tv_gguf_where(file), *type = "model";
    uint64_t parts = 1;
    *family = NULL;
    TV_RETURN_IF_FAILED(tv_gguf_text(file, "general.architecture", family));
    TV_RETURN_IF_FAILED(tv_gguf_text(file, "general.type", &type));
    TV_RETURN_IF_FAILED(tv_gguf_uint(file, "split.count", UINT16_MAX, &parts));
    if (strcmp(type, "model") != 0)
        return tv_fail(TV_E_DATA, "%s: expected a model, found a GGUF file of the type \"%.40s\"", where,
                       type);
    if (parts > 1)
        return tv_fail(TV_E_DATA,
                       "%s: expected a whole model, found one of %llu parts; join them with llama.cpp's "
                       "llama-gguf-split",
                       where, (unsigned long long)parts);
    if (!*family)
        return tv_fail(TV_E_DATA, "%s: expected key \"general.architecture\", found none", where);
    for (int i = 0; i < TV_ARCH_COUNT; i++) {
        const char *architecture = tv_family_of((tv_architecture)i)->architectures[TV_MODEL_HEAD_LANGUAGE];
        const char *named = tv_gguf_architecture_of(*family);
        if (named && strcmp(named, architecture) == 0) {
            *config = tv_model_config_defaults((tv_architecture)i);
            return TV_OK;
        }
    }
    return tv_fail(TV_E_CONFIG,
                   "%s: expected a model of the family gpt2, llama, qwen2, qwen3 or gemma3, found \"%.40s\"",
                   where, *family);
}

/* A key that nothing here reads changes what the model computes, unless it switches something off. */
static tv_status check_keys(const tv_gguf *file, const char *family) {
    static const char *const read[] = {
        "attention.layer_norm_epsilon",
        "attention.layer_norm_rms_epsilon",
        "attention.sliding_window",
        "attention.sliding_window_pattern",
        "rope.freq_base",
        "rope.freq_base_swa",
        "rope.scaling.type",
        "rope.scaling.factor",
        "rope.scaling.original_context_length",
        "rope.scaling.attn_factor",
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow",
        /* without effect */
        "rope.scaling.finetuned",
        "rope.scale_linear",
        "tensor_data_layout",
        "mm.tokens_per_image", /* of pictures, which are not read */
        "attention.causal",
    };
    size_t length = strlen(family);
    for (uint64_t i = 0; i < tv_gguf_value_count(file); i++) {
        const tv_gguf_value *value = tv_gguf_value_at(file, i);
        if (strncmp(value->key, family, length) != 0 || value->key[length] != '.')
            continue;
        const char *name = value->key + length + 1;
        bool known = !value->array && value->kind != TV_GGUF_STRING && !(fabs(tv_gguf_element(value, 0)) > 0);
        for (size_t k = 0; k < TV_COUNT(read); k++)
            known |= strcmp(read[k], name) == 0;
        for (size_t k = 0; k < TV_COUNT(sizes); k++)
            known |= strcmp(sizes[k].name, name) == 0;
        if (!known)
            return tv_fail(TV_E_CONFIG,
                           "%s: key \"%.100s\" is not supported, and what it says may change the result",
                           tv_gguf_where(file), value->key);
    }
    bool causal = true;
    TV_RETURN_IF_FAILED(tv_gguf_bool(file, of(family, "attention.causal").text, &causal));
    return causal
               ? TV_OK
               : tv_fail(TV_E_CONFIG, "%s: expected a causal model, found key \"%s.attention.causal\" false",
                         tv_gguf_where(file), family);
}

/* Of several keys for one size the first sets it, the others must agree. */
static tv_status get_sizes(const tv_gguf *file, const char *family, tv_model_config *config) {
    const char *where = tv_gguf_where(file);
    const tv_gguf_tensor *embedding = tv_gguf_tensor_find(file, "token_embd.weight");
    if (!embedding || embedding->rank != 2)
        return tv_fail(TV_E_DATA, "%s: expected a tensor \"token_embd.weight\" of two dimensions", where);
    for (size_t i = 0; i < TV_COUNT(sizes); i++) {
        uint64_t *size = slot(config, &sizes[i]), value = 0;
        const char *name = sizes[i].name;
        TV_RETURN_IF_FAILED(tv_gguf_uint(file, of(family, name).text, INT32_MAX, &value));
        if (sizes[i].offset == SIZE(vocab_size))
            value = embedding->shape[0]; /* the key may count unused rows otherwise */
        if (sizes[i].offset == SIZE(n_kv_head) && !value)
            value = config->n_head;
        if (strcmp(name, "attention.key_length") == 0 && !value && config->n_head)
            value = config->channels / config->n_head;
        if (value && *size && value != *size)
            return tv_fail(TV_E_CONFIG,
                           "%s: expected %llu for key \"%s.%s\", found %llu; other sizes cannot be computed",
                           where, (unsigned long long)*size, family, name, (unsigned long long)value);
        if (value)
            *size = value;
    }
    if (config->query_scalar > 0)
        config->query_scalar = config->n_layer == GEMMA3_27B_LAYERS && config->n_head
                                   ? (double)config->channels / (double)config->n_head
                                   : (double)config->head_size;
    return TV_OK;
}

static tv_status get_window(const tv_gguf *file, const char *family, tv_model_config *config) {
    uint64_t window = 0, period = 6;
    TV_RETURN_IF_FAILED(tv_gguf_uint(file, of(family, "attention.sliding_window").text, INT32_MAX, &window));
    if (window == 0)
        return TV_OK;
    if (strcmp(family, "llama") == 0) {
        /* Only a Mistral has one there. */
        config->architecture = TV_ARCH_MISTRAL;
        period = UINT64_MAX;
    } else if (strcmp(family, "gemma3") != 0) {
        return tv_fail(TV_E_CONFIG,
                       "%s: key \"%s.attention.sliding_window\" is not supported for this family",
                       tv_gguf_where(file), family);
    }
    TV_RETURN_IF_FAILED(
        tv_gguf_uint(file, of(family, "attention.sliding_window_pattern").text, INT32_MAX, &period));
    for (uint64_t l = 0; period > 0 && l < tv_min_u64(config->n_layer, TV_MAX_LAYERS); l++)
        if ((l + 1) % period > 0) {
            tv_model_config_set_local(config, l);
            config->window = window;
        }
    return TV_OK;
}

static tv_status get_rotary(const tv_gguf *file, const char *family, tv_model_config *config) {
    const char *type = "none", *where = tv_gguf_where(file);
    const tv_gguf_tensor *factors = tv_gguf_tensor_find(file, TV_GGUF_ROTARY_FACTORS);
    tv_rotary_scaling *r = &config->rotary;
    if (config->positions != TV_POSITIONS_ROTARY)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_gguf_number(file, of(family, "rope.freq_base").text, &r->theta));
    config->rotary_local.theta = tv_family_of(config->architecture)->has_local_rotary ? 10000 : r->theta;
    TV_RETURN_IF_FAILED(
        tv_gguf_number(file, of(family, "rope.freq_base_swa").text, &config->rotary_local.theta));
    TV_RETURN_IF_FAILED(tv_gguf_text(file, of(family, "rope.scaling.type").text, &type));
    TV_RETURN_IF_FAILED(tv_gguf_number(file, of(family, "rope.scale_linear").text, &r->factor));
    TV_RETURN_IF_FAILED(tv_gguf_number(file, of(family, "rope.scaling.factor").text, &r->factor));
    /* A factor without a type is linear. */
    if (!tv_gguf_find(file, of(family, "rope.scaling.type").text) && r->factor > 1)
        type = "linear";
    if (strcmp(type, "linear") == 0 && r->factor > 0) {
        r->kind = TV_ROTARY_LINEAR;
    } else if (strcmp(type, "yarn") == 0) {
        double attention = 1;
        r->kind = TV_ROTARY_YARN;
        r->original_positions = (double)config->max_positions;
        r->fast_rotations = 32;
        r->slow_rotations = 1;
        TV_RETURN_IF_FAILED(tv_gguf_number(file, of(family, "rope.scaling.original_context_length").text,
                                           &r->original_positions));
        TV_RETURN_IF_FAILED(tv_gguf_number(file, of(family, "rope.scaling.attn_factor").text, &attention));
        TV_RETURN_IF_FAILED(
            tv_gguf_number(file, of(family, "rope.scaling.yarn_beta_fast").text, &r->fast_rotations));
        TV_RETURN_IF_FAILED(
            tv_gguf_number(file, of(family, "rope.scaling.yarn_beta_slow").text, &r->slow_rotations));
        r->attention_factor = attention * usual_attention_factor(r->factor);
    } else if (strcmp(type, "none") == 0) {
        r->factor = 0;
    } else {
        return tv_fail(
            TV_E_CONFIG,
            "%s: expected \"none\", \"linear\" or \"yarn\" for key \"%s.rope.scaling.type\", found "
            "\"%.40s\"",
            where, family, type);
    }
    if (factors && r->kind != TV_ROTARY_PLAIN)
        return tv_fail(TV_E_CONFIG,
                       "%s: positions are scaled twice, by \"rope.scaling.type\" and by tensor \"%s\"", where,
                       factors->name);
    if (factors)
        TV_RETURN_IF_FAILED(tv_gguf_get_rotary_factors(file, factors, config));
    if (!tv_family_of(config->architecture)->has_local_rotary)
        config->rotary_local = *r;
    return TV_OK;
}

static tv_status get_token(const tv_gguf *file, const char *key, int64_t *id) {
    uint64_t value = UINT64_MAX;
    TV_RETURN_IF_FAILED(tv_gguf_uint(file, key, UINT32_MAX, &value));
    if (value < INT32_MAX)
        *id = (int64_t)value;
    return TV_OK;
}

tv_status tv_gguf_get_config(const tv_gguf *file, tv_model_config *config) {
    const char *family;
    int64_t turn = -1;
    TV_RETURN_IF_FAILED(find_family(file, &family, config));
    TV_RETURN_IF_FAILED(check_keys(file, family));
    TV_RETURN_IF_FAILED(get_sizes(file, family, config));
    TV_RETURN_IF_FAILED(get_window(file, family, config));
    TV_RETURN_IF_FAILED(get_rotary(file, family, config));
    TV_RETURN_IF_FAILED(tv_gguf_number(file, of(family, norm_key(config)).text, &config->norm_eps));
    config->tied = !tv_gguf_tensor_find(file, "output.weight");
    if (config->architecture == TV_ARCH_LLAMA) {
        config->attention_bias = tv_gguf_tensor_find(file, "blk.0.attn_q.bias") != NULL;
        config->attention_out_bias = tv_gguf_tensor_find(file, "blk.0.attn_output.bias") != NULL;
        config->mlp_bias = tv_gguf_tensor_find(file, "blk.0.ffn_down.bias") != NULL;
    }
    TV_RETURN_IF_FAILED(get_token(file, "tokenizer.ggml.bos_token_id", &config->bos_token_id));
    TV_RETURN_IF_FAILED(get_token(file, "tokenizer.ggml.eos_token_id", &config->eos_token_id));
    TV_RETURN_IF_FAILED(get_token(file, "tokenizer.ggml.padding_token_id", &config->pad_token_id));
    TV_RETURN_IF_FAILED(get_token(file, "tokenizer.ggml.eot_token_id", &turn));
    if (turn >= 0 && turn != config->eos_token_id)
        config->more_eos_token_ids[0] = turn;
    return tv_model_config_check(config, tv_gguf_where(file));
}
