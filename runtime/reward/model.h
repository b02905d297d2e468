/* A reward model as a directory: a model with a score head, its tokenizer, and the scale of its scores.
 *
 * Promise: what is no reward model is refused in one sentence before a device is taken. Scores have no zero
 * and no unit of their own; reward.json beside the weights says where the scores of reference samples lie,
 * and a normalised score is one in their deviations from their mean. Prompt and response become tokens here
 * as in the preference data that the model learned from (text/prompts.h).
 */
#ifndef TV_REWARD_MODEL_H
#define TV_REWARD_MODEL_H

#include "formats/directory.h"
#include "model/model.h"
#include "reward/score_texts.h"
#include "run/settings.h"
#include "text/prompts.h"

/* reward.json: {"mean":, "deviation":, "samples":}. */
typedef struct tv_reward_scale {
    double mean, deviation; /* of the raw scores of the samples; the population's deviation */
    uint64_t samples;       /* 0: there is no reward.json, and scores stay as they are */
} tv_reward_scale;

/* A directory without reward.json, as other programs write it, gives mean 0 and deviation 1. */
tv_status tv_reward_scale_read(const char *directory, tv_reward_scale *scale);
tv_status tv_reward_scale_write(const char *directory, const tv_reward_scale *scale);
/* From `count` scores. */
tv_reward_scale tv_reward_scale_of(const float *scores, uint64_t count);
/* Scores that do not differ are only moved: a deviation of 0 divides nothing. */
double tv_reward_normalise(const tv_reward_scale *scale, double score);

typedef struct tv_reward_model {
    char *path; /* of the model directory */
    tv_model_directory *directory;
    tv_parameter_list *stored; /* NULL: as published */
    tv_tokenizer *tokenizer;
    tv_reward_scale scale;
    tv_model *model; /* after tv_reward_model_load; without gradients */
    tv_prompt_encoder encoder;
} tv_reward_model;

/* `given` is a model directory, or a run, whose best or last checkpoint is meant; `adapter` (NULL: none) lies
 * over it. On failure nothing is left
 * open. */
tv_status tv_reward_model_open(const char *given, const char *adapter, tv_reward_model *reward);
/* From here on its matrices are held as `weights` says, but for TV_WEIGHTS_AUTO. */
tv_status tv_reward_model_store(tv_reward_model *reward, tv_weights weights);
/* Of its parameters in memory. */
const tv_parameter_list *tv_reward_model_list(const tv_reward_model *reward);
/* With `store` (NULL: none) over that model's base. */
tv_status tv_reward_model_load(tv_reward_model *reward, tv_device *device, const tv_model *store);
void tv_reward_model_close(tv_reward_model *reward);

/* Whether ids of `tokenizer` mean the same to the reward model; otherwise it is fed text. */
bool tv_reward_model_same_tokenizer(const tv_reward_model *reward, const tv_tokenizer *tokenizer);

/* Appends its tokens to `ids`, which the caller frees. TV_E_DATA when the prompt is neither, or nothing is
 * left to read a score at. */
tv_status tv_reward_model_encode(tv_reward_model *reward, const tv_reward_text *text, tv_ids *ids);

#endif
