/* The one configuration reader: JSON objects into C structs by a table, and back.
 *
 * Promise: an unknown key is an error that names the nearest known one; a value of the wrong type or out of
 * range says what was expected; what is absent keeps the default that the struct already holds.
 */
#ifndef TV_BASE_CONFIG_H
#define TV_BASE_CONFIG_H

#include <stddef.h>

#include "base/json.h"

typedef enum tv_config_type {
    TV_CONFIG_BOOL,   /* bool */
    TV_CONFIG_UINT,   /* uint64_t in [minimum, maximum] */
    TV_CONFIG_NUMBER, /* double in [minimum, maximum] */
    TV_CONFIG_STRING, /* const char *, points into the tree */
    TV_CONFIG_CHOICE, /* int, the position in `choices` ("cosine|linear|constant") */
    TV_CONFIG_TREE    /* const cJSON *, an object or array that another reader takes; NULL when absent */
} tv_config_type;

typedef struct tv_config_field {
    const char *key;
    tv_config_type type;
    size_t offset; /* into the struct that is filled */
    double minimum, maximum;
    const char *choices;
} tv_config_field;

/* Fills `out` from `object` (NULL: nothing to read). `where` is the path so far, such as "config.json:
 * train". Fails with TV_E_CONFIG. */
tv_status tv_config_read(const cJSON *object, const char *where, const tv_config_field *fields,
                         uint64_t count, void *out);

/* Adds every field of `in` to `object`, as it was resolved. */
tv_status tv_config_write(cJSON *object, const tv_config_field *fields, uint64_t count, const void *in);

/* `--set key=value`: "train.lr=1e-3" sets root.train.lr, creating objects on the way. The value is read as
 * JSON and, where it is none, as a text. Whether the key exists is judged by tv_config_read. */
tv_status tv_config_set(cJSON *root, const char *assignment);

#endif
