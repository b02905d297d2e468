/* Reading gzip and zstd data that lies in memory, in chunks.
 *
 * Promise: several members or frames in a row are read as one; data that is cut short or damaged is TV_E_DATA
 * with the name. What is neither format is not touched.
 */
#ifndef TV_TEXT_INFLATE_H
#define TV_TEXT_INFLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* By its first bytes. */
bool tv_is_compressed(const uint8_t *bytes, uint64_t size);

typedef struct tv_inflater tv_inflater;
/* `bytes` and `name` (for sentences) must outlive it. */
tv_status tv_inflater_create(const uint8_t *bytes, uint64_t size, const char *name, tv_inflater **inflater);
void tv_inflater_destroy(tv_inflater **inflater);
/* Writes up to `capacity` bytes; *got is 0 at the end. */
tv_status tv_inflater_read(tv_inflater *inflater, uint8_t *out, uint64_t capacity, uint64_t *got);

#endif
