/* What a run reads, each input under a name and with a fingerprint, so that a change is noticed on resuming.
 *
 * Promise: two files with one fingerprint are taken for the same, wherever they lie. A file of up to
 * TV_FINGERPRINT_WHOLE bytes is read whole, of a larger one its size and 64 pieces that are spread evenly; a
 * folder is its files' names and contents; of a model's directory it is what a model is made of (config,
 * weights, tokenizer, reward.json), and not what a trainer left beside it. Something that is
 * no file, such as a pipe, has none, and is never found changed.
 */
#ifndef TV_RUN_INPUTS_H
#define TV_RUN_INPUTS_H

#include <stdint.h>

#include "base/hash.h"
#include "base/json.h"

#define TV_FINGERPRINT_WHOLE (UINT64_C(1) << 30)

/* Of a file or folder of data; empty for what is neither. */
tv_status tv_fingerprint(const char *path, char text[TV_HASH_TEXT]);
/* Of a model as a person names it: a directory, or a run, whose best or last checkpoint is meant. */
tv_status tv_fingerprint_model(const char *given, char text[TV_HASH_TEXT]);

typedef struct tv_input {
    char *name; /* "data.train[0]", "model", "reference" */
    char *path; /* as it was given */
    char fingerprint[TV_HASH_TEXT];
} tv_input;

typedef struct tv_inputs {
    tv_input *items; /* owned, with their texts */
    uint64_t count;
} tv_inputs;

tv_status tv_inputs_add(tv_inputs *inputs, const char *name, const char *path);
tv_status tv_inputs_add_model(tv_inputs *inputs, const char *name, const char *given);
/* Puts a copy of `item` (or NULL) in the place of the one with its name. */
tv_status tv_inputs_keep(tv_inputs *inputs, const tv_input *item);
/* NULL: none of this name. */
const tv_input *tv_inputs_find(const tv_inputs *inputs, const char *name);
void tv_inputs_free(tv_inputs *inputs);

/* {"data.train[0]": {"path": ..., "fingerprint": ...}, ...} */
tv_status tv_inputs_tree(const tv_inputs *inputs, cJSON **root);
tv_status tv_inputs_read(const cJSON *root, const char *where, tv_inputs *inputs);

#endif
