/* Parts of config.json that several families share: local layers and rotary positions; and what reading and
 * checking them needs. For config*.c alone.
 *
 * Each part knows its keys, reads them, checks what was read or made in code, and writes them.
 */
#ifndef TV_MODEL_CONFIG_KEYS_H
#define TV_MODEL_CONFIG_KEYS_H

#include "model/families.h"

/* The JSON getters speak of data; a wrong value here is a wrong configuration. */
static inline tv_status tv_as_config(tv_status status) {
    return status == TV_E_DATA ? TV_E_CONFIG : status;
}

static inline uint64_t *tv_size_slot(tv_model_config *config, const tv_size_key *size) {
    return (uint64_t *)((char *)config + size->offset);
}

static inline tv_status tv_check_range(const char *where, const char *key, double value, double above,
                                       double maximum) {
    if (!(value > above && value <= maximum))
        return tv_fail(TV_E_CONFIG, "%s: expected \"%s\" above %g and at most %g, found %g", where, key,
                       above, maximum, value);
    return TV_OK;
}

/* Keys that a family's files may hold; the number of them. */
enum { TV_PART_KEYS = 8 };
uint64_t tv_window_keys(const tv_family *family, const char *keys[TV_PART_KEYS]);
uint64_t tv_rotary_keys(const tv_family *family, const char *keys[TV_PART_KEYS]);

/* `config` has its sizes. */
tv_status tv_window_read(const cJSON *root, const char *where, const tv_family *family,
                         tv_model_config *config);
tv_status tv_rotary_read(const cJSON *root, const char *where, const tv_family *family,
                         tv_model_config *config);

tv_status tv_window_check(const tv_model_config *config, const char *where);
tv_status tv_rotary_check(const tv_model_config *config, const char *where);

bool tv_rotary_same(const tv_rotary_scaling *a, const tv_rotary_scaling *b);

/* False when memory is out. */
bool tv_window_write(cJSON *root, const tv_family *family, const tv_model_config *config);
bool tv_rotary_write(cJSON *root, const tv_family *family, const tv_model_config *config);

#endif
