/* Texts in, scores out: a reward model's directory on a device for one call.
 *
 * For commands that have nothing else to do there; a stage that scores again and again keeps a reward/model.h
 * and a scorer.h. Knows no Vulkan type, so that what people judge (human/) can be scored too.
 */
#ifndef TV_REWARD_SCORE_TEXTS_H
#define TV_REWARD_SCORE_TEXTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* A response to a prompt, as text. */
typedef struct tv_reward_text {
    const char *prompt;   /* JSON: a text, or a list of messages; as in tv_prompt */
    const void *response; /* bytes */
    uint64_t length;
    bool ended; /* with the end token; false for a response that was cut at a limit */
} tv_reward_text;

typedef struct tv_score_texts_options {
    const char *model;         /* a reward model's directory, or a run */
    const char *device, *tier; /* as in tv_device_options */
} tv_score_texts_options;

/* Raw scores; NaN where the model has no positions for prompt and response. */
tv_status tv_score_texts(const tv_score_texts_options *options, const tv_reward_text *texts, uint64_t count,
                         float *scores);

#endif
