/* run/schedule against values worked out by hand: lr 1, min_lr 0.1, 10 steps of warm-up, 110 in all, so
 * that p = (step - 10) / 100. Tolerance: a handful of double roundings near 1, 1e-15 each. */
#include "support/support.h"

#include "run/schedule.h"

static const tv_train_settings base = {.lr = 1, .min_lr = 0.1, .warmup_steps = 10};

static void check(int schedule, uint64_t step, double expected) {
    tv_train_settings train = base;
    train.schedule = schedule;
    assert_near(tv_schedule_lr(&train, step, 110), expected, 1e-14);
}

static void warm_up_ends_at_the_peak(void **state) {
    (void)state;
    for (int schedule = 0; schedule < 4; schedule++) {
        check(schedule, 0, 0.1);
        check(schedule, 4, 0.5);
        check(schedule, 9, 1);
        check(schedule, 10, 1);
    }
}

static void decay_follows_the_formulas(void **state) {
    (void)state;
    /* cos(pi/3) = 1/2: 0.1 + 0.9 * 0.75; cos(pi/2) = 0; the schedule's end; beyond it. */
    tv_train_settings train = base;
    train.schedule = TV_SCHEDULE_COSINE;
    assert_near(tv_schedule_lr(&train, 30, 70), 0.775, 1e-14);
    check(TV_SCHEDULE_COSINE, 60, 0.55);
    check(TV_SCHEDULE_COSINE, 110, 0.1);
    check(TV_SCHEDULE_COSINE, 5000, 0.1);
    check(TV_SCHEDULE_LINEAR, 60, 0.55);
    check(TV_SCHEDULE_LINEAR, 85, 0.325);
    check(TV_SCHEDULE_LINEAR, 109, 0.109);
    check(TV_SCHEDULE_LINEAR, 110, 0.1);
    check(TV_SCHEDULE_CONSTANT, 109, 1);
    check(TV_SCHEDULE_WSD, 89, 1);
    check(TV_SCHEDULE_WSD, 90, 1);
    check(TV_SCHEDULE_WSD, 100, 0.55);
    check(TV_SCHEDULE_WSD, 109, 0.145);
    check(TV_SCHEDULE_WSD, 110, 0.1);
}

static void odd_lengths_stay_finite(void **state) {
    (void)state;
    tv_train_settings train = base;
    /* Shorter than the warm-up, exactly as long, and without one. */
    assert_near(tv_schedule_lr(&train, 4, 5), 0.5, 1e-15);
    assert_near(tv_schedule_lr(&train, 9, 10), 1, 0);
    assert_near(tv_schedule_lr(&train, 10, 10), 0.1, 1e-15);
    train.warmup_steps = 0;
    assert_near(tv_schedule_lr(&train, 0, 100), 1, 0);
    assert_near(tv_schedule_lr(&train, 0, 0), 0.1, 1e-15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warm_up_ends_at_the_peak),
        cmocka_unit_test(decay_follows_the_formulas),
        cmocka_unit_test(odd_lengths_stay_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
