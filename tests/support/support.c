/* What several tests share: see support.h. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"

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
