/* Devices of the public API.
 *
 * Promise: a tv_device and everything made from it belong to one thread at a time. Opening blocks until the
 * driver is ready; closing waits for the device. Device loss is sticky: every later call fails with
 * TV_E_DEVICE_LOST.
 */
#ifndef TRIVIUM_DEVICE_H
#define TRIVIUM_DEVICE_H

#include <stdint.h>

#include "trivium/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tv_device tv_device;

typedef struct tv_device_options {
    const char
        *select; /* a number as `trivium devices` prints it, or part of a name; NULL: the fastest real GPU */
    const char *tier; /* "fp32", "cm-f16", "cm-bf16"; NULL: the best of a GPU, fp32 on a CPU */
} tv_device_options;

/* The fastest real GPU at its best tier. */
tv_device_options tv_device_default_options(void);

/* `options` may be NULL: the defaults. TV_E_NO_DEVICE says what was found and why each was refused.
 * Cost: the first time on a driver kernels are tested and compiled, which takes seconds; a cache keeps that.
 */
tv_status tv_device_open(const tv_device_options *options, tv_device **device);
/* Accepts NULL and clears the pointer. Destroy what was made from the device first. Blocks: until the device
 * is idle. */
void tv_device_close(tv_device **device);

/* The driver's name of the device; lives as long as it. */
const char *tv_device_name(const tv_device *device);
/* Bytes of device memory allocated now, and at most so far. */
uint64_t tv_device_bytes(const tv_device *device);
uint64_t tv_device_peak_bytes(const tv_device *device);

#ifdef __cplusplus
}
#endif

#endif
