/* run/checkpoint: which folder among the checkpoints is the newest, whatever else lies there.
 *
 * Tried on 2026-11-29: numbers as sscanf reads them, so that "step--5" is the newest of all; fails.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/checksums.h"
#include "run/checkpoint.h"

static void add(const char *run, const char *name) {
    static const char state[] = "{}";
    char *folder = tv_format("%s/checkpoints/%s", run, name), *file = tv_format("%s/" TV_STATE_NAME, folder);
    assert_ok(tv_make_dirs(folder));
    assert_ok(tv_write_file(file, state, sizeof state - 1));
    tv_free_all(file, folder);
}

static void only_names_that_are_written_here_count(void **state) {
    static const char *const names[] = {"step-9",   "step-60",  "step--5",  "step-061",
                                        "step-62x", "step- 63", "step-+64", "step-99999999999999999999"};
    const char *run = tv_test_folder;
    (void)state;
    for (size_t i = 0; i < TV_COUNT(names); i++)
        add(run, names[i]);
    char *last = NULL, *before = NULL, *none = NULL;
    assert_ok(tv_checkpoint_find_last(run, &last));
    assert_string_equal(strrchr(last, '/'), "/step-60");
    assert_ok(tv_checkpoint_find_before(run, last, &before));
    assert_string_equal(strrchr(before, '/'), "/step-9");
    assert_ok(tv_checkpoint_find_before(run, before, &none));
    assert_null(none);
    tv_free_all(last, before);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_names_that_are_written_here_count)};
    return cmocka_run_group_tests(tests, tv_test_folder_make, tv_test_folder_remove);
}
