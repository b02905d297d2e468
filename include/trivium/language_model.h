/* A language model on a device: create or load, train, measure, generate, save.
 *
 * Promise: shapes, units and ownership stand at each function; sizes are checked, and a mistake is a status
 * with a sentence. Batches and token ids are the caller's arrays, copied before a call returns. All calls
 * block until the device is done. For whole runs with schedules, checkpoints and data on disk use `trivium
 * pretrain`.
 */
#ifndef TRIVIUM_LANGUAGE_MODEL_H
#define TRIVIUM_LANGUAGE_MODEL_H

#include <stdint.h>

#include "trivium/device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tv_language_model tv_language_model;

/* A target that counts for nothing. */
#define TV_NO_TARGET UINT32_MAX

/* From the text of a Hugging Face config.json (or only its architecture and sizes), with parameters drawn
 * from `seed`; or from a model directory (config.json, model.safetensors). The device must outlive the model.
 */
tv_status tv_language_model_create(tv_device *device, const char *config_json, uint64_t seed,
                                   tv_language_model **model);
tv_status tv_language_model_load(tv_device *device, const char *directory, tv_language_model **model);
/* Writes config.json and model.safetensors into `directory`, which is made when missing. */
tv_status tv_language_model_save(tv_language_model *model, const char *directory);
void tv_language_model_destroy(tv_language_model **model);

uint64_t tv_language_model_parameters(const tv_language_model *model);
uint64_t tv_language_model_vocab(const tv_language_model *model);

/* AdamW's settings of one step. */
typedef struct tv_adamw_settings {
    double lr, weight_decay, beta1, beta2, eps;
    double grad_clip; /* norm; 0: none */
} tv_adamw_settings;

/* One AdamW step on `tokens` and `targets`, each (batch, length) row by row, a target being the token that
 * follows. The first call fixes (batch, length). *loss is the mean over valid targets in nats, *grad_norm the
 * norm before clipping; either may be NULL. */
tv_status tv_language_model_step(tv_language_model *model, uint64_t batch, uint64_t length,
                                 const uint32_t *tokens, const uint32_t *targets,
                                 const tv_adamw_settings *settings, double *loss, double *grad_norm);

/* The loss alone, nothing changed; (batch, length) as above. */
tv_status tv_language_model_loss(tv_language_model *model, uint64_t batch, uint64_t length,
                                 const uint32_t *tokens, const uint32_t *targets, double *loss);

/* How tokens are drawn. */
typedef struct tv_generate_settings {
    uint64_t max_new;   /* tokens at most */
    double temperature; /* 0: greedy */
    uint64_t top_k;     /* 0: all */
    double top_p;       /* 1: all */
    uint64_t seed;
} tv_generate_settings;

/* Continues `prompt` (at least one id). Writes at most max_new ids into `tokens` and their number into
 * *count; the model's end token ends the text and is included. */
tv_status tv_language_model_generate(tv_language_model *model, const uint32_t *prompt, uint64_t prompt_length,
                                     const tv_generate_settings *settings, uint32_t *tokens, uint64_t *count);

#ifdef __cplusplus
}
#endif

#endif
