/* train/ranks without MPI: what a process alone may count on, and what the environment says of launchers.
 * With MPI it is the rung mpi's business.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "train/ranks.h"

static const char *const variables[] = {
    "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK", "PMIX_RANK",
    "SLURM_STEP_NUM_TASKS"};

static int clear(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        unsetenv(variables[i]);
    return 0;
}

static void launchers_are_known(void **state) {
    (void)state;
    assert_null(tv_launcher_of_environment().name);
    setenv("PMI_SIZE", "4", 1);
    setenv("PMI_RANK", "3", 1);
    tv_launcher launcher = tv_launcher_of_environment();
    assert_string_equal(launcher.name, "MPICH's mpirun");
    assert_true(launcher.count == 4 && launcher.own == 3);
    setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
    setenv("OMPI_COMM_WORLD_RANK", "0", 1);
    launcher = tv_launcher_of_environment();
    assert_string_equal(launcher.name, "Open MPI's mpirun");
    assert_true(launcher.count == 2 && launcher.own == 0);
    setenv("OMPI_COMM_WORLD_SIZE", "1", 1); /* one is alone */
    assert_null(tv_launcher_of_environment().name);
    setenv("OMPI_COMM_WORLD_SIZE", "-7", 1); /* and a stranger's number is no number of ranks */
    assert_int_equal(tv_launcher_of_environment().count, 0);
}

static void alone_everything_is_a_matter_of_course(void **state) {
    (void)state;
    tv_ranks *ranks;
    uint32_t data = 7, all = 0;
    bool any;
    assert_int_equal(tv_ranks_start(&ranks), TV_OK);
    assert_null(ranks);
    assert_true(tv_ranks_count(ranks) == 1 && tv_ranks_own(ranks) == 0 && tv_ranks_leads(ranks));
    assert_int_equal(tv_ranks_broadcast(ranks, 0, &data, sizeof data), TV_OK);
    assert_int_equal(tv_ranks_gather(ranks, &data, sizeof data, &all), TV_OK);
    assert_int_equal(all, 7);
    uint8_t *collected;
    uint64_t end, least;
    assert_int_equal(tv_ranks_collect(ranks, "bytes", 5, &collected, &end), TV_OK);
    assert_true(end == 5 && memcmp(collected, "bytes", 5) == 0);
    free(collected);
    assert_int_equal(tv_ranks_least(ranks, 7, &least), TV_OK);
    assert_true(least == 7 && tv_ranks_agreed(ranks));
    assert_int_equal(tv_ranks_any(ranks, true, &any), TV_OK);
    assert_true(any);
    assert_int_equal(tv_ranks_agree(ranks, TV_E_DATA), TV_E_DATA);
    assert_int_equal(tv_ranks_expect_alike(ranks, NULL, 0), TV_OK);
    assert_int_equal(tv_ranks_end(&ranks, TV_E_IO, "test"), TV_E_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(launchers_are_known, clear),
                                       cmocka_unit_test_setup(alone_everything_is_a_matter_of_course, clear)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
