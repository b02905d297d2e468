/* Device tests: one open device, tensors between guard bands, one call to run what was recorded.
 *
 * Every tensor lies at a nonzero offset between two bands of a pattern; outputs start as NaN. tv_test_read
 * fails the test when a band was touched, so writes past the end are found.
 */
#ifndef TV_TESTS_DEVICE_H
#define TV_TESTS_DEVICE_H

#include "support/support.h"

#include "kernels/launch.h"
#include "vk/submit.h"

/* Group set-up and tear-down for cmocka: opens the device into *state. Without a usable device the program
 * ends with TV_TEST_SKIPPED. */
int tv_test_open_device(void **state);
/* For tests of commands, which open it themselves: ends the program likewise. The second as a group's set-up.
 */
void tv_test_need_device(void);
int tv_test_need_device_first(void **state);
int tv_test_close_device(void **state);
/* A second device with lower limits, in the syntax of TRIVIUM_CAPS_MAX, after those that the environment has;
 * the caller closes it with tv_device_close. */
tv_device *tv_test_open_lowered(const char *caps);

/* What operands of the tier's matrix units are off by at most, relative: 0 at fp32, 2^-11 for f16, 2^-8 for
 * bf16. */
double tv_test_rounding(tv_device *device);

typedef struct tv_test_tensor {
    tv_device *device;
    tv_buffer *buffer;
    tv_tensor tensor;
    uint64_t count;
} tv_test_tensor;

/* `values` NULL: filled with NaN (floats) or 0xAAAAAAAA (integers). Destroy with tv_test_free. */
tv_test_tensor tv_test_floats(tv_device *device, uint64_t count, const float *values);
tv_test_tensor tv_test_uints(tv_device *device, uint64_t count, const uint32_t *values);
/* A tensor of raw bytes, for structures. */
tv_test_tensor tv_test_bytes(tv_device *device, uint64_t bytes, const void *values);
/* Copies the content out after checking both bands. */
void tv_test_read(const tv_test_tensor *tensor, void *out);
void tv_test_free(tv_test_tensor *tensor);

tv_recorder *tv_test_begin(tv_device *device);
/* Ends, submits, waits, destroys. */
void tv_test_run(tv_device *device, tv_recorder *recorder);

/* Uniform in [-1, 1), reproducible. */
void tv_test_random(float *values, uint64_t count, uint64_t seed);

/* Fails unless every |actual - expected| <= absolute + relative * |expected|; NaN fails. */
void tv_test_compare(const char *what, const float *actual, const double *expected, uint64_t count,
                     double absolute, double relative);

#endif
