/* Devices: the list, the choice, the caps; opening and closing stand in trivium/device.h.
 *
 * Promise: only features that are used are enabled, each after it was queried. A device below the floor
 * (Vulkan 1.3, a compute queue, 8 storage buffers per stage, 256 invocations) is refused by name and reason.
 * Device loss is sticky: every later call fails with TV_E_DEVICE_LOST and the same sentence. A tv_device and
 * what is made from it belong to one thread at a time.
 */
#ifndef TV_VK_DEVICE_H
#define TV_VK_DEVICE_H

#include "trivium/device.h"
#include "vk/caps.h"

/* Every Vulkan device of the machine, the refused ones included, as TRIVIUM_CAPS_MAX lowers them. The caller
 * frees *list with free(). No Vulkan at all is TV_E_NO_DEVICE. */
tv_status tv_device_list(tv_caps **list, uint32_t *count);

/* The position in the list of the one that tv_device_open would take. TV_E_NO_DEVICE as there. */
tv_status tv_device_choose(const tv_caps *list, uint32_t count, const char *select, uint32_t *chosen);

/* True with TRIVIUM_SELF_TEST=skip, for drivers without their GPU: what they submit is dropped, so that
 * self-tests would find every feature broken, and no result means anything. */
bool tv_device_self_tests_skipped(void);

/* tv_device_open without a self-test of the tier, which kernels/matrices.h adds. */
tv_status tv_device_open_untested(const tv_device_options *options, tv_device **device);

/* Opens a device to look at what is made for it, not to compute: its compiler's statistics can be read
 * (vk/statistics.h), and nothing that is recorded runs. Work is submitted only where self-tests are skipped,
 * so that the host's time in the driver counts. Nobody waits for what was not; uploads go nowhere, downloads
 * are 0. */
tv_status tv_device_open_hollow(const tv_device_options *options, tv_device **device);

const tv_caps *tv_device_caps(const tv_device *device);
/* Its position in the list. */
uint32_t tv_device_number(const tv_device *device);

/* What a self-test found of a feature that the driver advertises. */
typedef enum tv_verdict { TV_UNTESTED, TV_SOUND, TV_UNSOUND } tv_verdict;
/* Of texel loads, kept here for the device's life; kernels/texels.h finds it. */
tv_verdict *tv_device_texel_verdict(tv_device *device);
/* Likewise of a row's bits at a tier of matrix units; kernels/matrices.h finds it. */
tv_verdict *tv_device_rows_verdict(tv_device *device);

/* In a process that fork made: no device of the other process works here, and the next one that is opened
 * gets an instance of its own. */
void tv_device_forget_inherited(void);

/* Writes the pipeline cache to disk now, not only at closing: a killed run need not compile again. */
void tv_device_save_pipelines(tv_device *device);

/* From here on tv_device_peak_bytes counts anew. */
void tv_device_reset_peak_bytes(tv_device *device);
/* Bytes the driver says are free for us, or the heap's size where it does not say. */
uint64_t tv_device_bytes_available(const tv_device *device);

#endif
