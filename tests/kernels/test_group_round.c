/* kernels/group_add's rounding against values in double: each element has one right result, so bits are
 * compared. Breaks that were seen to fail: the error's sign flipped, the error dropped, rounding towards 0,
 * ties away from even, the loss scale left out, a skipped update's error applied.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "kernels/group_add.h"
#include "oracle/group_round.h"

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Of many sizes, none so small that a device may flush it or what is lost of it. */
static void make_group(float *group, uint64_t count, uint64_t seed) {
    tv_test_random(group, count, seed);
    for (uint64_t i = 0; i < count; i++)
        group[i] = ldexpf(group[i], (int)((i * 7 + seed) % 80) - 40);
}

static void make_errors(uint16_t *error, uint64_t count, const float *group) {
    for (uint64_t i = 0; i < count; i++)
        error[i] = i % 5 ? tv_float_to_bfloat16(group[(i + 1) % count] * 0x1p-9f) : 0;
}

typedef struct rounding {
    uint64_t count;
    struct tv_update_state state;
    float *group;
    uint16_t *error, *given;
    double *expected, *kept; /* what is given; the next errors */
} rounding;

static rounding make(uint64_t count, struct tv_update_state state) {
    rounding r = {count,
                  state,
                  calloc(count, sizeof *r.group),
                  calloc(count, sizeof *r.error),
                  calloc(count, sizeof *r.given),
                  calloc(count, sizeof *r.expected),
                  calloc(count, sizeof *r.kept)};
    assert_true(r.group && r.error && r.given && r.expected && r.kept);
    return r;
}

static void expect(rounding *r) {
    const double scale = r->state.loss_scale > 0 ? (double)r->state.loss_scale : 1;
    for (uint64_t i = 0; i < r->count; i++) {
        r->kept[i] = r->state.finite ? (double)tv_bfloat16_to_float(r->error[i]) : 0;
        r->expected[i] = oracle_group_round(r->group[i], &r->kept[i], scale);
    }
}

static void compare(const uint16_t *found, const double *expected, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        const double value = (double)tv_bfloat16_to_float(found[i]);
        if (!(value == expected[i] || (isnan(value) && isnan(expected[i]))))
            fail_msg("element %llu: expected %.17g, found %.17g", (unsigned long long)i, expected[i], value);
    }
}

static void compare_sums(const float *found, const float *before, const double *expected, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        const float one = before[i] + (float)expected[i];
        assert_true(found[i] == one || (isnan(found[i]) && isnan(one)));
    }
}

/* Both forms on the device: bf16 for the exchange, then the same into a sum. */
static void run(tv_device *device, rounding *r) {
    float *zeros = calloc(r->count, sizeof *zeros), *out = calloc(r->count, sizeof *out),
          *sum = calloc(r->count, sizeof *sum);
    if (!zeros || !out || !sum)
        abort();
    tv_test_random(sum, r->count, 3);
    expect(r);
    for (int adds = 0; adds < 2; adds++) {
        tv_test_tensor group = tv_test_floats(device, r->count, r->group),
                       error = tv_test_bytes(device, r->count * sizeof *r->error, r->error),
                       state = tv_test_bytes(device, sizeof r->state, &r->state),
                       given = tv_test_bytes(device, r->count * sizeof *r->given, NULL),
                       sums = tv_test_floats(device, r->count, sum);
        uint16_t *errors = calloc(r->count, sizeof *errors);
        assert_non_null(errors);
        const tv_tensor halves = {given.tensor.span, TV_BF16};
        tv_recorder *recorder = tv_test_begin(device);
        assert_ok(tv_group_round(
            recorder, r->count,
            &(tv_group_rounding){
                group.tensor, {error.tensor.span, TV_BF16}, adds ? sums.tensor : halves, state.tensor}));
        if (!adds) /* as where it arrives */
            assert_ok(tv_group_add(recorder, r->count, halves, sums.tensor));
        tv_test_run(device, recorder);
        tv_test_read(&error, errors);
        compare(errors, r->kept, r->count);
        if (!adds) {
            tv_test_read(&given, r->given);
            compare(r->given, r->expected, r->count);
        }
        tv_test_read(&group, out);
        assert_memory_equal(out, zeros, r->count * sizeof *out);
        tv_test_read(&sums, out);
        compare_sums(out, sum, r->expected, r->count);
        if (adds)
            memcpy(r->error, errors, r->count * sizeof *errors);
        tv_test_free(&group);
        tv_test_free(&error);
        tv_test_free(&state);
        tv_test_free(&given);
        tv_test_free(&sums);
        free(errors);
    }
    tv_free_all(zeros, out, sum);
}

static void done(rounding *r) {
    tv_free_all(r->group, r->error, r->given, r->expected, r->kept);
}

static void check(tv_device *device, uint64_t count, struct tv_update_state state) {
    rounding r = make(count, state);
    make_group(r.group, count, count);
    make_errors(r.error, count, r.group);
    run(device, &r);
    done(&r);
}

static void groups_are_rounded_and_errors_kept(void **state) {
    const uint64_t counts[] = {4, 8, 252, 1020, 1024, 1028, 70004};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        check(*state, counts[c], (struct tv_update_state){.finite = 1});
    check(*state, 1028, (struct tv_update_state){.finite = 1, .loss_scale = 65536});
    check(*state, 1028, (struct tv_update_state){.finite = 0, .loss_scale = 2});
}

static void small_limits_round_alike(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=65536,group_count_x=5");
    check(device, 70004, (struct tv_update_state){.finite = 1});
    tv_device_close(&device);
}

/* Halves between two values go to the even one; infinities and NaN pass and leave no error. */
static void ties_and_what_is_no_number(void **state) {
    static const uint32_t bits[] = {0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0xbf808000, 0xbf818000,
                                    0x3fff8000, 0x7f7f7fff, 0x7f7f8000, 0xff7f8000, 0x7f7fffff, 0x7f800000,
                                    0xff800000, 0x7f800001, 0xffc00000, 0x00000000};
    enum { COUNT = sizeof bits / sizeof *bits };
    rounding r = make(COUNT, (struct tv_update_state){.finite = 1});
    for (int i = 0; i < COUNT; i++)
        r.group[i] = float_of(bits[i]);
    run(*state, &r);
    assert_int_equal(r.given[0], 0x3f80);
    assert_int_equal(r.given[1], 0x3f82);
    assert_int_equal(r.error[0], tv_float_to_bfloat16(0x1p-8f));
    assert_int_equal(r.error[1], tv_float_to_bfloat16(-0x1p-8f));
    for (int i = 8; i < COUNT; i++)
        assert_int_equal(r.error[i], 0);
    done(&r);
}

/* Over many steps what was given and what is kept is the sum of what came, but for 2^-18 of each: rounding
 * alone would be off by 2^-9 of each, in the same direction where gradients stay the same. */
static void nothing_is_lost_over_steps(void **state) {
    enum { COUNT = 1024, STEPS = 40 };
    rounding r = make(COUNT, (struct tv_update_state){.finite = 1});
    double *came = calloc(COUNT, sizeof *came), *went = calloc(COUNT, sizeof *went);
    float *same = calloc(COUNT, sizeof *same);
    assert_true(came && went && same);
    tv_test_random(same, COUNT, 9);
    double plain = 0;
    for (int step = 0; step < STEPS; step++) {
        memcpy(r.group, same, COUNT * sizeof *same);
        run(*state, &r);
        for (int i = 0; i < COUNT; i++) {
            came[i] += (double)same[i];
            went[i] += (double)tv_bfloat16_to_float(r.given[i]);
        }
    }
    for (int i = 0; i < COUNT; i++) {
        const double off = fabs(went[i] + (double)tv_bfloat16_to_float(r.error[i]) - came[i]);
        assert_true(off <= STEPS * 0x1p-17 * fabs((double)same[i]));
        plain = fmax(plain, fabs(STEPS * oracle_bfloat16((double)same[i]) - came[i]));
    }
    assert_true(plain > STEPS * 0x1p-10 * 0.5); /* which is what the bound above would notice */
    tv_free_all(came, went, same);
    done(&r);
}

static void other_counts_are_refused(void **state) {
    tv_test_tensor t = tv_test_floats(*state, 8, NULL);
    tv_recorder *recorder = tv_test_begin(*state);
    assert_int_equal(
        tv_group_round(recorder, 6, &(tv_group_rounding){t.tensor, t.tensor, t.tensor, t.tensor}),
        TV_E_USAGE);
    tv_recorder_abort(&recorder);
    tv_test_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_are_rounded_and_errors_kept), cmocka_unit_test(small_limits_round_alike),
        cmocka_unit_test(ties_and_what_is_no_number), cmocka_unit_test(nothing_is_lost_over_steps),
        cmocka_unit_test(other_counts_are_refused)};
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
