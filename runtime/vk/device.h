/* Devices: the list, the choice, the open device.
 *
 * Promise: only features that are used are enabled, each after it was queried. A device below the floor
 * (Vulkan 1.3, a compute queue, 8 storage buffers per stage, 256 invocations) is refused by name and reason.
 * Device loss is sticky: every later call fails with TV_E_DEVICE_LOST and the same sentence. A tv_device and
 * what is made from it belong to one thread at a time.
 */
#ifndef TV_VK_DEVICE_H
#define TV_VK_DEVICE_H

#include "vk/caps.h"

typedef struct tv_device tv_device;

typedef struct tv_device_options {
    const char *select; /* a number of tv_device_list, or part of a name; NULL: the fastest real GPU */
    const char *tier;   /* "fp32", ...: at most this tier; NULL: the best */
} tv_device_options;

/* Every Vulkan device of the machine, the refused ones included. The caller frees *list with free(). No
 * Vulkan at all is TV_E_NO_DEVICE. */
tv_status tv_device_list(tv_caps **list, uint32_t *count);

/* The position in the list of the one that tv_device_open would take. TV_E_NO_DEVICE as there. */
tv_status tv_device_choose(const tv_caps *list, uint32_t count, const char *select, uint32_t *chosen);

/* Opens one. TV_E_NO_DEVICE says what was found and why each was refused. */
tv_status tv_device_open(const tv_device_options *options, tv_device **device);
void tv_device_close(tv_device **device);

const tv_caps *tv_device_caps(const tv_device *device);
/* Bytes of device memory allocated now, and at most so far. */
uint64_t tv_device_bytes(const tv_device *device);
uint64_t tv_device_peak_bytes(const tv_device *device);
/* Bytes the driver says are free for us, or the heap's size where it does not say. */
uint64_t tv_device_bytes_available(const tv_device *device);

#endif
