/* dlopen behind module.h. */
#include "base/module.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"

tv_status tv_program_path(char **path) {
    return tv_real_path("/proc/self/exe", path);
}

tv_status tv_module_open(const char *file, const char *installed, const char *name, const void **object) {
    char *program = NULL, *beside = NULL, *away = NULL;
    tv_status status;
    *object = NULL;
    TV_TRY(tv_program_path(&program));
    *strrchr(program, '/') = '\0';
    beside = tv_format("%s/%s", program, file);
    away = tv_format("%s/%s/%s", program, installed, file);
    if (!beside || !away) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
        goto done;
    }
    const char *found = tv_path_exists(beside) ? beside : tv_path_exists(away) ? away : NULL;
    if (!found) {
        status = tv_fail(TV_E_USAGE, "there is neither %s nor %s", beside, away);
        goto done;
    }
    /* Global: what it brings may have plug-ins of its own that look for its symbols. */
    void *handle = dlopen(found, RTLD_NOW | RTLD_GLOBAL);
    *object = handle ? dlsym(handle, name) : NULL;
    if (!*object)
        status = tv_fail(TV_E_USAGE, "%s cannot be loaded: %s", found, dlerror());
done:
    free(program);
    free(beside);
    free(away);
    return status;
}
