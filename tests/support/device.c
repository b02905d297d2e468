/* Device tests: see device.h. */
#include "support/device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "vk/transfer.h"

enum { BAND_BYTES = 256 };
/* A quiet NaN with a recognisable payload: arithmetic that strays into a band shows in results too. */
static const uint32_t band_word = 0x7fc0beefu;

int tv_test_open_device(void **state) {
    tv_device *device = NULL;
    tv_device_options options = {.select = getenv("TRIVIUM_TEST_DEVICE")};
    tv_status status = tv_device_open_untested(&options, &device);
    if (status == TV_E_NO_DEVICE) {
        fprintf(stderr, "skipped: %s\n", tv_last_error());
        exit(TV_TEST_SKIPPED);
    }
    if (status != TV_OK) {
        fprintf(stderr, "%s\n", tv_last_error());
        return 1;
    }
    *state = device;
    return 0;
}

void tv_test_need_device(void) {
    void *device = NULL;
    assert_int_equal(tv_test_open_device(&device), 0);
    tv_test_close_device(&device);
}

int tv_test_need_device_first(void **state) {
    (void)state;
    tv_test_need_device();
    return 0;
}

tv_device *tv_test_open_lowered(const char *caps) {
    tv_device *device = NULL;
    const char *given = getenv("TRIVIUM_CAPS_MAX"); /* such as the tier of a whole run of tests */
    char *before = given ? strdup(given) : NULL, all[256];
    snprintf(all, sizeof all, "%s%s%s", before ? before : "", before ? "," : "", caps);
    assert_int_equal(setenv("TRIVIUM_CAPS_MAX", all, 1), 0);
    assert_ok(
        tv_device_open_untested(&(tv_device_options){.select = getenv("TRIVIUM_TEST_DEVICE")}, &device));
    assert_int_equal(before ? setenv("TRIVIUM_CAPS_MAX", before, 1) : unsetenv("TRIVIUM_CAPS_MAX"), 0);
    free(before);
    return device;
}

double tv_test_rounding(tv_device *device) {
    const double of[TV_TIER_COUNT] = {0, 0x1p-11, 0x1p-8};
    return of[tv_device_caps(device)->tier];
}

int tv_test_close_device(void **state) {
    tv_device *device = *state;
    tv_device_close(&device);
    return 0;
}

static tv_test_tensor make(tv_device *device, uint64_t bytes, tv_dtype dtype, const void *values,
                           uint32_t fill) {
    uint64_t padded = tv_align_up(bytes ? bytes : 4, 4);
    uint64_t words = padded / 4, total = words + 2 * (BAND_BYTES / 4);
    uint32_t *image = malloc(total * 4);
    assert_non_null(image);
    for (uint64_t i = 0; i < total; i++)
        image[i] = i < BAND_BYTES / 4 || i >= BAND_BYTES / 4 + words ? band_word : fill;
    if (values)
        memcpy((char *)image + BAND_BYTES, values, bytes);
    tv_test_tensor result = {.device = device, .count = bytes / tv_dtype_bytes(dtype)};
    assert_ok(tv_buffer_create(device, total * 4, TV_MEMORY_DEVICE, "test tensor", &result.buffer));
    assert_ok(tv_upload(device, tv_buffer_span(result.buffer), image, total * 4));
    result.tensor = (tv_tensor){tv_span_part(tv_buffer_span(result.buffer), BAND_BYTES, padded), dtype};
    free(image);
    return result;
}

tv_test_tensor tv_test_floats(tv_device *device, uint64_t count, const float *values) {
    return make(device, count * sizeof(float), TV_F32, values, 0x7fc00000u);
}

tv_test_tensor tv_test_uints(tv_device *device, uint64_t count, const uint32_t *values) {
    return make(device, count * sizeof(uint32_t), TV_U32, values, 0xaaaaaaaau);
}

tv_test_tensor tv_test_bytes(tv_device *device, uint64_t bytes, const void *values) {
    return make(device, bytes, TV_U32, values, 0);
}

void tv_test_read(const tv_test_tensor *tensor, void *out) {
    uint64_t bytes = tensor->count * tv_dtype_bytes(tensor->tensor.dtype);
    uint64_t words = tensor->tensor.span.bytes / 4, total = words + 2 * (BAND_BYTES / 4);
    uint32_t *image = malloc(total * 4);
    assert_non_null(image);
    assert_ok(tv_download(tensor->device, tv_span_part(tv_buffer_span(tensor->buffer), 0, total * 4), image,
                          total * 4));
    for (uint64_t i = 0; i < BAND_BYTES / 4; i++) {
        if (image[i] != band_word)
            fail_msg("the guard band before a tensor was written at word %llu", (unsigned long long)i);
        if (image[BAND_BYTES / 4 + words + i] != band_word)
            fail_msg("the guard band behind a tensor was written at word %llu", (unsigned long long)i);
    }
    memcpy(out, (char *)image + BAND_BYTES, bytes);
    free(image);
}

void tv_test_free(tv_test_tensor *tensor) {
    tv_buffer_destroy(&tensor->buffer);
    *tensor = (tv_test_tensor){0};
}

tv_recorder *tv_test_begin(tv_device *device) {
    tv_recorder *recorder = NULL;
    assert_ok(tv_recorder_begin(device, &(tv_recorder_options){.name = "test"}, &recorder));
    return recorder;
}

void tv_test_run(tv_device *device, tv_recorder *recorder) {
    tv_recording *recording = NULL;
    uint64_t value = 0;
    assert_ok(tv_recorder_end(&recorder, &recording));
    assert_ok(tv_submit(device, &recording, 1, &value));
    assert_ok(tv_wait(device, value));
    tv_recording_destroy(&recording);
}

void tv_test_random(float *values, uint64_t count, uint64_t seed) {
    tv_rng rng = {.seed = seed, .stream = TV_STREAM_TEST};
    for (uint64_t i = 0; i < count; i++)
        values[i] = 2 * tv_uniform(&rng, i) - 1;
}

void tv_test_compare(const char *what, const float *actual, const double *expected, uint64_t count,
                     double absolute, double relative) {
    for (uint64_t i = 0; i < count; i++) {
        double difference = fabs((double)actual[i] - expected[i]);
        if (!(difference <= absolute + relative * fabs(expected[i])))
            fail_msg("%s[%llu] = %.9g, expected %.9g (difference %.3g)", what, (unsigned long long)i,
                     (double)actual[i], expected[i], difference);
    }
}
