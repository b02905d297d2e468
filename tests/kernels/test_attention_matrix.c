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
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "kernels/attention_rows.h"

/* Channels in one part and in two, a multiple of 16 and none; keys and queries of less than a block, of a
 * block, of a bit more; windows and documents that begin and end inside of blocks; groups. Few head sizes: a
 * CPU compiles each for seconds. */
static const tv_attention_shape shapes[] = {
    {1, 1, 1, 1, 20, NO_DOCUMENTS, 0, 0},    {2, 65, 4, 2, 20, SOME_DOCUMENTS, 0, 0},
    {1, 130, 2, 1, 20, NO_DOCUMENTS, 40, 0}, {1, 200, 4, 1, 20, SOME_DOCUMENTS, 70, 0.3F},
    {2, 64, 2, 2, 20, NO_DOCUMENTS, 0, 0},   {1, 131, 2, 1, 80, SOME_DOCUMENTS, 0, 0},
};

static const struct {
    const char *caps;
    tv_tier tier;
    double rounding;
} tiers[] = {{"tier=cm-f16", TV_TIER_CM_F16, 0x1p-11}, {"tier=cm-bf16", TV_TIER_CM_BF16, 0x1p-8}};
enum { TIERS = sizeof tiers / sizeof *tiers };

static void check(tv_device *device, int tier, const tv_attention_shape *shape, tv_dtype dtype) {
    tv_attention_sample x = tv_attention_sample_make(shape, 1);
    assert_true(tv_attention_reads(tv_device_caps(device), shape->head_size, dtype));
    if (dtype != TV_F32)
        tv_attention_sample_narrow(&x, dtype);
    tv_attention_sample_run(device, &x);
    tv_attention_sample_compare(&x, 2 * tiers[tier].rounding);
    tv_attention_sample_free(&x);
}

/* Tensors in fp32, which the kernels round, and in T, which holds what goes in as it is and rounds what comes
 * out by half a u of a value below 4. */
static void matrices_equal_the_oracle(void **state) {
    int ran = 0;
    (void)state;
    for (int i = 0; i < TIERS; i++) {
        tv_device *device = tv_test_open_lowered(tiers[i].caps);
        if (tv_device_caps(device)->tier == tiers[i].tier) {
            ran++;
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
                check(device, i, &shapes[s], TV_F32);
            const tv_attention_shape narrow = {2, 131, 4, 2, 20, SOME_DOCUMENTS, 70, 0};
            check(device, i, &narrow, tv_tier_dtype(tiers[i].tier));
        }
        tv_device_close(&device);
    }
    if (!ran)
        skip();
}

/* One row, 7 and 64 side by side, and all tokens at once (up to 301): keys split among workgroups and not,
 * query heads of one matrix's rows, of two and of more than a workgroup takes at once, windows, a head size
 * of one part and of two, tensors of T and of fp32, which are rounded on their way. */
static const struct {
    tv_attention_shape shape;
    bool narrow;
} decoded[] = {
    {{1, 200, 2, 1, 20, NO_DOCUMENTS, 0, 0}, true}, {{1, 140, 4, 1, 20, NO_DOCUMENTS, 90, 0.3F}, false},
    {{7, 70, 2, 2, 20, NO_DOCUMENTS, 0, 0}, true},  {{64, 3, 4, 2, 20, NO_DOCUMENTS, 0, 0}, true},
    {{1, 70, 10, 1, 20, NO_DOCUMENTS, 0, 0}, true}, {{2, 66, 18, 1, 20, NO_DOCUMENTS, 0, 0}, false},
    {{1, 131, 2, 1, 80, NO_DOCUMENTS, 0, 0}, true},
};

static void decoding_has_the_bits_of_the_forward_pass(void **state) {
    int ran = 0;
    (void)state;
    for (int i = 0; i < 2 * TIERS; i++) {
        const bool split = i % 2;
        char *caps = tv_format("%s%s", tiers[i / 2].caps, split ? ",cpu_kernels=0,compute_units=1" : "");
        tv_device *device = tv_test_open_lowered(caps);
        tv_tier tier = tv_device_caps(device)->tier;
        for (size_t s = 0; tier == tiers[i / 2].tier && s < TV_COUNT(decoded); s++, ran++)
            if (!split || decoded[s].shape.batch == 1)
                tv_attention_check_decode_of(device, &decoded[s].shape,
                                             decoded[s].narrow ? tv_tier_dtype(tier) : TV_F32,
                                             2 * tiers[i / 2].rounding);
        tv_device_close(&device);
        free(caps);
    }
    if (!ran)
        skip();
}

static void the_self_test_finds_the_same_bits(void **state) {
    int ran = 0;
    (void)state;
    for (int i = 0; i < TIERS; i++) {
        tv_device *device = tv_test_open_lowered(tiers[i].caps);
        bool sound = false;
        if (tv_device_caps(device)->tier == tiers[i].tier) {
            ran++;
            assert_ok(tv_attention_rows_test(device, &sound));
            assert_true(sound);
        }
        tv_device_close(&device);
    }
    if (!ran)
        skip();
}

/* Head sizes that registers do not hold, or that no vector of four divides, keep the fp32 kernels, which read
 * fp32. */
static void what_matrices_do_not_take_stays_fp32(void **state) {
    (void)state;
    for (int i = 0; i < TIERS; i++) {
        tv_device *device = tv_test_open_lowered(tiers[i].caps);
        const tv_caps *caps = tv_device_caps(device);
        if (caps->tier == tiers[i].tier) {
            tv_attention_sample x =
                tv_attention_sample_make(&(tv_attention_shape){1, 33, 2, 1, 7, 0, 0, 0}, 1);
            assert_false(tv_attention_reads(caps, 7, tv_tier_dtype(caps->tier)));
            assert_false(tv_attention_reads(caps, 256, tv_tier_dtype(caps->tier)));
            assert_true(tv_attention_reads(caps, 7, TV_F32) && tv_attention_reads(caps, 256, TV_F32));
            tv_attention_sample_run(device, &x);
            tv_attention_sample_compare(&x, 5e-6);
            tv_attention_sample_free(&x);
        }
        tv_device_close(&device);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_equal_the_oracle),
        cmocka_unit_test(decoding_has_the_bits_of_the_forward_pass),
        cmocka_unit_test(the_self_test_finds_the_same_bits),
        cmocka_unit_test(what_matrices_do_not_take_stays_fp32),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
