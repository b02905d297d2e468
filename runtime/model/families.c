/* The table of families, and what follows from switches alone: see families.h and config.h. Keys, defaults
 * and meanings are those of transformers' GPT2Config, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config
 * and Gemma3TextConfig. */
#include "model/families.h"

#include <math.h>
#include <stddef.h>

#define SIZE(field) offsetof(tv_model_config, field)

static const tv_size_key gpt2_sizes[] = {
    {"vocab_size", NULL, SIZE(vocab_size), TV_MAX_ROWS, TV_SIZE_REQUIRED},
    {"n_layer", "num_hidden_layers", SIZE(n_layer), TV_MAX_LAYERS, TV_SIZE_REQUIRED},
    {"n_head", "num_attention_heads", SIZE(n_head), TV_MAX_HEADS, TV_SIZE_REQUIRED},
    {"n_embd", "hidden_size", SIZE(channels), TV_MAX_CHANNELS, TV_SIZE_REQUIRED},
    {"n_inner", NULL, SIZE(ffn), TV_MAX_FFN, TV_SIZE_DERIVED},
    {"n_positions", "max_position_embeddings", SIZE(max_positions), TV_MAX_ROWS, 1024},
};

/* The families since Llama differ in what follows from an absent key. */
#define SIZES_SINCE_LLAMA(kv_heads, head_size_, positions)                                                   \
    {"vocab_size", NULL, SIZE(vocab_size), TV_MAX_ROWS, TV_SIZE_REQUIRED},                                   \
        {"num_hidden_layers", NULL, SIZE(n_layer), TV_MAX_LAYERS, TV_SIZE_REQUIRED},                         \
        {"num_attention_heads", NULL, SIZE(n_head), TV_MAX_HEADS, TV_SIZE_REQUIRED},                         \
        {"num_key_value_heads", NULL, SIZE(n_kv_head), TV_MAX_HEADS, kv_heads},                              \
        {"hidden_size", NULL, SIZE(channels), TV_MAX_CHANNELS, TV_SIZE_REQUIRED},                            \
        {"head_dim", NULL, SIZE(head_size), TV_MAX_HEAD_SIZE, head_size_},                                   \
        {"intermediate_size", NULL, SIZE(ffn), TV_MAX_FFN, TV_SIZE_REQUIRED},                                \
        {"max_position_embeddings", NULL, SIZE(max_positions), TV_MAX_ROWS, positions},

static const tv_size_key llama_sizes[] = {SIZES_SINCE_LLAMA(TV_SIZE_DERIVED, TV_SIZE_DERIVED, 2048)};
static const tv_size_key mistral_sizes[] = {SIZES_SINCE_LLAMA(8, TV_SIZE_DERIVED, 131072)};
static const tv_size_key qwen2_sizes[] = {SIZES_SINCE_LLAMA(32, TV_SIZE_DERIVED, 32768)};
static const tv_size_key qwen3_sizes[] = {SIZES_SINCE_LLAMA(32, 128, 32768)};
static const tv_size_key gemma3_sizes[] = {SIZES_SINCE_LLAMA(4, 256, 131072)};

#define NO_TOKENS                                                                                            \
    .initializer_range = 0.02, .bos_token_id = -1, .eos_token_id = -1, .pad_token_id = -1,                   \
    .more_eos_token_ids = {-1, -1, -1, -1, -1, -1, -1}
#define SINCE_LLAMA(architecture_)                                                                           \
    .architecture = (architecture_), .norm = TV_NORM_RMS, .positions = TV_POSITIONS_ROTARY,                  \
    .activation = TV_ACTIVATION_SWIGLU, .norm_eps = 1e-6, .rotary = {.theta = 10000},                        \
    .rotary_local = {.theta = 10000}, NO_TOKENS

static const tv_family families[TV_ARCH_COUNT] = {
    [TV_ARCH_GPT2] = {.name = "GPT-2",
                      .model_type = "gpt2",
                      .architectures = {"GPT2LMHeadModel", "GPT2ForSequenceClassification"},
                      .headless = "GPT2Model",
                      .channels_key = "n_embd",
                      .heads_key = "n_head",
                      .sizes = gpt2_sizes,
                      .size_count = TV_COUNT(gpt2_sizes),
                      .norm_eps_key = "layer_norm_epsilon",
                      .whole_heads = true,
                      .defaults = {.architecture = TV_ARCH_GPT2,
                                   .norm = TV_NORM_LAYER,
                                   .positions = TV_POSITIONS_LEARNED,
                                   .activation = TV_ACTIVATION_GELU_TANH,
                                   .attention_bias = true,
                                   .attention_out_bias = true,
                                   .mlp_bias = true,
                                   .tied = true,
                                   .norm_eps = 1e-5,
                                   .rotary = {.theta = 10000},
                                   .rotary_local = {.theta = 10000},
                                   NO_TOKENS},
                      .fixed = {{"activation_function", {"gelu_new", "gelu_pytorch_tanh"}, 0},
                                {"scale_attn_weights", {NULL}, 1},
                                {"scale_attn_by_inverse_layer_idx", {NULL}, 0},
                                {"add_cross_attention", {NULL}, 0}},
                      .other_keys = {"n_ctx", "attn_pdrop", "embd_pdrop", "resid_pdrop",
                                     "reorder_and_upcast_attn", "summary_activation", "summary_first_dropout",
                                     "summary_proj_to_labels", "summary_type", "summary_use_proj"}},
    [TV_ARCH_LLAMA] = {.name = "Llama",
                       .model_type = "llama",
                       .architectures = {"LlamaForCausalLM", "LlamaForSequenceClassification"},
                       .headless = "LlamaModel",
                       .channels_key = "hidden_size",
                       .heads_key = "num_attention_heads",
                       .sizes = llama_sizes,
                       .size_count = TV_COUNT(llama_sizes),
                       .norm_eps_key = "rms_norm_eps",
                       .attention_bias_key = "attention_bias",
                       .mlp_bias_key = "mlp_bias",
                       .defaults = {SINCE_LLAMA(TV_ARCH_LLAMA)},
                       .fixed = {{"hidden_act", {"silu", "swish"}, 0}},
                       .other_keys = {"attention_dropout", "pretraining_tp"}},
    [TV_ARCH_MISTRAL] = {.name = "Mistral",
                         .model_type = "mistral",
                         .architectures = {"MistralForCausalLM", "MistralForSequenceClassification"},
                         .headless = "MistralModel",
                         .channels_key = "hidden_size",
                         .heads_key = "num_attention_heads",
                         .sizes = mistral_sizes,
                         .size_count = TV_COUNT(mistral_sizes),
                         .norm_eps_key = "rms_norm_eps",
                         .window_style = TV_WINDOW_ALL,
                         .window_fallback = 4096,
                         .defaults = {SINCE_LLAMA(TV_ARCH_MISTRAL)},
                         .fixed = {{"hidden_act", {"silu", "swish"}, 0}},
                         .other_keys = {"attention_dropout"}},
    [TV_ARCH_QWEN2] = {.name = "Qwen2",
                       .model_type = "qwen2",
                       .architectures = {"Qwen2ForCausalLM", "Qwen2ForSequenceClassification"},
                       .headless = "Qwen2Model",
                       .channels_key = "hidden_size",
                       .heads_key = "num_attention_heads",
                       .sizes = qwen2_sizes,
                       .size_count = TV_COUNT(qwen2_sizes),
                       .norm_eps_key = "rms_norm_eps",
                       .window_style = TV_WINDOW_SWITCHED,
                       .window_fallback = 4096,
                       .defaults = {.attention_bias = true, SINCE_LLAMA(TV_ARCH_QWEN2)},
                       .fixed = {{"hidden_act", {"silu", "swish"}, 0}},
                       .other_keys = {"attention_dropout"}},
    [TV_ARCH_QWEN3] = {.name = "Qwen3",
                       .model_type = "qwen3",
                       .architectures = {"Qwen3ForCausalLM", "Qwen3ForSequenceClassification"},
                       .headless = "Qwen3Model",
                       .channels_key = "hidden_size",
                       .heads_key = "num_attention_heads",
                       .sizes = qwen3_sizes,
                       .size_count = TV_COUNT(qwen3_sizes),
                       .norm_eps_key = "rms_norm_eps",
                       .attention_bias_key = "attention_bias",
                       .window_style = TV_WINDOW_SWITCHED,
                       .window_fallback = 4096,
                       .defaults = {.qk_norm = true, SINCE_LLAMA(TV_ARCH_QWEN3)},
                       .fixed = {{"hidden_act", {"silu", "swish"}, 0}},
                       .other_keys = {"attention_dropout"}},
    [TV_ARCH_GEMMA3] = {.name = "Gemma 3",
                        .model_type = "gemma3_text",
                        .architectures = {"Gemma3ForCausalLM", "Gemma3TextForSequenceClassification"},
                        .headless = "Gemma3TextModel",
                        .channels_key = "hidden_size",
                        .heads_key = "num_attention_heads",
                        .sizes = gemma3_sizes,
                        .size_count = TV_COUNT(gemma3_sizes),
                        .norm_eps_key = "rms_norm_eps",
                        .attention_bias_key = "attention_bias",
                        .window_style = TV_WINDOW_PATTERN,
                        .window_fallback = 4096,
                        .has_local_rotary = true,
                        .query_scalar_key = "query_pre_attn_scalar",
                        .defaults = {.architecture = TV_ARCH_GEMMA3,
                                     .norm = TV_NORM_RMS,
                                     .positions = TV_POSITIONS_ROTARY,
                                     .activation = TV_ACTIVATION_GEGLU_TANH,
                                     .qk_norm = true,
                                     .post_norms = true,
                                     .gain_from_one = true,
                                     .scaled_embedding = true,
                                     .tied = true,
                                     .norm_eps = 1e-6,
                                     .query_scalar = 256,
                                     .rotary = {.theta = 1e6},
                                     .rotary_local = {.theta = 1e4},
                                     NO_TOKENS},
                        .fixed = {{"hidden_activation", {"gelu_pytorch_tanh", "gelu_new"}, 0},
                                  {"use_bidirectional_attention", {NULL}, 0}},
                        .other_keys = {"attention_dropout"}},
};

const tv_family *tv_family_of(tv_architecture architecture) {
    return &families[architecture];
}

tv_model_config tv_model_config_defaults(tv_architecture architecture) {
    return tv_family_of(architecture)->defaults;
}

bool tv_model_config_is_gated(const tv_model_config *config) {
    return config->activation != TV_ACTIVATION_GELU_TANH;
}

bool tv_model_config_is_local(const tv_model_config *config, uint64_t layer) {
    return config->window > 0 && (config->local_layers[layer / 64] >> layer % 64 & 1);
}

void tv_model_config_set_local(tv_model_config *config, uint64_t layer) {
    config->local_layers[layer / 64] |= UINT64_C(1) << layer % 64;
}

uint64_t tv_model_config_window(const tv_model_config *config, uint64_t layer) {
    return tv_model_config_is_local(config, layer) ? config->window : 0;
}

float tv_model_config_embedding_scale(const tv_model_config *config) {
    return config->scaled_embedding ? (float)sqrt((double)config->channels) : 1;
}

float tv_model_config_score_scale(const tv_model_config *config) {
    return (float)(1 / sqrt(config->query_scalar > 0 ? config->query_scalar : (double)config->head_size));
}

const char *tv_model_config_architecture(const tv_model_config *config) {
    return tv_family_of(config->architecture)->architectures[config->head];
}
