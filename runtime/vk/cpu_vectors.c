/* The width of llvmpipe's vectors: see cpu_vectors.h. */
#include "vk/cpu_vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "base/os.h"

static bool processor_has_avx512(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

/* Before any driver is loaded: by what kernels show of a GPU. Its driver should keep its shader cache. */
static bool machine_has_gpu(void) {
    enum { FIRST_RENDER_NODE = 128, LAST_RENDER_NODE = 191 };
    static const char *const others[] = {"/dev/nvidiactl", "/dev/dxg", "/dev/kgsl-3d0", "/dev/mali0"};
    for (uint64_t i = 0; i < TV_COUNT(others); i++)
        if (tv_path_exists(others[i]))
            return true;
    for (int node = FIRST_RENDER_NODE; node <= LAST_RENDER_NODE; node++) {
        char path[32];
        snprintf(path, sizeof path, "/dev/dri/renderD%d", node);
        if (tv_path_exists(path))
            return true;
    }
    return false;
}

static tv_status cache_folder(char **folder) {
    const char *given = getenv("MESA_SHADER_CACHE_DIR");
    char *own = NULL;
    *folder = NULL;
    if (!given || !*given)
        TV_RETURN_IF_FAILED(tv_cache_dir(&own));
    *folder = tv_format("%s/mesa-512-bits", own ? own : given);
    free(own);
    tv_status status =
        *folder ? tv_make_dirs(*folder) : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (status != TV_OK) {
        free(*folder);
        *folder = NULL;
    }
    return status;
}

void tv_cpu_vectors_widen(void) {
    char *folder = NULL;
    const char *wish = getenv("TRIVIUM_CPU_VECTORS");
    if (wish && strcmp(wish, "driver") == 0)
        return;
    if (getenv("LP_NATIVE_VECTOR_WIDTH") || !processor_has_avx512() || machine_has_gpu())
        return;
    if (cache_folder(&folder) != TV_OK) {
        tv_debug("shaders on the CPU stay at 8 lanes: %s", tv_last_error());
        return;
    }
    if (setenv("MESA_SHADER_CACHE_DIR", folder, 1) == 0)
        setenv("LP_NATIVE_VECTOR_WIDTH", "512", 1);
    free(folder);
}

bool tv_cpu_vectors_own_cache(void) {
    return getenv("MESA_SHADER_CACHE_DIR") || getenv("MESA_SHADER_CACHE_DISABLE");
}
