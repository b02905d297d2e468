/* Time on the device.
 *
 * Promise: after a recording has run, its ends can be read; a profiling recording also gives every dispatch.
 * Where the device has no timestamps, or never delivers them (drivers without their GPU), the times are NaN.
 */
#ifndef TV_VK_TIMESTAMPS_H
#define TV_VK_TIMESTAMPS_H

#include "vk/recorder.h"

typedef struct tv_dispatch_time {
    const char *program; /* the table's name */
    const char *label;   /* "layer 3/attention/attention_forward.base 8x128x64" */
    const char *shape;
    double begin; /* seconds by the device's clock, which starts anywhere */
    double milliseconds, flops, bytes;
} tv_dispatch_time;

/* From the first to the last command of the last finished run. */
tv_status tv_recording_milliseconds(tv_recording *recording, double *milliseconds);

/* The same ends in seconds by the device's clock, which starts anywhere. */
tv_status tv_recording_ends(tv_recording *recording, double *begin, double *end);

/* The dispatches of a profiling recording's last finished run, in order. The caller frees *times with free();
 * texts belong to the recording. */
tv_status tv_recording_profile(tv_recording *recording, tv_dispatch_time **times, uint32_t *count);

#endif
