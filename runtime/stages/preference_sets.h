/* The preferences of a run, in training and validation: read, split by prompt, said in the log.
 *
 * Promise: data.val, or the share data.val_fraction of the training data's prompts, is held out; what one
 * prompt has lies on one side. What was left out, and why, stands in the log.
 */
#ifndef TV_STAGES_PREFERENCE_SETS_H
#define TV_STAGES_PREFERENCE_SETS_H

#include "run/settings.h"
#include "text/preferences.h"

/* Groups of one side of the split; they belong to the sets. */
typedef struct tv_preference_list {
    const tv_preference_group **items;
    uint64_t count;
} tv_preference_list;

typedef struct tv_preference_sets {
    tv_preferences *sets[2]; /* data.train, data.val */
    tv_preference_list train, val;
    uint64_t longest;  /* tokens of the longest response with its prompt */
    uint64_t most;     /* responses of the largest group */
    uint64_t left_out; /* groups: too long, twice the same answer, or without one that is better */
} tv_preference_sets;

/* `max_tokens` as in text/preferences.h. `is_useful` says whether a group is kept. No group left to train on
 * is TV_E_DATA. Free also after a failure. */
typedef bool (*tv_preference_filter)(const void *context, const tv_preference_group *group);
tv_status tv_preference_sets_open(const tv_run_settings *settings, tv_tokenizer *tokenizer,
                                  uint64_t max_tokens, tv_preference_filter is_useful, const void *context,
                                  tv_preference_sets *sets);
void tv_preference_sets_free(tv_preference_sets *sets);

#endif
