/* base/trial: every way in which work ends, told apart, and nothing of it left here. */
#include "support/support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "base/trial.h"

typedef struct deed {
    int answer, number, signal;
    int code;     /* of an exit; 0: none */
    bool endless; /* never returns */
} deed;

static int act(void *context) {
    deed *d = context;
    d->number++;
    fprintf(stderr, "LLVM ERROR: nobody sees this\n");
    if (d->signal)
        raise(d->signal);
    if (d->code)
        _Exit(d->code);
    while (d->endless)
        tv_sleep(1);
    return d->answer;
}

static void ends_are_told_apart(void **state) {
    (void)state;
    deed zero = {0}, most = {.answer = 63}, crash = {.signal = SIGSEGV}, aborts = {.signal = SIGABRT},
         quits = {.code = 255}, ends = {.code = 1}, hangs = {.endless = true};
    int answer = -1;
    assert_int_equal(tv_try_apart(act, &crash, 60, &answer), TV_TRIAL_CRASHED);
    assert_int_equal(tv_try_apart(act, &aborts, 60, &answer), TV_TRIAL_CRASHED);
    assert_int_equal(tv_try_apart(act, &quits, 60, &answer), TV_TRIAL_CRASHED);
    assert_int_equal(tv_try_apart(act, &ends, 60, &answer), TV_TRIAL_CRASHED);
    assert_int_equal(answer, -1);
    assert_int_equal(tv_try_apart(act, &most, 60, &answer), TV_TRIAL_ANSWERED);
    assert_int_equal(answer, 63);
    assert_int_equal(tv_try_apart(act, &zero, 60, &answer), TV_TRIAL_ANSWERED);
    assert_int_equal(answer, 0);
    assert_int_equal(zero.number, 0); /* its memory is a copy */
    double start = tv_seconds();
    assert_int_equal(tv_try_apart(act, &hangs, 0.2, &answer), TV_TRIAL_HUNG);
    assert_true(tv_seconds() - start < 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ends_are_told_apart)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
