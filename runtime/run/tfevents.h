/* TensorBoard event files: scalars and texts.
 *
 * Promise: what TensorBoard shows for these files is what was written here. The format is TFRecord (length
 * and data, each with a masked CRC32C) around Event protocol buffers (tensorflow/core/util/event.proto and
 * framework/summary.proto); only the few fields below are encoded.
 */
#ifndef TV_RUN_TFEVENTS_H
#define TV_RUN_TFEVENTS_H

#include <stdint.h>

#include "base/status.h"

typedef struct tv_tfevents tv_tfevents;

typedef struct tv_tf_scalar {
    const char *tag; /* "train/loss" */
    double value;    /* stored as a 32-bit float, as TensorBoard does */
} tv_tf_scalar;

/* Creates `directory`/events.out.tfevents.<seconds>.trivium, never over an existing file. With `resumed_step`
 * > 0 the file says that steps after it begin anew, and TensorBoard drops what older files hold beyond it. */
tv_status tv_tfevents_create(const char *directory, uint64_t resumed_step, tv_tfevents **events);

/* One event with all of `scalars`. */
tv_status tv_tfevents_write_scalars(tv_tfevents *events, uint64_t step, const tv_tf_scalar *scalars,
                                    uint64_t count);

/* One event for the text dashboard. */
tv_status tv_tfevents_write_text(tv_tfevents *events, uint64_t step, const char *tag, const char *text);

void tv_tfevents_close(tv_tfevents **events);

/* CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as RFC 3720 defines it. */
uint32_t tv_crc32c(const void *bytes, uint64_t size);

#endif
