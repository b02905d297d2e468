/* Submitting recordings: one timeline per device.
 *
 * Promise: recordings run in the order of submission; each submission reaches a timeline value that the host
 * can poll or wait for. A timeline that stands still for TRIVIUM_DEVICE_TIMEOUT seconds (default 120; CPU
 * devices: none) while somebody waits counts as a lost device. On loss the sentence names the last completed
 * recording. What is submitted together and takes less than a submission may (recorder.h) is one for the
 * driver, up to a cut: its values are reached at once.
 */
#ifndef TV_VK_SUBMIT_H
#define TV_VK_SUBMIT_H

#include "vk/recorder.h"

/* Submits the recordings in order. *value is reached when all are done. A recording without `simultaneous`
 * must have finished its last run. */
tv_status tv_submit(tv_device *device, tv_recording *const *recordings, uint32_t count, uint64_t *value);
/* Reached when the last submission of the recording has come to its cut number `cut`. */
uint64_t tv_recording_cut_value(const tv_recording *recording, uint32_t cut);
/* Sums over everything that was submitted, as often as it was. */
typedef struct tv_submitted {
    uint64_t dispatches, barriers, command_buffers;
} tv_submitted;
tv_submitted tv_submitted_so_far(const tv_device *device);
/* Value 0 is always reached. */
tv_status tv_wait(tv_device *device, uint64_t value);
/* Seconds that the host has spent in tv_wait: the device works meanwhile, so of a stretch of time this is the
 * least that it was busy. */
double tv_waited_seconds(const tv_device *device);
/* Waits for everything submitted. */
tv_status tv_wait_idle(tv_device *device);

#endif
