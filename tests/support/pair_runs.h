/* Short runs on preferences, the pairs of a file, and their log-probabilities by another way than the
 * stage's. */
#ifndef TV_TESTS_PAIR_RUNS_H
#define TV_TESTS_PAIR_RUNS_H

#include "stages/dpo.h"
#include "stages/dpo_pairs.h"
#include "support/stage_run.h"

enum { TV_PAIR_SEQ_LEN = 48 };

/* trivium dpo; `val` may be NULL, further settings end with NULL. */
tv_run_result tv_train_on_pairs(const char *run, const char *model, const char *data, const char *val,
                                const char *const *sets);

typedef struct tv_pair_file {
    tv_tokenizer *tokenizer;
    tv_preferences *set;
    const tv_preference_group **groups; /* of them, those that `pairs` are made of */
    tv_dpo_pairs pairs;
} tv_pair_file;

tv_pair_file tv_pair_file_open(const char *model, const char *data);
/* Each answer by itself, with a mismatched one beside it, as KTO takes them; ties are left out. */
tv_pair_file tv_pair_file_open_examples(const char *model, const char *data);
void tv_pair_file_close(tv_pair_file *file);

/* (pairs, 2): of the chosen and the rejected response of every pair, by the model in `directory`, from the
 * cross-entropy that pretraining uses, a sequence at a time. */
void tv_pair_logprobs(tv_device *device, const char *directory, const tv_dpo_pairs *pairs, double *logprobs);
/* By the model that update `step` of a run (from 0) met: `base`, or the checkpoint of the step before. */
void tv_pair_logprobs_before(tv_device *device, const char *base, const char *run, int step,
                             const tv_dpo_pairs *pairs, double *logprobs);

#endif
