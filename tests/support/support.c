/* What several tests share: see support.h. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"

bool tv_test_once(void) {
    const char *asked = getenv("TRIVIUM_TEST_ONCE");
    return asked && asked[0];
}

char *tv_test_dir(void) {
    const char *base = getenv("TMPDIR");
    char *path = tv_format("%s/trivium-test-XXXXXX", base && base[0] ? base : "/tmp");
    if (path && !mkdtemp(path)) {
        free(path);
        return NULL;
    }
    return path;
}

void tv_test_dir_remove(char **path) {
    if (*path)
        (void)tv_remove_tree(*path);
    free(*path);
    *path = NULL;
}

char *tv_test_only_file(const char *dir, const char *beginning) {
    char **names = NULL, *path = NULL;
    uint64_t count = 0;
    assert_ok(tv_list_dir(dir, &names, &count));
    for (uint64_t i = 0; i < count; i++)
        if (strncmp(names[i], beginning, strlen(beginning)) == 0) {
            assert_null(path);
            path = tv_format("%s/%s", dir, names[i]);
        }
    assert_non_null(path);
    tv_free_names(&names, count);
    return path;
}

void tv_free_each(void *const *pointers, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(pointers[i]);
}

void tv_expect_failure(tv_status found, const char *call, tv_status expected, const char *word) {
    if (found != expected || !strstr(tv_last_error(), word))
        fail_msg("%s: %s, \"%s\"; expected %s with \"%s\"", call, tv_status_name(found),
                 found == TV_OK ? "" : tv_last_error(), tv_status_name(expected), word);
}

char *tv_test_folder;

int tv_test_folder_make(void **state) {
    (void)state;
    tv_test_folder = tv_test_dir();
    return tv_test_folder ? 0 : 1;
}

int tv_test_folder_remove(void **state) {
    (void)state;
    tv_test_dir_remove(&tv_test_folder);
    return 0;
}
