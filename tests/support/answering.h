/* A small model that answers prompts and ends its answers, for tests of PPO.
 *
 * The base of planted.h is fine-tuned here, in a second or two, on answers of one to three words out of
 * eight, each as likely as another. A reward program counts one of the words, so that an untouched model gets
 * an eighth of the best possible reward.
 */
#ifndef TV_TESTS_ANSWERING_H
#define TV_TESTS_ANSWERING_H

#include "support/planted.h"

enum { TV_ANSWERING_PROMPTS = 32, TV_ANSWERING_WORDS = 8 };

typedef struct tv_answering {
    tv_planted planted;
    char *model;   /* a run of sft */
    char *prompts; /* TV_ANSWERING_PROMPTS prompts of different lengths */
    char *reward;  /* a command: the share of "golden" among an answer's words, 0 to 1 */
} tv_answering;

/* `steps` of fine-tuning; 150 teach the eight words and the end, 40 leave many answers without it. */
tv_answering tv_answering_create(tv_architecture architecture, int steps);
void tv_answering_destroy(tv_answering *place);
/* The path of `name` in the folder; the caller frees. */
char *tv_answering_path(const tv_answering *place, const char *name);

/* The model with its logits `factor` times as large, as a temperature of 1 / factor would have them, in a
 * folder of its own; the caller frees its path. */
char *tv_answering_sharpened(const tv_answering *place, float factor);

/* The model, of GPT-2, with finite weights and no finite numbers from position `first_position` on. */
char *tv_answering_overflowing(const tv_answering *place, uint64_t first_position);

#endif
