/* kernels/attention in the forms of GPUs, with many registers and with few: against the oracle, few shapes,
 * because drivers of CPUs compile them slowly. Tolerances are test_attention.c's. */
#include <stdlib.h>

#include "support/attention_lab.h"

static const char *const forms[] = {"cpu_kernels=0", "cpu_kernels=0,registers=128"};
enum { FORMS = sizeof forms / sizeof *forms };

static void forms_of_gpus_equal_the_oracle(void **state) {
    (void)state;
    for (int i = 0; i < FORMS; i++) {
        tv_device *device = tv_test_open_lowered(forms[i]);
        tv_attention_check(device, &(tv_attention_shape){2, 200, 2, 1, 64, SOME_DOCUMENTS, 0, 0});
        tv_attention_check(device, &(tv_attention_shape){1, 130, 3, 3, 64, NO_DOCUMENTS, 40, 0.3F});
        if (i == 0)
            tv_attention_check(device, &(tv_attention_shape){1, 200, 2, 1, 17, SOME_DOCUMENTS, 70, 0});
        tv_device_close(&device);
    }
}

int main(void) {
    /* lavapipe's: a third less time for compiling what runs once. */
    setenv("GALLIVM_PERF", "nopt", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_of_gpus_equal_the_oracle),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
