/* kernels/attention on matrix units against the oracle, in each tier that the device has.
 *
 * Tolerance, with u the tier's rounding, 2^-11 of f16 and 2^-8 of bf16: q, k, v and d_output lie in [-1, 1)
 * and are rounded to T, so that a product of a score carries 2 u of itself at most, (1/3) u as a rule, and
 * the scaled score, 1/sqrt(D) times a sum of D of them, as much; the probabilities carry it as a relative
 * error and are rounded themselves, like v: an output, which is a mean of values below 1, is within 2 u. lse
 * likewise. Gradients of keys sum up to T such rows: four times that.
 */
#include "support/attention_lab.h"

#include <stdio.h>
#include <string.h>

/* Channels in one part and in two, a multiple of 16 and none; keys and queries of less than a block, of a
 * block, of a bit more; windows and documents that begin and end inside of blocks; groups. Few head sizes: a
 * CPU compiles each for seconds. */
static const tv_attention_shape shapes[] = {
    {1, 1, 1, 1, 20, NO_DOCUMENTS, 0, 0},    {2, 65, 4, 2, 20, SOME_DOCUMENTS, 0, 0},
    {1, 130, 2, 1, 20, NO_DOCUMENTS, 40, 0}, {1, 200, 4, 1, 20, SOME_DOCUMENTS, 70, 0.3F},
    {2, 64, 2, 2, 20, NO_DOCUMENTS, 0, 0},   {1, 131, 2, 1, 80, SOME_DOCUMENTS, 0, 0},
};

static void matrices_equal_the_oracle(void **state) {
    static const struct {
        const char *caps;
        tv_tier tier;
        double rounding;
    } tiers[] = {{"tier=cm-f16", TV_TIER_CM_F16, 0x1p-11}, {"tier=cm-bf16", TV_TIER_CM_BF16, 0x1p-8}};
    int ran = 0;
    (void)state;
    for (size_t i = 0; i < sizeof tiers / sizeof *tiers; i++) {
        tv_device *device = tv_test_open_lowered(tiers[i].caps);
        if (tv_device_caps(device)->tier == tiers[i].tier) {
            ran++;
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
                tv_attention_sample x = tv_attention_sample_make(&shapes[s], 1);
                assert_true(tv_attention_reads(tv_device_caps(device), shapes[s].head_size,
                                               tv_tier_dtype(tiers[i].tier)));
                tv_attention_sample_run(device, &x);
                tv_attention_sample_compare(&x, 2 * tiers[i].rounding);
                tv_attention_sample_free(&x);
            }
        }
        tv_device_close(&device);
    }
    if (!ran)
        skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_equal_the_oracle),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
