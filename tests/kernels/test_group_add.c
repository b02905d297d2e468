/* kernels/group_add against single sums: one addition an element has one right result, so bits are compared.
 */
#include "support/device.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "kernels/group_add.h"

static void check(tv_device *device, uint64_t count) {
    float *group = malloc(count * sizeof *group), *sum = malloc(count * sizeof *sum);
    float *out = malloc(count * sizeof *out);
    assert_true(group && sum && out);
    tv_test_random(group, count, count);
    tv_test_random(sum, count, count + 1);
    tv_test_tensor from = tv_test_floats(device, count, group), to = tv_test_floats(device, count, sum);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_group_add(recorder, count, from.tensor, to.tensor));
    tv_test_run(device, recorder);
    for (uint64_t i = 0; i < count; i++)
        sum[i] += group[i];
    tv_test_read(&to, out);
    assert_memory_equal(out, sum, count * sizeof *sum);
    memset(sum, 0, count * sizeof *sum);
    tv_test_read(&from, out);
    assert_memory_equal(out, sum, count * sizeof *sum);
    tv_test_free(&from);
    tv_test_free(&to);
    tv_free_all(group, sum, out);
}

static void groups_add_up(void **state) {
    const uint64_t counts[] = {4, 8, 252, 1020, 1024, 1028, 70004, 300000};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        check(*state, counts[c]);
}

static void small_limits_add_up(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=65536,group_count_x=5");
    check(device, 70004);
    tv_device_close(&device);
}

static void other_counts_are_refused(void **state) {
    tv_test_tensor t = tv_test_floats(*state, 8, NULL);
    tv_recorder *recorder = tv_test_begin(*state);
    assert_int_equal(tv_group_add(recorder, 6, t.tensor, t.tensor), TV_E_USAGE);
    tv_recorder_abort(&recorder);
    tv_test_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(groups_add_up), cmocka_unit_test(small_limits_add_up),
                                       cmocka_unit_test(other_counts_are_refused)};
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
