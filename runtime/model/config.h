/* What a model is: its family, sizes and switches, read from and written as a Hugging Face config.json.
 *
 * Promise: a config that was read or checked is one that the model code can run and whose sizes cannot
 * overflow: every product of sizes, times 16 bytes, stays below 2^62. Everything that differs between the
 * families stands in the switches, so that forward and backward never ask for the architecture.
 */
#ifndef TV_MODEL_CONFIG_H
#define TV_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "kernels/norm.h"
#include "kernels/rotary.h"

/* Rows of families.c. */
typedef enum tv_architecture {
    TV_ARCH_GPT2,
    TV_ARCH_LLAMA,
    TV_ARCH_MISTRAL,
    TV_ARCH_QWEN2,
    TV_ARCH_QWEN3,
    TV_ARCH_GEMMA3,
    TV_ARCH_COUNT
} tv_architecture;
typedef enum tv_positions_kind { TV_POSITIONS_LEARNED, TV_POSITIONS_ROTARY } tv_positions_kind;
/* SWIGLU and GEGLU_TANH are gated: silu(gate) * up, or gelu(gate) * up, and MLP_IN has 2F rows. */
typedef enum tv_activation_kind {
    TV_ACTIVATION_GELU_TANH,
    TV_ACTIVATION_SWIGLU,
    TV_ACTIVATION_GEGLU_TANH
} tv_activation_kind;
/* LANGUAGE gives logits over the vocabulary; SCORE gives one number per token (reward and value models). */
typedef enum tv_model_head { TV_MODEL_HEAD_LANGUAGE, TV_MODEL_HEAD_SCORE } tv_model_head;

enum { TV_MAX_MORE_EOS = 7, TV_MAX_LAYERS = 1 << 12 };

typedef struct tv_model_config {
    tv_architecture architecture; /* names of keys and tensors; nothing in the model's arithmetic */
    tv_norm_kind norm;            /* LAYER has a gain and a bias, RMS a gain */
    tv_positions_kind positions;
    tv_activation_kind activation;
    bool attention_bias;     /* on q, k and v */
    bool attention_out_bias; /* on the output projection of attention */
    bool mlp_bias;           /* on all matrices of the MLP */
    bool qk_norm;            /* each head of q and k is RMS-normed by itself before its rotary turn */
    bool post_norms;         /* what attention and the MLP give is normed before it joins the stream */
    bool gain_from_one;      /* norms multiply with 1 + their gain */
    bool scaled_embedding;   /* the stream begins as sqrt(C) times the token's embedding */
    tv_model_head head;
    bool tied; /* a language head is the embedding; without a meaning for a score head */

    uint64_t vocab_size;    /* V */
    uint64_t n_layer;       /* L */
    uint64_t n_head;        /* H */
    uint64_t n_kv_head;     /* Hkv, divides H */
    uint64_t channels;      /* C */
    uint64_t head_size;     /* D; H * D need not be C */
    uint64_t ffn;           /* F, hidden size of the MLP */
    uint64_t max_positions; /* rows of the position table; the longest trained sequence where rotary */

    uint64_t window; /* tokens that a local layer's token sees, its own included; 0: no layer is local */
    uint64_t local_layers[TV_MAX_LAYERS / 64]; /* bits; layers that are not local see the whole text */

    double norm_eps;
    double query_scalar;                    /* scores are q k / sqrt(query_scalar); 0: D */
    tv_rotary_scaling rotary, rotary_local; /* of local layers; without a meaning where learned */
    double initializer_range;

    double dropout; /* the largest that the file names; none is applied, and none is written */

    int64_t bos_token_id, eos_token_id, pad_token_id; /* -1: none */
    int64_t more_eos_token_ids[TV_MAX_MORE_EOS];      /* further ids that end a text; -1: none */
} tv_model_config;

/* The switches and constants of a published family; sizes are 0. */
tv_model_config tv_model_config_defaults(tv_architecture architecture);

bool tv_model_config_is_gated(const tv_model_config *config);
bool tv_model_config_is_local(const tv_model_config *config, uint64_t layer);
void tv_model_config_set_local(tv_model_config *config, uint64_t layer);
/* Whether some layer is local and turns by other angles than the others. */
bool tv_model_config_has_local_rotary(const tv_model_config *config);
/* Tokens that a layer's token sees; 0: all before it. */
uint64_t tv_model_config_window(const tv_model_config *config, uint64_t layer);
float tv_model_config_embedding_scale(const tv_model_config *config);
/* The scale of attention's scores. */
float tv_model_config_score_scale(const tv_model_config *config);

/* What transformers calls such a model: "GPT2ForSequenceClassification". */
const char *tv_model_config_architecture(const tv_model_config *config);

/* Reads config.json as older and newer transformers write it, or only `architectures` (or `model_type`) and
 * the sizes. A score head is a *ForSequenceClassification of exactly one label. `where` names the source in
 * sentences. `strict` makes an unknown key an error that names the nearest known one, for trivium's own
 * files; otherwise it is ignored. Fails with TV_E_CONFIG. */
tv_status tv_model_config_read(const cJSON *root, const char *where, bool strict, tv_model_config *config);
tv_status tv_model_config_read_file(const char *path, tv_model_config *config);

/* Sizes and values of a config that was made in code; part of every read. Fails with TV_E_CONFIG. */
tv_status tv_model_config_check(const tv_model_config *config, const char *where);

/* Whether the id ends a text by the config. */
bool tv_model_config_ends(const tv_model_config *config, int64_t id);
/* Makes the token the first of those that end a text, the others behind it; of TV_MAX_MORE_EOS + 1 the last
 * is lost. */
void tv_model_config_end_with(tv_model_config *config, int64_t id);

/* Commands that need one kind of model: a TV_E_DATA that says which kind `where`, a directory, holds. */
tv_status tv_model_config_expect_head(const tv_model_config *config, tv_model_head head, const char *where);

/* Everything that the arithmetic up to the head depends on is equal, so that one's weights are the other's.
 */
bool tv_model_config_same_body(const tv_model_config *a, const tv_model_config *b);

/* Whether a config.json of its architecture can say these switches; fails with TV_E_CONFIG. */
tv_status tv_model_config_check_published(const tv_model_config *config);

/* A tree that transformers loads; the caller frees *root with cJSON_Delete. */
tv_status tv_model_config_tree(const tv_model_config *config, cJSON **root);

#endif
