/* Real files that are not part of the repository: in the folder that TRIVIUM_SHARED_DATA names, or beside the
 * repository in ../shared/data. */
#ifndef TV_TESTS_SHARED_DATA_H
#define TV_TESTS_SHARED_DATA_H

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/files.h"

/* The path, which the caller frees, or NULL where there is nothing of that name; then it says so, and the
 * test is to be skipped. */
static inline char *tv_test_shared(const char *name) {
    const char *folder = getenv("TRIVIUM_SHARED_DATA");
    char *path = tv_format("%s/%s", folder ? folder : "../shared/data", name);
    if (path && tv_path_exists(path))
        return path;
    printf("skipped: no %s; TRIVIUM_SHARED_DATA names the folder\n", path ? path : name);
    free(path);
    return NULL;
}

#endif
