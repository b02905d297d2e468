/* Devices at a tier that they get right: matrix units are advertised by drivers and not right in every one.
 *
 * Promise: what tv_device_open gives (trivium/device.h) at a matrix tier has answered known products right,
 * in all four transpose forms, by every kernel that a product may take and from operands that lie in fours
 * and that do not (verdict.h). Whoever fails is opened at the next lower tier. Whose kernels give a row other
 * bits than each other, which inside a matrix instruction is the driver's to decide, keeps the tier, and the
 * log says so; likewise where attention's kernels differ (attention_rows.h). Who relies on the same bits asks
 * tv_rows_have_one_order.
 */
#ifndef TV_KERNELS_MATRICES_H
#define TV_KERNELS_MATRICES_H

#include "vk/device.h"

/* Whether this device's answers are right; runs in this process. TV_OK with *sound false when they are not.
 */
tv_status tv_matrices_test(tv_device *device, bool *sound);

/* Likewise whether its tiles and its kernel of few rows give a row the same bits. */
tv_status tv_matrix_rows_test(tv_device *device, bool *sound);

/* False at a matrix tier where a self-test found that a row's bits depend on what is beside it, or where none
 * was made. */
bool tv_rows_have_one_order(tv_device *device);

#endif
