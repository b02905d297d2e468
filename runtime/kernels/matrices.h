/* Devices at a tier that they get right: matrix units are advertised by drivers and not right in every one.
 *
 * Promise: a device at a matrix tier has given the right answer to known products in all four transpose
 * forms. The self-test runs at a device's first use, in a process of its own because a driver may crash on
 * it, and its verdict is kept in the user's cache per driver version, tier and build. Whoever fails it is
 * opened at the next lower tier, and a warning says so.
 */
#ifndef TV_KERNELS_MATRICES_H
#define TV_KERNELS_MATRICES_H

#include "vk/device.h"

/* tv_device_open, at the highest tier that is asked for and sound. */
tv_status tv_device_open_sound(const tv_device_options *options, tv_device **device);

/* Whether this device's answer is right; runs in this process. TV_OK with *sound false when it is not. */
tv_status tv_matrices_test(tv_device *device, bool *sound);

#endif
