/* A language model on a device: create or load, train, measure, generate, save.
 *
 * Promise: shapes, units and ownership stand at each function; sizes are checked, and a mistake is a status
 * with a sentence. Batches and token ids are the caller's arrays, copied before a call returns. A model
 * belongs to the thread of its device. Every call that works on the device blocks until that is done. For
 * whole runs with schedules, checkpoints and data on disk use `trivium pretrain`.
 */
#ifndef TRIVIUM_LANGUAGE_MODEL_H
#define TRIVIUM_LANGUAGE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "trivium/device.h"
#include "trivium/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tv_language_model tv_language_model;

/* A target that counts for nothing. */
#define TV_NO_TARGET UINT32_MAX

typedef struct tv_language_model_options {
    bool train; /* with room for gradients and moments, which takes four times the memory; false: the model is
                   read and measured, and no step is possible */
} tv_language_model_options;
/* Without training. */
tv_language_model_options tv_language_model_default_options(void);

/* From the text of a Hugging Face config.json (or only its architecture and sizes), with parameters drawn
 * from `seed`; or from a model directory (config.json, model.safetensors). `options` may be NULL: the
 * defaults. The device must outlive the model. TV_E_FIT for what does not fit the device.
 * Cost: reads and uploads the weights. */
tv_status tv_language_model_create(tv_device *device, const char *config_json, uint64_t seed,
                                   const tv_language_model_options *options, tv_language_model **model);
tv_status tv_language_model_load(tv_device *device, const char *directory,
                                 const tv_language_model_options *options, tv_language_model **model);
/* Writes config.json and model.safetensors into `directory`, which is made when missing. Until it returns,
 * the directory may hold half of them. */
tv_status tv_language_model_save(tv_language_model *model, const char *directory);
/* Accepts NULL and clears the pointer. */
void tv_language_model_destroy(tv_language_model **model);

uint64_t tv_language_model_parameters(const tv_language_model *model);
uint64_t tv_language_model_vocab(const tv_language_model *model);
/* Tokens of the longest sequence. */
uint64_t tv_language_model_positions(const tv_language_model *model);

/* ---- training ---- */

/* AdamW's settings of one step. */
typedef struct tv_adamw_settings {
    double lr, weight_decay, beta1, beta2, eps;
    double grad_clip; /* norm; 0: none */
} tv_adamw_settings;
/* lr 6e-4, weight decay 0.1, betas 0.9 and 0.95, eps 1e-8, clipped at norm 1. */
tv_adamw_settings tv_adamw_default_settings(void);

/* One AdamW step on `tokens` and `targets`, each (batch, length) row by row, a target being the token that
 * follows. *loss is the mean over valid targets in nats, *grad_norm the norm before clipping; either may be
 * NULL. `settings` may be NULL: the defaults. An update whose gradient is not finite changes nothing.
 * TV_E_USAGE for a model without training.
 * Cost: the first call, and each with another (batch, length) than the one before, plans and records the
 * step, and may compile kernels. */
tv_status tv_language_model_step(tv_language_model *model, uint64_t batch, uint64_t length,
                                 const uint32_t *tokens, const uint32_t *targets,
                                 const tv_adamw_settings *settings, double *loss, double *grad_norm);

/* The loss alone, nothing changed; (batch, length) and the cost of the first call as above. */
tv_status tv_language_model_loss(tv_language_model *model, uint64_t batch, uint64_t length,
                                 const uint32_t *tokens, const uint32_t *targets, double *loss);

/* Writes a checkpoint as `trivium pretrain` does: what tv_language_model_save writes, AdamW's moments and
 * counters, and the checksums of all files. `directory` must not exist; it appears whole or not at all. */
tv_status tv_language_model_save_training(tv_language_model *model, const char *directory);
/* Weights, moments and counters from such a checkpoint into a model with training of the same config: the
 * next step is the one that would have followed, bit for bit. Damaged files are TV_E_DATA; a failure leaves
 * the model in a state that only another load mends. */
tv_status tv_language_model_load_training(tv_language_model *model, const char *directory);

/* ---- inference ---- */

/* logits (vocab) of the token that follows `tokens` (at least one id, below the model's positions).
 * Cost: what `tokens` share with the text of the call before, of this or of tv_language_model_generate, is
 * not computed again, as long as no step came between: one token more costs one token. */
tv_status tv_language_model_logits(tv_language_model *model, const uint32_t *tokens, uint64_t length,
                                   float *logits);

/* logits (length, vocab) of the token that follows each of `tokens` and those before it, from one pass over
 * all; length from 1 to the model's positions. TV_E_FIT where they are more than the device holds at once.
 * Cost: 4 length vocab bytes on the device besides the pass, kept until another length is asked for; the
 * first call with a length records the pass. */
tv_status tv_language_model_all_logits(tv_language_model *model, const uint32_t *tokens, uint64_t length,
                                       float *logits);

/* Gets each new token as it is drawn, the end token too; false stops the text behind it. It must not call
 * functions of the same model. */
typedef bool (*tv_token_callback)(void *context, uint32_t token);

/* How tokens are drawn. */
typedef struct tv_generate_settings {
    uint64_t max_new;   /* tokens at most */
    double temperature; /* 0: greedy */
    uint64_t top_k;     /* 0: all */
    double top_p;       /* 1: all */
    uint64_t seed;
    /* Whose end tokens end the text besides the model's own; may be NULL. */
    const tv_tokenizer *tokenizer;
    const tv_chat_template *chat;
    tv_token_callback callback; /* NULL: none */
    void *context;
} tv_generate_settings;
/* 128 tokens, temperature 0.8, all tokens, seed 1. */
tv_generate_settings tv_generate_default_settings(void);

/* Continues `prompt` (at least one id, below the model's positions). Writes at most max_new ids into `tokens`
 * and their number into *count; an end token ends the text and is included. `settings` may be NULL: the
 * defaults, and `tokens` takes 128.
 * Cost: as tv_language_model_logits; a prompt that goes on from the last call's text, as the turns of a
 * conversation do, is read from where it differs. With a callback the host looks ten times a second. */
tv_status tv_language_model_generate(tv_language_model *model, const uint32_t *prompt, uint64_t prompt_length,
                                     const tv_generate_settings *settings, uint32_t *tokens, uint64_t *count);

enum { TV_MAX_ENDS = 8 };
/* The tokens that end a text of the model, as tv_language_model_generate takes them: writes them into `ends`
 * and returns their number. `tokenizer` and `chat` may be NULL. For programs that draw from logits. */
uint32_t tv_language_model_ends(const tv_language_model *model, const tv_tokenizer *tokenizer,
                                const tv_chat_template *chat, uint32_t ends[TV_MAX_ENDS]);

#ifdef __cplusplus
}
#endif

#endif
