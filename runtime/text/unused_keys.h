/* Keys of people's data that nothing reads: counted, and named once for each file.
 *
 * Promise: what a line carries beyond its shape is not dropped in silence. Null, empty texts, lists and
 * objects are not counted: with them nothing is lost. At most TV_MAX_UNUSED_KEYS names are kept; of further
 * ones only their number.
 */
#ifndef TV_TEXT_UNUSED_KEYS_H
#define TV_TEXT_UNUSED_KEYS_H

#include "base/json.h"

enum { TV_MAX_UNUSED_KEYS = 12, TV_MAX_UNUSED_NAME = 47 };

typedef struct tv_unused_key {
    char name[TV_MAX_UNUSED_NAME + 1];
    bool in_list; /* a key of the items of a list, such as messages */
    uint64_t count;
} tv_unused_key;

/* Zero-initialised it is empty. */
typedef struct tv_unused_keys {
    const char *file; /* the caller's; the same pointer for all lines of a file */
    tv_unused_key items[TV_MAX_UNUSED_KEYS];
    uint32_t count;
    uint64_t others;
} tv_unused_keys;

/* Counts what is not among `known`, which ends with NULL, in a line of `file`; what the file before it had is
 * reported first. */
void tv_unused_keys_add(tv_unused_keys *keys, const char *file, const cJSON *line, const char *const *known);
/* The same for each item of a list of the line; anything but a list of objects is passed over. */
void tv_unused_keys_add_items(tv_unused_keys *keys, const cJSON *list, const char *const *known);
/* One warning for what was counted, or nothing; empties it. */
void tv_unused_keys_report(tv_unused_keys *keys);

#endif
