/* Config and metadata: see gguf_config.h. */
#include "formats/gguf_config.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "formats/gguf_names.h"
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

bool tv_gguf_has_rotary_factors(const tv_model_config *config) {
    return config->positions == TV_POSITIONS_ROTARY && config->rotary.kind == TV_ROTARY_LLAMA3;
}

void tv_gguf_rotary_factors(const tv_model_config *config, float *factors) {
    const tv_rotary_scaling plain = {.kind = TV_ROTARY_PLAIN, .theta = config->rotary.theta};
    for (uint64_t i = 0; i < config->head_size / 2; i++)
        factors[i] = (float)(tv_rotary_frequency(&plain, config->head_size, i) /
                             tv_rotary_frequency(&config->rotary, config->head_size, i));
}

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
