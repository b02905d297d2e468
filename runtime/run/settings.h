/* The configuration file of a run, as C structs. Each setting is a row of settings.def.
 *
 * Promise: what is read is checked (unknown keys, keys that the stage does not use, types, ranges, and values
 * that exclude each other), what is absent has the documented default, and what is written back is the whole
 * of what was used. What follows from model and data is worked out in defaults.h. Whether T fits the position
 * table and heads divide C is the model's to say.
 */
#ifndef TV_RUN_SETTINGS_H
#define TV_RUN_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/status.h"

/* The stages that a configuration can be for: what is absent has the stage's own default. */
typedef enum tv_stage_kind {
    TV_STAGE_PRETRAIN,
    TV_STAGE_SFT,
    TV_STAGE_REWARD,
    TV_STAGE_DPO,
    TV_STAGE_PPO,
    TV_STAGE_GRPO,
    TV_STAGE_KINDS
} tv_stage_kind;

/* One entry of data.train or data.val; `path` points into the tree. */
typedef struct tv_data_source {
    const char *path;
    double weight; /* relative share of the tokens drawn; 1 where none is given */
} tv_data_source;

typedef struct tv_data_settings {
    const cJSON *train_list, *val_list, *ptx_list; /* as they were read */
    tv_data_source *train, *val, *ptx; /* owned by the settings; ptx: shards of PPO's pretraining mix */
    uint64_t train_count, val_count, ptx_count;
    double val_fraction; /* of the training data's prompts, held out where `val` names nothing */
    int annotators;      /* tv_verdicts of text/judged_item.h, in the order of the choices */
    uint64_t seq_len;    /* T */
    bool shuffle;
    bool document_mask; /* attention ends at document boundaries */
    const char
        *tokenizer; /* a directory with tokenizer.json, saved with each checkpoint; NULL: none, or --init's */
} tv_data_settings;

/* Values are pinned by "cosine|linear|constant|wsd". */
typedef enum tv_schedule {
    TV_SCHEDULE_COSINE,
    TV_SCHEDULE_LINEAR,
    TV_SCHEDULE_CONSTANT,
    TV_SCHEDULE_WSD
} tv_schedule;

/* Values are pinned by "none|block": what the backward pass computes anew instead of keeping. */
typedef enum tv_recompute { TV_RECOMPUTE_NONE, TV_RECOMPUTE_BLOCK } tv_recompute;

/* Values are pinned by "f32|bf16": in which type groups of gradients are added. */
typedef enum tv_grad_exchange { TV_GRAD_EXCHANGE_F32, TV_GRAD_EXCHANGE_BF16 } tv_grad_exchange;

typedef struct tv_train_settings {
    uint64_t steps;       /* 0: `epochs` says how long */
    double epochs;        /* 0: `steps` says how long */
    uint64_t batch_size;  /* B, sequences in a micro-batch */
    uint64_t grad_accum;  /* micro-batches in a step */
    uint64_t grad_groups; /* that their gradients are sums of; a divisor of grad_accum */
    int grad_exchange;    /* tv_grad_exchange */
    double lr, min_lr;
    int schedule; /* tv_schedule */
    uint64_t warmup_steps;
    int optimizer; /* tv_optimizer of model/parameters.h, in the order of the choices */
    double weight_decay, beta1, beta2, eps;
    double grad_clip;          /* 0: off */
    double loss_scale;         /* of gradients; a power of two; 0: as the activations ask */
    uint64_t eval_every;       /* steps; 0: only at the end */
    uint64_t eval_tokens;      /* 0: all of the validation data */
    uint64_t checkpoint_every; /* steps; 0: only at the end */
    uint64_t keep;             /* newest checkpoints that stay beside best and last */
    uint64_t seed;
    int recompute;         /* tv_recompute */
    const char *trainable; /* a pattern of formats/trainable.h */
} tv_train_settings;

typedef struct tv_sft_settings {
    bool packing;
} tv_sft_settings;

typedef enum tv_reward_loss { TV_REWARD_PAIRS, TV_REWARD_KWISE, TV_REWARD_LISTWISE } tv_reward_loss;
typedef struct tv_reward_settings {
    int loss; /* tv_reward_loss */
    double center;
} tv_reward_settings;

/* Values are pinned by "sigmoid|ipo|hinge|robust|simpo|orpo|cpo|kto". */
typedef enum tv_preference_kind {
    TV_PREFERENCE_SIGMOID,
    TV_PREFERENCE_IPO,
    TV_PREFERENCE_HINGE,
    TV_PREFERENCE_ROBUST,
    TV_PREFERENCE_SIMPO,
    TV_PREFERENCE_ORPO,
    TV_PREFERENCE_CPO,
    TV_PREFERENCE_KTO,
    TV_PREFERENCE_KINDS
} tv_preference_kind;
typedef struct tv_dpo_settings {
    int loss; /* tv_preference_kind */
    double beta, gamma, label_smoothing, desirable_weight, undesirable_weight, nll;
} tv_dpo_settings;

typedef enum tv_kl_estimator { TV_KL_K1, TV_KL_K2, TV_KL_K3 } tv_kl_estimator;
typedef enum tv_kl_controller { TV_KL_FIXED, TV_KL_ADAPTIVE } tv_kl_controller;
typedef enum tv_missing_eos {
    TV_MISSING_EOS_SCORE,
    TV_MISSING_EOS_PENALTY,
    TV_MISSING_EOS_NONE
} tv_missing_eos;
typedef enum tv_value_init { TV_VALUE_FROM_REWARD, TV_VALUE_FROM_POLICY } tv_value_init;
typedef struct tv_ppo_settings {
    uint64_t iterations, prompts, minibatch, epochs, max_new_tokens, rows;
    double temperature;
    uint64_t top_k;
    double top_p, kl_coef;
    int kl_estimator, kl_controller;
    double kl_target, kl_horizon, clip, value_clip, vf_coef, gamma, lambda, score_clip;
    int missing_eos;
    double missing_eos_score, missing_eos_penalty, early_stop_kl, ptx_coef;
    int value_init, reward_weights; /* tv_weights */
} tv_ppo_settings;

/* Values are pinned by "dapo|grpo|bnpo|dr_grpo|cispo|gspo". */
typedef enum tv_grpo_loss {
    TV_GRPO_DAPO,
    TV_GRPO_GRPO,
    TV_GRPO_BNPO,
    TV_GRPO_DR_GRPO,
    TV_GRPO_CISPO,
    TV_GRPO_GSPO,
    TV_GRPO_LOSSES
} tv_grpo_loss;
/* Values are pinned by "group|none|batch|rloo|reinforce++". */
typedef enum tv_advantage_kind {
    TV_ADVANTAGES_GROUP,
    TV_ADVANTAGES_NONE,
    TV_ADVANTAGES_BATCH,
    TV_ADVANTAGES_RLOO,
    TV_ADVANTAGES_REINFORCE
} tv_advantage_kind;
typedef struct tv_grpo_settings {
    uint64_t iterations, prompts, answers, minibatch, epochs, max_new_tokens, rows, dynamic_sampling;
    double temperature;
    uint64_t top_k;
    double top_p;
    int loss, advantages; /* tv_grpo_loss, tv_advantage_kind */
    double clip_low, clip_high, kl_coef;
    bool mask_truncated, drop_equal;
    int reward_weights; /* tv_weights */
} tv_grpo_settings;

typedef struct tv_rewards_settings {
    const cJSON *weights, *names; /* lists, as stages/policy/sources.h reads them; NULL until it has */
    uint64_t batch;
    double timeout;
} tv_rewards_settings;

typedef struct tv_muon_settings {
    double momentum, rms;
} tv_muon_settings;

typedef struct tv_lora_settings {
    uint64_t rank; /* 0: off */
    double alpha;
    const cJSON *targets; /* a list of names; NULL: all matrices */
    bool rslora;
    const cJSON *modules_to_save; /* a list of names; NULL: none named */
} tv_lora_settings;

/* In the order of the setting's choices. */
typedef enum tv_weights {
    TV_WEIGHTS_AUTO,
    TV_WEIGHTS_F32,
    TV_WEIGHTS_BF16,
    TV_WEIGHTS_F16,
    TV_WEIGHTS_Q8_0,
    TV_WEIGHTS_Q4_0
} tv_weights;

typedef struct tv_run_settings {
    tv_stage_kind stage;
    cJSON *root;     /* what was read, with every --set applied; owns all texts below */
    cJSON *defaults; /* and this those that nobody named */
    const cJSON
        *model;  /* NULL when absent, as with --init; without model.weights, which is no key of a config */
    int weights; /* tv_weights */
    tv_data_settings data;
    tv_train_settings train;
    tv_sft_settings sft;
    tv_reward_settings reward;
    tv_dpo_settings dpo;
    tv_ppo_settings ppo;
    tv_grpo_settings grpo;
    tv_rewards_settings rewards;
    tv_lora_settings lora;
    tv_muon_settings muon;
} tv_run_settings;

/* Reads `path` (NULL: an empty object) and applies `sets` ("train.lr=1e-3") in order. TV_E_CONFIG for a wrong
 * key or value, TV_E_DATA for a file that is no JSON. Frees nothing on success; tv_run_settings_free does. */
tv_status tv_run_settings_read(const char *path, const char *const *sets, uint64_t set_count,
                               tv_stage_kind stage, tv_run_settings *settings);
/* The same from a tree, which the settings take over even on failure; `where` names it in sentences. */
tv_status tv_run_settings_from_tree(cJSON *root, const char *where, const char *const *sets,
                                    uint64_t set_count, tv_stage_kind stage, tv_run_settings *settings);
void tv_run_settings_free(tv_run_settings *settings);

/* The paths of sources as a list for the readers of text/, or NULL when memory is out; tv_free_paths frees
 * the list. */
const char **tv_data_paths(const tv_data_source *sources, uint64_t count);
void tv_free_paths(const char ***paths);

/* Whether the file or a --set named the key; what nobody named has its default. */
bool tv_setting_given(const tv_run_settings *settings, const char *section, const char *key);

/* The resolved settings: the model, and every setting that the stage uses. Reading the result again gives the
 * same settings. The caller frees *root. */
tv_status tv_run_settings_resolve(const tv_run_settings *settings, cJSON **root);
/* Every section in full, without the model: what a run's steps depend on. */
tv_status tv_run_settings_whole(const tv_run_settings *settings, cJSON **root);

/* ---- the table behind it (settings.def), for those who show it ---- */

typedef struct tv_setting {
    const char *section;
    tv_config_field field; /* offsets into tv_run_settings */
    uint32_t stages;       /* a bit (1 << kind) for each stage that uses it */
    const char *defaults;  /* one as JSON writes it, or one for each stage, separated by "|" */
    const char *help;      /* a sentence without its full stop */
} tv_setting;

extern const tv_setting tv_settings[];
extern const uint64_t tv_setting_count;

/* "pretrain", "sft", ... */
const char *tv_stage_kind_name(tv_stage_kind stage);
/* The default of one stage: "128", "\"cosine\"", "auto" where model and data decide, "none" where there is
 * none. Fills `text` and returns it. */
const char *tv_setting_default(const tv_setting *setting, tv_stage_kind stage, char *text, size_t size);

#endif
