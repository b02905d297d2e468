/* kernels/activation against the oracle. Tolerance: tanh of a GPU is good to a few units in the last place of
 * its argument's scale; 1e-6 absolute and relative is 8 units of fp32. */
#include "support/device.h"

#include <stdlib.h>

#include "kernels/activation.h"
#include "oracle/activation.h"

static void gelu_forward_equals_the_oracle(void **state) {
    tv_device *device = *state;
    const uint64_t counts[] = {1, 7, 255, 256, 257, 70000};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        uint64_t count = counts[c];
        float *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
        double *expected = malloc(count * sizeof *expected);
        tv_test_random(x, count, c);
        for (uint64_t i = 0; i < count; i++)
            x[i] *= 8;
        oracle_gelu_forward(count, x, expected);
        tv_test_tensor in = tv_test_floats(device, count, x), out = tv_test_floats(device, count, NULL);
        tv_recorder *recorder = tv_test_begin(device);
        assert_ok(tv_gelu_forward(recorder, count, in.tensor, out.tensor));
        tv_test_run(device, recorder);
        tv_test_read(&out, y);
        tv_test_compare("gelu", y, expected, count, 1e-6, 1e-6);
        tv_test_free(&in);
        tv_test_free(&out);
        free(x);
        free(y);
        free(expected);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gelu_forward_equals_the_oracle),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
