/* A trace: what host and device did from one moment to another, for Perfetto and chrome://tracing.
 *
 * Promise: a file in the Trace Event Format, of complete events ("ph": "X") in microseconds, that per track
 * nest or follow each other. Tracks: the host's work, submissions and waits; the recordings that the device
 * ran; the kernels of those that were recorded for profiling, in the order in which they ran. Both clocks run
 * at their own rate; the device's is placed so that no recording begins before it was submitted. Needs a
 * device with timestamps; without them the device's tracks are empty.
 */
#ifndef TV_VK_TRACE_H
#define TV_VK_TRACE_H

#include "vk/recorder.h"

/* One trace of a device at a time. */
tv_status tv_trace_begin(tv_device *device);
/* Waits for the last run of a recording and keeps its times. Whoever submits a recording again while a trace
 * may be taken calls it before, or that run is missing. Nothing without a trace, or for a run that is kept
 * already. */
tv_status tv_trace_collect(tv_recording *recording);
/* Collects what is left and writes the file, under a name that a person gave. The trace is over also on
 * failure. */
tv_status tv_trace_end(tv_device *device, const char *path);

#endif
