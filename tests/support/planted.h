/* Preferences that a rule made, and a small drawn model to learn them, for tests of reward models.
 *
 * An answer is three to five words of sixteen, eight of which people like; of two answers the one with more
 * of them, less the others, is better. Prompts name two things, so that held-out prompts are new while the
 * rule is the same.
 */
#ifndef TV_TESTS_PLANTED_H
#define TV_TESTS_PLANTED_H

#include <stdbool.h>
#include <stdint.h>

#include "model/config.h"

/* A folder: `base` is a language model's directory with a tokenizer of 384 tokens at most, drawn by seed. */
typedef struct tv_planted {
    char *dir, *base;
} tv_planted;
tv_planted tv_planted_create(tv_architecture architecture);
void tv_planted_destroy(tv_planted *planted);

/* `prompts` lines of preferences into a file of the folder; the caller frees its path. `answers` 2: pairs,
 * with "tie" where the rule finds none better and `ties`, else such pairs are not written; more: ranked
 * answers. Prompts are numbered from `first`, up to 4,096; the same number is the same prompt. */
char *tv_planted_preferences(const tv_planted *planted, const char *name, uint64_t first, uint64_t prompts,
                             uint64_t answers, bool ties);

/* Eight pairs whose answers have 1, 2, 4, 7, ... and up to 30 words: micro-batches of few are narrow. */
char *tv_planted_uneven(const tv_planted *planted, const char *name);

/* A reward model with the base's body: its head is the drawn one times `head`, so that 0 zeroes it. The
 * caller frees its path. */
char *tv_planted_reward(const tv_planted *planted, const char *name, float head);

#endif
