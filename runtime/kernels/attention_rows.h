/* A self-test of matrix tiers (matrices.h): whether attention on matrix units gives a token the same bits in
 * a whole text and in decoding. The order of sums is one (shaders/attention/matrix_order.glsl), but inside a
 * matrix instruction it is the driver's. */
#ifndef TV_KERNELS_ATTENTION_ROWS_H
#define TV_KERNELS_ATTENTION_ROWS_H

#include "vk/device.h"

/* Runs in this process, on a device at a matrix tier. TV_OK with *sound false where bits differ; true where
 * the device does not take these kernels. */
tv_status tv_attention_rows_test(tv_device *device, bool *sound);

#endif
