/* made_with.json: the settings and inputs that a checkpoint was made with, and whether they are still the
 * same.
 *
 * Promise: nothing that decides which example comes next, or what a validation loss is a loss of, changes
 * between a stop and resuming unnoticed: it is refused by name, or taken over on request and said. Settings
 * that only steer the training (rates, lengths, batch sizes) may change at any time, and are said.
 */
#ifndef TV_RUN_MADE_WITH_H
#define TV_RUN_MADE_WITH_H

#include "run/inputs.h"
#include "run/settings.h"

typedef struct tv_made_with {
    cJSON *settings; /* every section in full, without the model */
    tv_inputs inputs;
} tv_made_with;

tv_status tv_made_with_write(const char *checkpoint, const tv_made_with *made);
/* Frees nothing on success; tv_made_with_free does, also after a failure. */
tv_status tv_made_with_read(const char *checkpoint, tv_made_with *made);
void tv_made_with_free(tv_made_with *made);

typedef struct tv_made_with_rules {
    const char *checkpoint; /* for sentences */
    bool own_length;        /* data.seq_len follows from the data */
    bool accept;            /* take over what would be refused */
    bool *other_measure;    /* set where losses of validation can no longer be compared */
} tv_made_with_rules;

/* TV_E_CONFIG names what changed; what is taken over is logged. An input "model" is what a run began from: it
 * is not read again, so `now` may lack it, and another one is never taken over. */
tv_status tv_made_with_compare(const tv_made_with *before, const tv_made_with *now,
                               const tv_made_with_rules *rules);

/* Whether a setting, such as "ppo.kl_coef", has another value than before. */
bool tv_made_with_setting_changed(const tv_made_with *before, const tv_made_with *now, const char *section,
                                  const char *key);

#endif
