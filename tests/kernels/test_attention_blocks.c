/* kernels/attention in the forms of GPUs, with many registers, some and few: against the oracle, few shapes,
 * because drivers of CPUs compile them slowly. Tolerances are test_attention.c's. */
#include <stdlib.h>
#include <string.h>

#include "support/attention_lab.h"

static const char *const forms[] = {"cpu_kernels=0", "cpu_kernels=0,registers=128",
                                    "cpu_kernels=0,registers=192"};
enum { FORMS = sizeof forms / sizeof *forms, NARROW = 1 };

static void forms_of_gpus_equal_the_oracle(void **state) {
    (void)state;
    /* SwiftShader would take more than ten gigabytes to compile the backward pass of the others. */
    const bool small = getenv("TRIVIUM_TEST_SMALL") != NULL;
    for (int i = small ? NARROW : 0; i <= (small ? NARROW : FORMS - 1); i++) {
        tv_device *device = tv_test_open_lowered(forms[i]);
        tv_attention_check(device, &(tv_attention_shape){2, 200, 2, 1, 64, SOME_DOCUMENTS, 0, 0});
        tv_attention_check(device, &(tv_attention_shape){1, 130, 3, 3, 64, NO_DOCUMENTS, 40, 0.3F});
        if (i == 0)
            tv_attention_check(device, &(tv_attention_shape){1, 200, 2, 1, 17, SOME_DOCUMENTS, 70, 0});
        tv_device_close(&device);
    }
}

/* One row, 7 and 64 side by side, and all tokens at once (301), keys split among workgroups and not: the bits
 * of the forward pass. */
static void decoding_has_the_bits_of_the_forward_pass(void **state) {
    (void)state;
    const char *const caps[] = {"cpu_kernels=0,compute_units=1", "cpu_kernels=0,registers=128"};
    for (int i = 0; i < 2; i++) {
        tv_device *device = tv_test_open_lowered(caps[i]);
        tv_attention_check_decode(device, &(tv_attention_shape){1, 300, 4, 1, 64, NO_DOCUMENTS, 0, 0}, true);
        tv_attention_check_decode(device, &(tv_attention_shape){7, 70, 2, 2, 64, NO_DOCUMENTS, 0, 0}, true);
        tv_attention_check_decode(device, &(tv_attention_shape){64, 3, 2, 1, 64, NO_DOCUMENTS, 0, 0}, true);
        tv_attention_check_decode(device, &(tv_attention_shape){1, 200, 2, 1, 64, NO_DOCUMENTS, 90, 0.3F},
                                  true);
        if (i == 0)
            tv_attention_check_decode(device, &(tv_attention_shape){1, 140, 3, 1, 17, NO_DOCUMENTS, 0, 0},
                                      true);
        tv_device_close(&device);
    }
}

/* The document from token 125 to 185 by itself. */
static void a_document_has_the_bits_of_a_text(void **state) {
    (void)state;
    enum { FIRST = 125, TOKENS = 61, WIDTH = 4 * 64, OUT = 2 * 64 };
    tv_device *device = tv_test_open_lowered(forms[0]);
    tv_attention_sample packed =
        tv_attention_sample_make(&(tv_attention_shape){1, 200, 2, 1, 64, SOME_DOCUMENTS, 0, 0}, 1);
    tv_attention_sample alone =
        tv_attention_sample_make(&(tv_attention_shape){1, TOKENS, 2, 1, 64, NO_DOCUMENTS, 0, 0}, 1);
    assert_int_equal(packed.doc_start[FIRST], FIRST);
    assert_int_equal(packed.doc_start[FIRST + TOKENS - 1], FIRST);
    memcpy(alone.qkv, packed.qkv + FIRST * WIDTH, alone.qkv_count * sizeof(float));
    tv_attention_sample_forward(device, &packed, packed.output);
    tv_attention_sample_forward(device, &alone, alone.output);
    assert_memory_equal(alone.output, packed.output + FIRST * OUT, TOKENS * OUT * sizeof(float));
    tv_attention_sample_free(&packed);
    tv_attention_sample_free(&alone);
    tv_device_close(&device);
}

int main(void) {
    /* lavapipe's: a third less time for compiling what runs once. */
    setenv("GALLIVM_PERF", "nopt", 1);
    /* Vectors of 16 lanes take its compiler three times as long, and these kernels know nothing of lanes. */
    setenv("TRIVIUM_CPU_VECTORS", "driver", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_of_gpus_equal_the_oracle),
        cmocka_unit_test(decoding_has_the_bits_of_the_forward_pass),
        cmocka_unit_test(a_document_has_the_bits_of_a_text),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
