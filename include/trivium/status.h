/* Status codes and the sentence that goes with a failure.
 *
 * Promise: every fallible function of trivium returns a tv_status; TV_OK is 0 and the values below never
 * change meaning. After a failure tv_last_error() gives one sentence for a person: what was expected, what
 * was found, where, and what to do. The sentence belongs to the calling thread and lasts until its next
 * failure.
 */
#ifndef TRIVIUM_STATUS_H
#define TRIVIUM_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tv_status {
    TV_OK = 0,
    TV_E_IO = 1,          /* the operating system refused a file or a write */
    TV_E_MEMORY = 2,      /* host memory */
    TV_E_DEVICE = 3,      /* a Vulkan call failed */
    TV_E_DEVICE_LOST = 4, /* the device stopped answering; sticky for the device */
    TV_E_NO_DEVICE = 5,   /* no device meets the floor */
    TV_E_USAGE = 6,       /* a command line or a call with wrong arguments */
    TV_E_CONFIG = 7,      /* a configuration key or value */
    TV_E_DATA = 8,        /* the content of an input file */
    TV_E_FIT = 9,      /* a model or batch that does not fit the device; data of which nothing fits a row */
    TV_E_NUMERIC = 10, /* too many non-finite gradients in a row */
    TV_E_INTERRUPTED = 11 /* stopped by the user, after saving */
} tv_status;

/* The sentence of the calling thread's last failure; "" before any. Never NULL. */
const char *tv_last_error(void);

/* The constant's name, for logs: "TV_E_DATA". Never NULL. */
const char *tv_status_name(tv_status status);

#ifdef __cplusplus
}
#endif

#endif
